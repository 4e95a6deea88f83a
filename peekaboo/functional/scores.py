"""Counts and intervals behind the tables of an evaluation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BOOTSTRAP_NUMBERS = 2**22  # that are drawn anew at a time: 32 MiB


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
    from scipy.stats import bootstrap  # half a second, which a mask does not need

    n, columns = values.shape
    if n == 0:
        return torch.full((2, columns), torch.nan, dtype=torch.float64)
    if n == 1:
        return values.double().cpu().expand(2, columns).clone()  # every resample is the sample itself
    found = bootstrap(
        (values.double().cpu().numpy(),),
        np.mean,
        n_resamples=resamples,
        batch=max(BOOTSTRAP_NUMBERS // (n * columns), 1),
        axis=0,
        confidence_level=level,
        method="percentile",
        rng=seed,
    ).confidence_interval
    return torch.from_numpy(np.stack([found.low, found.high]))
