"""Maps of relevance brought to [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


def rescale(values: Tensor) -> Tensor:
    """Brings each (..., H, W) map to [0, 1], its minimum to 0 and its maximum to 1; a constant map becomes 0."""
    low, high = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
    return torch.where(high > low, (values - low) / (high - low).clamp(min=torch.finfo(values.dtype).tiny), 0)


def stretch(values: Tensor, tail: float = 0.02) -> Tensor:
    """Brings each (..., H, W) map to [0, 1] between its quantiles ``tail`` and 1 - ``tail``; what lies outside is cut.

    A map without spread between them becomes one half everywhere: it says nothing.

    >>> stretch(torch.linspace(-1, 1, 101).view(1, 1, 101), tail=0.25)[0, 0, [0, 25, 50, 75, 100]]
    tensor([0.0000, 0.0000, 0.5000, 1.0000, 1.0000])
    """
    flat = values.flatten(-2).float()
    low, high = (flat.quantile(q, -1)[..., None, None] for q in (tail, 1 - tail))
    spread = high - low
    return torch.where(spread > 1e-8, ((values - low) / spread.clamp(min=1e-8)).clamp(0, 1), 0.5)


def pixel_variance(values: Tensor) -> Tensor:
    """Variance of each (N, C, H, W) map over its pixels, the mean over channels: (N,).

    >>> pixel_variance(torch.tensor([0.0, 1.0, 0.0, 1.0]).view(1, 1, 2, 2))
    tensor([0.2500])
    """
    return values.flatten(2).var(2, correction=0).mean(1)


def total_variation(values: Tensor) -> Tensor:
    """Anisotropic total variation of each (N, C, H, W) map in sides of the image, the mean over channels: (N,).

    The sum of all differences between neighbours in a row is divided by the height, that between neighbours in a column by the
    width. So it means the same at every resolution: of a mask, it is the length of its outline, measured along rows and columns.

    >>> square = torch.zeros(1, 1, 8, 8)
    >>> square[..., 2:6, 2:6] = 1  # four edges of half a side each
    >>> total_variation(square)
    tensor([2.])
    """
    height, width = values.shape[-2:]
    across = values.diff(dim=3).abs().sum((2, 3)) / height
    down = values.diff(dim=2).abs().sum((2, 3)) / width
    return (across + down).mean(1)
