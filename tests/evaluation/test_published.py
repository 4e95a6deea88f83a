"""LD-ZNet's measures: against a direct computation of what its scorer says, and the usual AP against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from sklearn.metrics import average_precision_score

from peekaboo.evaluation.metrics import MaskMetrics, Scores, measures, score

THRESHOLDS = np.linspace(0, 1, 51)[1:-1]


def scorer(alphas: list[np.ndarray], truths: list[np.ndarray]) -> dict[str, float]:
    """The definition, pixel by pixel and threshold by threshold."""
    counts = np.zeros((len(alphas), len(THRESHOLDS), 3))
    for i, (alpha, truth) in enumerate(zip(alphas, truths, strict=True)):
        for j, threshold in enumerate(THRESHOLDS):
            found = alpha.ravel() > np.float32(threshold)
            wanted = truth.ravel()
            counts[i, j] = (found & wanted).sum(), (found & ~wanted).sum(), (~found & wanted).sum()
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    of_samples = (tp / (1 + tp + fp + fn)).mean(0)
    tp, fp, fn = tp.sum(0), fp.sum(0), fn.sum(0)
    of_all = tp / (1 + tp + fp + fn)
    points = sorted({(t / (1 + t + n), t / (1 + t + p)) for t, p, n in zip(tp, fp, fn, strict=True) if t + p > 0})
    recall, precision = zip(*points, strict=True)
    return {
        "published_mIoU": of_samples.max(),
        "published_mIoU_threshold": THRESHOLDS[of_samples.argmax()],
        "published_IoU_FG": of_all.max(),
        "published_IoU_FG_threshold": THRESHOLDS[of_all.argmax()],
        "published_AP": simpson(precision, x=recall),
        "IoU_FG_at_0.5": of_all[24],
    }


def some(seed: int, count: int = 5) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(9 + i, 12) for i in range(count)]
    truths = [torch.rand(size, generator=generator) > 0.7 for size in sizes]
    alphas = [(0.35 * t + 0.65 * torch.rand(t.shape, generator=generator)).clamp(0, 1) for t in truths]
    return alphas, truths


def scores_of(alphas: list[torch.Tensor], truths: list[torch.Tensor]) -> list[Scores]:
    return [score(alpha[None], truth[None]) for alpha, truth in zip(alphas, truths, strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_the_published_measures_are_the_scorers(seed: int) -> None:
    alphas, truths = some(seed)
    metrics = MaskMetrics()
    for scores in scores_of(alphas, truths):
        metrics.update(scores)
    found = metrics.compute()
    for name, value in scorer([a.numpy() for a in alphas], [t.numpy() for t in truths]).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_alphas_at_a_threshold_are_not_above_it() -> None:
    alphas, truths = some(1)
    alphas = [(alpha * 50).round() / 50 for alpha in alphas]
    found = measures(Scores.from_rows([scores.to_row() for scores in scores_of(alphas, truths)]))
    for name, value in scorer([a.numpy() for a in alphas], [t.numpy() for t in truths]).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_ap_is_scikit_learns_on_its_hundred_levels() -> None:
    alphas, truths = some(2)
    rows = [scores.to_row() for scores in scores_of(alphas, truths)]
    found = measures(Scores.from_rows(rows))["AP"]
    flat, truth = torch.cat([a.flatten() for a in alphas]), torch.cat([t.flatten() for t in truths])
    grid = torch.arange(1, 100, dtype=torch.float64) / 100
    assert found == pytest.approx(average_precision_score(truth, torch.bucketize(flat, grid.float())), abs=1e-12)
    assert found == pytest.approx(average_precision_score(truth, flat), abs=0.01)  # the levels cost little


def test_pixels_that_do_not_count_change_nothing() -> None:
    alphas, truths = some(3, 1)
    alpha, truth = alphas[0], truths[0]
    wider, more = torch.cat([alpha, torch.rand(3, 12)]), torch.cat([truth, torch.rand(3, 12) > 0.5])
    ignore = torch.zeros_like(more)
    ignore[-3:] = True
    plain, with_void = measures(score(alpha[None], truth[None])), measures(score(wider[None], more[None], ignore[None]))
    names = [name for name in plain if "published" in name or name in ("AP", "IoU_FG_at_0.5")]
    assert len(names) == 7
    assert {name: plain[name] for name in names} == {name: with_void[name] for name in names}


def test_devices_merge_exactly() -> None:
    alphas, truths = some(4, 6)
    every = scores_of(alphas, truths)
    whole, first, second = MaskMetrics(), MaskMetrics(), MaskMetrics()
    for i, scores in enumerate(every):
        whole.update(scores)
        (first if i % 2 else second).update(scores)
    rows = [one.to_row() for one in every]
    merged = measures(Scores.from_rows([*rows[1::2], *rows[::2]]))
    for name, value in whole.compute().items():
        assert merged[name] == pytest.approx(value, abs=1e-12)


def test_nothing_found_and_nothing_to_find() -> None:
    truth = torch.zeros(1, 4, 4, dtype=torch.bool)
    empty = measures(score(torch.zeros(1, 4, 4), truth))
    assert empty["AP"] == 0 and empty["published_IoU_FG"] == 0 and np.isnan(empty["published_AP"])
    truth[0, :2] = True
    perfect = measures(score(truth.float(), truth))
    assert perfect["AP"] == 1 and perfect["published_IoU_FG"] == pytest.approx(8 / 9)
