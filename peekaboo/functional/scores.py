"""Counts and intervals behind the tables of an evaluation."""

from __future__ import annotations

import torch
from torch import Tensor


def counts_over_thresholds(
    alpha: Tensor, target: Tensor, thresholds: Tensor, ignore: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Intersection and union of ``alpha > threshold`` with the target, at many thresholds for the price of one histogram.

    Args:
        alpha: (N, H, W) in [0, 1].
        target: (N, H, W) bool.
        thresholds: (T,) ascending.
        ignore: (N, H, W) bool, pixels that do not count, or None.

    Returns:
        Two (N, T) int64 tensors.
    """
    levels = torch.bucketize(alpha, thresholds.to(alpha))  # of a pixel: how many thresholds it is above
    counted = torch.ones_like(target) if ignore is None else ~ignore
    inside = _above(levels, target & counted, len(thresholds))
    outside = _above(levels, ~target & counted, len(thresholds))
    size = (target & counted).flatten(1).sum(1)
    return inside, size[:, None] + outside


def _above(levels: Tensor, chosen: Tensor, count: int) -> Tensor:
    """(N, T): how many of the chosen pixels are above each of the thresholds."""
    histograms = [torch.bincount(own[mask], minlength=count + 1) for own, mask in zip(levels, chosen, strict=True)]
    histogram = torch.stack(histograms)
    return histogram.sum(1, keepdim=True) - histogram.cumsum(1)[:, :-1]


def ratio(intersection: Tensor, union: Tensor) -> Tensor:
    """IoU of counts, float64; two empty masks agree (1)."""
    return torch.where(union > 0, intersection.double() / union.clamp(min=1), 1.0)


def bootstrap_interval(values: Tensor, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Tensor:
    """Percentile bootstrap interval of the mean over samples (Efron 1979).

    Args:
        values: (n, K), a row a sample; the K columns share their resamples.
        level: of confidence.
        resamples: how many.
        seed: the same values give the same interval.

    Returns:
        (2, K) float64: lower and upper ends; NaN without samples.
    """
    n = len(values)
    if n == 0:
        return torch.full((2, values.shape[1]), torch.nan, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    values = values.double().cpu()
    means = torch.stack([values[torch.randint(n, (n,), generator=generator)].mean(0) for _ in range(resamples)])
    tail = (1 - level) / 2
    return torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64), dim=0)
