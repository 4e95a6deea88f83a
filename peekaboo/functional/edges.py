"""Colours of transparent pixels: what stands in a straight RGBA image where little of it can be seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SOLID, MIXED = 0.98, 0.8  # opacities, as shares of the largest, from which on a colour is its own, and up to which it is not


def spread_colours(image: Tensor, alpha: Tensor) -> Tensor:
    """Gives the pixels at an object's edge, and beyond it, the colours of the object beside them.

    Where an opacity is low nothing has told an image its colour: what stands there is noise, or mixed with a background. A
    program that shrinks or sharpens the picture brings it back as a fringe. So colours are carried outwards from where the
    object is solid, by the pyramid of Gortler et al. 1996 ("pull-push"): a pixel takes those of the nearest scale that has any.

    Args:
        image: (N, 3, H, W) in [0, 1].
        alpha: (N, 1, H, W) in [0, 1].

    Returns:
        (N, 3, H, W): the image where alpha is at least .98 of its largest value, the colours beside it where it is at most .8
        of that, and a mixture between the two. Where nothing is opaque at all, the image.
    """
    trust = own_colour(alpha)
    return torch.lerp(filled(image, trust), image, trust)


def own_colour(alpha: Tensor) -> Tensor:
    """How far a pixel's colour is the object's own, (N, 1, H, W) in [0, 1], from opacities of that shape."""
    most = alpha.amax((1, 2, 3), keepdim=True)
    share = torch.where(most > 0, alpha / most.clamp(min=1e-6), 1.0)
    return ((share - MIXED) / (SOLID - MIXED)).clamp(0, 1)


def filled(image: Tensor, trust: Tensor) -> Tensor:
    """Returns an image (N, C, H, W) whose pixels all have the colours of the trusted ones near them.

    Args:
        image: (N, C, H, W).
        trust: (N, 1, H, W) in [0, 1]; where it is 0 a colour counts for nothing.
    """
    pyramid = [(image, trust)]
    while max(image.shape[-2:]) > 1:
        pooled = F.avg_pool2d(torch.cat([image * trust, trust], 1), 2, ceil_mode=True, count_include_pad=False)
        image, weight = pooled[:, :-1] / pooled[:, -1:].clamp(min=1e-9), pooled[:, -1:]
        trust = (4 * weight).clamp(max=1)  # one trusted pixel of four is enough
        pyramid.append((image, trust))
    found = image
    for image, trust in reversed(pyramid[:-1]):
        found = torch.lerp(F.interpolate(found, image.shape[-2:], mode="bilinear", align_corners=False), image, trust)
    return found
