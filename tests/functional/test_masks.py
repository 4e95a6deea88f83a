"""Thresholds and overlap, against independent definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import Tensor

from peekaboo.functional.masks import intersection_and_union, iou, otsu_threshold


def between_class_variance(values: np.ndarray, threshold: float, bins: int = 256) -> float:
    """w0 w1 (mu0 - mu1)^2 of the binned values (Otsu 1979, eq. 14)."""
    centres = (np.minimum(np.floor(values * bins), bins - 1) + 0.5) / bins
    low, high = centres[centres < threshold], centres[centres >= threshold]
    if len(low) == 0 or len(high) == 0:
        return 0.0
    return len(low) * len(high) * (low.mean() - high.mean()) ** 2 / len(values) ** 2


@pytest.mark.parametrize("seed", range(4))
def test_otsu_maximises_the_variance_between_the_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0.3, 0.08, 300), rng.normal(0.7, 0.12, 150)]).clip(0, 1)
    found = float(otsu_threshold(torch.from_numpy(values)[None]))
    best = max(between_class_variance(values, k / 256) for k in range(1, 256))
    assert between_class_variance(values, found) == pytest.approx(best, abs=1e-12)
    assert 0.4 < found < 0.6


def test_otsu_lies_in_the_middle_of_an_empty_valley() -> None:
    values = torch.tensor([0.1] * 50 + [0.9] * 50)[None]
    # edges from 0.1's bin to 0.9's are equally good; their middle, to a bin
    assert float(otsu_threshold(values)) == pytest.approx(0.5, abs=1 / 128)


def test_otsu_thresholds_each_map_by_itself() -> None:
    a, b = torch.rand(1, 8, 8), 0.3 * torch.rand(1, 8, 8)
    together = otsu_threshold(torch.cat([a, b]))
    assert torch.equal(together, torch.cat([otsu_threshold(a), otsu_threshold(b)]))
    assert together[0] > together[1]


@pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
def test_otsu_of_a_constant_map_marks_nothing(value: float) -> None:
    values = torch.full((1, 5, 5), value)
    assert not (values > otsu_threshold(values)).any()


def random_masks() -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.rand(3, 6, 7) > p for p in (0.4, 0.6, 0.8))  # type: ignore[return-value]


def test_iou_equals_scikit_learns_jaccard_score() -> None:
    mask, target, ignore = random_masks()
    expected = [jaccard_score(t.flatten(), m.flatten()) for m, t in zip(mask, target, strict=True)]
    assert iou(mask, target).tolist() == pytest.approx(expected, abs=1e-12)
    counted = [jaccard_score(t[~i], m[~i]) for m, t, i in zip(mask, target, ignore, strict=True)]
    assert iou(mask, target, ignore).tolist() == pytest.approx(counted, abs=1e-12)


def test_iou_of_two_empty_masks_is_one_and_of_one_empty_mask_zero() -> None:
    empty, full = torch.zeros(1, 3, 3, dtype=torch.bool), torch.ones(1, 3, 3, dtype=torch.bool)
    assert iou(empty, empty).tolist() == [1.0]
    assert iou(empty, full).tolist() == iou(full, empty).tolist() == [0.0]
    assert iou(full, empty, ignore=full).tolist() == [1.0]  # nothing is left to count


def test_counts_of_intersection_and_union() -> None:
    mask = torch.tensor([[[True, True, False, False]]])
    target = torch.tensor([[[True, False, True, False]]])
    ignore = torch.tensor([[[False, True, False, False]]])
    assert [int(count) for count in intersection_and_union(mask, target)] == [1, 3]
    assert [int(count) for count in intersection_and_union(mask, target, ignore)] == [1, 2]
