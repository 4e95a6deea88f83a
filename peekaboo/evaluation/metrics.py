"""The measures of the tables, as torchmetrics: thin states over :mod:`peekaboo.functional`.

Mean IoU (``mIoU``) is the mean over samples; ``dataset_IoU`` is the sum of all intersections over the sum of all unions.
They are different numbers. Both are at threshold 0.5 unless their name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ..functional.masks import iou, otsu_threshold
from ..functional.scores import bootstrap_interval, counts_over_thresholds, ratio
from .published import average_precision, published_measures

GRID = torch.arange(1, 100, dtype=torch.float64) / 100  # thresholds that the best one is chosen from
HALF = 49  # place of 0.5 in it
LEVELS = (0.2, 0.4, 0.6, 0.8)  # of Prec@X, the share of samples with IoU > X


@dataclass(frozen=True)
class Scores:
    """What the tables need to know of N samples.

    Attributes:
        intersection, union: (N, 99) int64 at the thresholds ``GRID``.
        positives: (N,) int64, pixels of the ground truth.
        pixels: (N,) int64, all that count.
        iou_otsu: (N,) at each sample's own Otsu threshold.
        iou_own: (N,) at the threshold that the model is configured with.
        iou_other: (N,) at 0.5 with the objects that the prompt does not name; NaN where there are none.
    """

    intersection: Tensor
    union: Tensor
    positives: Tensor
    pixels: Tensor
    iou_otsu: Tensor
    iou_own: Tensor
    iou_other: Tensor

    @property
    def iou(self) -> Tensor:
        """(N,) at threshold 0.5."""
        return ratio(self.intersection[:, HALF], self.union[:, HALF])

    def to_row(self) -> dict[str, Any]:
        """Returns the only sample of them as plain numbers; NaN becomes None."""
        row = {field.name: getattr(self, field.name)[0].tolist() for field in fields(self)}
        return {**row, "iou_other": None if self.iou_other[0].isnan() else row["iou_other"]}

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> Scores:
        """The reverse of :meth:`to_row`, for any number of samples."""
        pairs = ([row[key] for row in rows] for key in ("intersection", "union"))
        counts = [torch.from_numpy(np.array(values, dtype=np.int64).reshape(-1, len(GRID))) for values in pairs]
        counts += [torch.tensor([row[key] for row in rows], dtype=torch.int64) for key in ("positives", "pixels")]
        ious = [
            torch.tensor([torch.nan if row[k] is None else row[k] for row in rows], dtype=torch.float64)
            for k in ("iou_otsu", "iou_own", "iou_other")
        ]
        return cls(*counts, *ious)


def score(
    alpha: Tensor,
    target: Tensor,
    ignore: Tensor | None = None,
    others: Tensor | None = None,
    threshold: float | Tensor = 0.5,
) -> Scores:
    """Scores N alphas of one size.

    Args:
        alpha: (N, H, W) in [0, 1].
        target: (N, H, W) bool.
        ignore: (N, H, W) bool, pixels that do not count, or None.
        others: (N, H, W) bool, other objects, or None; a sample whose own are empty has none.
        threshold: that the model is configured with, one for all or (N,).

    Raises:
        ValueError: if the shapes differ.
    """
    for name, mask in (("target", target), ("ignore", ignore), ("others", others)):
        if mask is not None and mask.shape != alpha.shape:
            raise ValueError(f"{name}: expected the alpha's shape {tuple(alpha.shape)}, got {tuple(mask.shape)}")
    own = torch.as_tensor(threshold, dtype=alpha.dtype, device=alpha.device).expand(len(alpha))
    other = torch.full((len(alpha),), torch.nan, dtype=torch.float64, device=alpha.device)
    if others is not None:
        other = torch.where(others.flatten(1).any(1), iou(alpha > 0.5, others, ignore), other)
    counted = torch.ones_like(target) if ignore is None else ~ignore
    return Scores(
        *counts_over_thresholds(alpha, target, GRID, ignore),
        (target & counted).flatten(1).sum(1),
        counted.flatten(1).sum(1),
        iou(alpha > otsu_threshold(alpha)[:, None, None], target, ignore),
        iou(alpha > own[:, None, None], target, ignore),
        other,
    )


def measures(scores: Scores) -> dict[str, float]:
    """The measures of a set of samples, each under a name that says what it is; empty without samples.

    ``mIoU`` and ``P@X`` are at 0.5; ``..._otsu`` at each sample's Otsu threshold; ``..._own_threshold`` at the configured one;
    ``..._best_threshold`` at the single threshold of 0.01..0.99 that is best over the data set, which looks at the ground truth.
    ``AP`` is the usual average precision over pixels, and ``published_...`` are LD-ZNet's measures: see :mod:`.published`.
    """
    if len(scores.iou) == 0:
        return {}
    found = {"mIoU": scores.iou.mean(), **_precision(scores.iou, "")}
    summed = ratio(scores.intersection.sum(0), scores.union.sum(0))
    found["dataset_IoU"] = summed[HALF]
    found |= {"mIoU_otsu": scores.iou_otsu.mean(), **_precision(scores.iou_otsu, "_otsu")}
    found |= {"mIoU_own_threshold": scores.iou_own.mean(), **_precision(scores.iou_own, "_own_threshold")}
    over_grid = ratio(scores.intersection, scores.union).mean(0)
    found |= {"mIoU_best_threshold": over_grid.max(), "best_threshold": GRID[best_of(over_grid)]}
    found |= {"dataset_IoU_best_threshold": summed.max(), "dataset_best_threshold": GRID[best_of(summed)]}
    with_others = ~scores.iou_other.isnan()
    if with_others.any():
        named, other = scores.iou[with_others], scores.iou_other[with_others]
        found |= {"mIoU_other_object": other.mean(), "named_ahead": (named > other).double().mean()}
    counts = (scores.intersection, scores.union, scores.positives)
    published = {"AP": average_precision(*counts, scores.pixels), **published_measures(*counts, GRID)}
    return {**{name: float(value) for name, value in found.items()}, **published}


def best_of(over_grid: Tensor) -> int:
    """Returns the place of the best of (99,) values over ``GRID``; of several equally good ones, the nearest to 0.5."""
    best = (over_grid == over_grid.max()).nonzero()[:, 0]
    return int(best[(best - HALF).abs().argmin()])


def _precision(values: Tensor, suffix: str) -> dict[str, Tensor]:
    return {f"P@{level}{suffix}": (values > level).double().mean() for level in LEVELS}


def intervals(scores: Scores, seed: int = 0) -> dict[str, list[float]]:
    """Bootstrap 95 % intervals of the means over samples, ``[low, high]`` each; empty without samples."""
    if len(scores.iou) == 0:
        return {}
    columns: dict[str, Tensor] = {"mIoU": scores.iou, "mIoU_otsu": scores.iou_otsu, "mIoU_own_threshold": scores.iou_own}
    for suffix, values in (("", scores.iou), ("_otsu", scores.iou_otsu), ("_own_threshold", scores.iou_own)):
        columns |= {f"P@{level}{suffix}": (values > level).double() for level in LEVELS}
    low, high = bootstrap_interval(torch.stack([column.double() for column in columns.values()], 1), seed=seed)
    return {name: [float(a), float(b)] for name, a, b in zip(columns, low, high, strict=True)}


class MaskMetrics(Metric):
    """All measures of :func:`measures` over everything that it was shown, on every rank.

    Example:
        >>> import torch
        >>> metrics = MaskMetrics()
        >>> target = torch.tensor([[[True, True], [False, False]]])
        >>> metrics.update(score(torch.tensor([[[0.9, 0.2], [0.1, 0.1]]]), target))
        >>> metrics.compute()["mIoU"], metrics.compute()["mIoU_best_threshold"]
        (0.5, 1.0)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for field in fields(Scores):
            self.add_state(field.name, default=[], dist_reduce_fx="cat")

    def update(self, scores: Scores) -> None:
        """Adds the scores of N samples, which :func:`score` makes of their alphas."""
        for field in fields(Scores):
            getattr(self, field.name).append(getattr(scores, field.name))

    def scores(self) -> Scores:
        """Returns what was added, in order."""
        if not self.update_called:
            return Scores.from_rows([])
        return Scores(*(dim_zero_cat(getattr(self, field.name)) for field in fields(Scores)))

    def compute(self) -> dict[str, float]:
        """Returns :func:`measures` of everything that was added."""
        return measures(self.scores())
