"""From an alpha to a cut-out: no veil over the background, edges of the image's own size, colours without the old background."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .bilateral import bilateral_filter, bilateral_weights, pad_weights
from .optional import extra

KERNEL = 5  # side of the window of a pass
STRIP = 1_500_000  # pixels that are filtered at a time: their weights take 25 times as much memory as they do


def levels(alpha: Tensor, threshold: float, tail: float = 0.1) -> Tensor:
    """Stretches an alpha so that its background becomes 0, its object 1, and what is at the threshold 1/2.

    An optimised alpha ends near .1 in the background and near .9 in the object. Of each class that the threshold makes, the
    ``tail`` that is nearest to the threshold is left between.

    Args:
        alpha: (H, W) in [0, 1].
        threshold: that tells the classes apart.
        tail: share of each class, in [0, 1).

    Returns:
        (H, W) in [0, 1], over 1/2 exactly where the alpha is over the threshold; all 0 without an object, all 1 without a
        background.
    """
    above = alpha > threshold
    if not above.any() or above.all():
        return above.to(alpha.dtype)
    low = _quantile(alpha[~above], 1 - tail)
    high = _quantile(alpha[above], tail)
    rising = 0.5 + 0.5 * (alpha - threshold) / max(high - threshold, 1e-6)
    falling = 0.5 - 0.5 * (threshold - alpha) / max(threshold - low, 1e-6)
    return torch.where(above, rising, falling).clamp(0, 1)


def _quantile(values: Tensor, share: float) -> float:
    """A quantile of any number of values; `torch.quantile` takes no more than 16 million."""
    place = min(int(share * (values.numel() - 1)) + 1, values.numel())
    return float(values.flatten().kthvalue(place).values)


def filter_at_full_size(image: Tensor, alpha: Tensor, scale: float, tolerance: float = 0.06) -> Tensor:
    """Draws the edges of an enlarged alpha along those of the image: the joint bilateral filter once more, at full size.

    Passes of a 5 x 5 window with gaps between its pixels that halve from one to the next (the "a trous" form of
    Dammertz et al. 2010), from half of what the enlargement blurred down to none.

    Args:
        image: (3, H, W) in [0, 1], the guide.
        alpha: (H, W) in [0, 1].
        scale: how many times as large as it was optimised the alpha is; at 1 and under, it stays as it is.
        tolerance: standard deviation in colour, see :func:`peekaboo.functional.bilateral.bilateral_weights`.

    Returns:
        (H, W) in [0, 1].
    """
    if scale <= 1:
        return alpha
    gaps = [2**k for k in range(ceil(log2(scale)), -1, -1)]
    margin = sum(gaps) * (KERNEL // 2)
    height, width = alpha.shape
    rows = max(STRIP // width, margin)
    out = torch.empty_like(alpha)
    for top in range(0, height, rows):
        first, last = max(top - margin, 0), min(top + rows + margin, height)
        part, guide = alpha[None, None, first:last], image[None, :, first:last]
        for gap in gaps:
            weights = bilateral_weights(guide, KERNEL, sigma_space=2.0 * gap, tolerance=tolerance, dilation=gap)
            part = bilateral_filter(part, pad_weights(weights, gap), passes=1, dilation=gap)
        out[top : top + rows] = part[0, 0, top - first : top - first + min(rows, height - top)]
    return out.clamp(0, 1)


def closed_form(image: Tensor, alpha: Tensor, scale: float) -> Tensor:
    """Solves for the alpha near its edges by closed-form matting (Levin et al. 2008), as PyMatting has it.

    Args:
        image: (3, H, W) in [0, 1].
        alpha: (H, W) in [0, 1], after :func:`levels`; what is 1/2 or near, and what lies as near to it as the enlargement
            blurred, is solved for.
        scale: how many times as large as it was optimised the alpha is.

    Returns:
        (H, W) in [0, 1].

    Raises:
        ModuleNotFoundError: without PyMatting.
    """
    with extra("matting", "finish.edges: matting"):
        from pymatting import estimate_alpha_cf
    mask = alpha.cpu().numpy() > 0.5
    reach = max(ceil(scale), 1) + 1
    inside, outside = (ndimage.distance_transform_edt(side) > reach for side in (mask, ~mask))
    if not inside.any() or not outside.any():  # nothing is sure: too small, too large
        return alpha
    trimap = np.where(inside, 1.0, np.where(outside, 0.0, 0.5))
    found = estimate_alpha_cf(image.permute(1, 2, 0).cpu().double().numpy(), trimap)
    return torch.from_numpy(found).to(alpha).clamp(0, 1)


def foreground_colours(image: Tensor, alpha: Tensor, radii: tuple[int, ...] = (45, 3)) -> Tensor:
    """Estimates the object's own colours where the old background shines through (Forte 2021, "blur fusion", two passes).

    Args:
        image: (3, H, W) in [0, 1].
        alpha: (H, W) in [0, 1].
        radii: of the box blur of each pass, in pixels.

    Returns:
        (3, H, W) in [0, 1]: F of image = alpha F + (1 - alpha) B; the image itself where alpha is 1.
    """
    a, own = alpha[None, None], image[None]
    front = back = own
    for radius in radii:
        blur = _box(radius)
        blurred = blur(a)
        mean_front = blur(front * a) / (blurred + 1e-5)
        mean_back = blur(back * (1 - a)) / (1 - blurred + 1e-5)
        front = (mean_front + a * (own - a * mean_front - (1 - a) * mean_back)).clamp(0, 1)
        back = mean_back
    return torch.where(alpha >= 1, image, front[0])


def _box(radius: int) -> Callable[[Tensor], Tensor]:
    """A box blur by running sums, so that its radius costs nothing; what lies outside the picture does not count."""

    def blur(x: Tensor) -> Tensor:
        for dim in (-2, -1):
            place = torch.arange(x.shape[dim], device=x.device)
            first, last = (place - radius).clamp(min=0), (place + radius + 1).clamp(max=x.shape[dim])
            before = torch.zeros_like(x.narrow(dim, 0, 1), dtype=torch.float64)
            sums = torch.cat([before, x.cumsum(dim, dtype=torch.float64)], dim)
            count = (last - first).unsqueeze(-1) if dim == -2 else last - first
            x = ((sums.index_select(dim, last) - sums.index_select(dim, first)) / count).to(x.dtype)
        return x

    return blur
