"""From alpha to a mask, and how good the mask is."""

from __future__ import annotations

import torch
from torch import Tensor


def otsu_threshold(values: Tensor, bins: int = 256) -> Tensor:
    """The threshold that maximises the variance between the two classes it makes (Otsu 1979), for each map.

    Args:
        values: (N, ...) in [0, 1].
        bins: of the histogram that it searches.

    Returns:
        (N,) upper edges of the lower class's last bin; a constant map gives its own value's bin, so that nothing is above it.
    """
    flat = values.flatten(1).clamp(0, 1)
    index = (flat * bins).long().clamp(max=bins - 1)
    count = torch.zeros(len(flat), bins, dtype=torch.float64, device=flat.device)
    count.scatter_add_(1, index, torch.ones_like(flat, dtype=torch.float64))
    centres = (torch.arange(bins, device=flat.device, dtype=torch.float64) + 0.5) / bins
    below = count.cumsum(1)
    above = below[:, -1:] - below
    mass = (count * centres).cumsum(1)
    mean_below = mass / below.clamp(min=1)
    mean_above = (mass[:, -1:] - mass) / above.clamp(min=1)
    between = below * above * (mean_below - mean_above) ** 2
    # Several thresholds in an empty valley are equally good: take the middle of the first such run, as Otsu's users expect.
    best = between >= between.amax(1, keepdim=True) * (1 - 1e-12)
    first = best.int().argmax(1)
    run = _run_length(best, first)
    constant = between.amax(1) <= 0
    middle = torch.where(constant, index.amax(1), first + (run - 1) // 2)
    return ((middle + 1).double() / bins).to(values.dtype)


def _run_length(best: Tensor, first: Tensor) -> Tensor:
    """Length of the run of True that starts at ``first`` in each row."""
    position = torch.arange(best.shape[1], device=best.device)
    ended = ~best & (position >= first[:, None])
    end = torch.where(ended.any(1), ended.int().argmax(1), best.shape[1])
    return end - first


def iou(mask: Tensor, target: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Intersection over union of each sample; two empty masks agree (1).

    Args:
        mask, target: (N, H, W) bool.
        ignore: (N, H, W) bool, pixels that do not count, or None.

    Returns:
        (N,) float64 in [0, 1].
    """
    intersection, union = intersection_and_union(mask, target, ignore)
    return torch.where(union > 0, intersection.double() / union.clamp(min=1), 1.0)


def intersection_and_union(mask: Tensor, target: Tensor, ignore: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Counts of pixels in both and in either mask: two (N,) int64 tensors. Arguments as :func:`iou`."""
    counted = torch.ones_like(mask) if ignore is None else ~ignore
    both = (mask & target & counted).flatten(1).sum(1)
    either = ((mask | target) & counted).flatten(1).sum(1)
    return both, either
