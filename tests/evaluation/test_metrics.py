from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from sklearn.metrics import jaccard_score
from torch import Tensor

from peekaboo.evaluation.metrics import GRID, LEVELS, MaskMetrics, Scores, best_of, intervals, measures, score
from peekaboo.functional.masks import otsu_threshold
from peekaboo.functional.scores import bootstrap_interval, counts_over_thresholds


def world(n: int = 6, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(n, 12, 17, generator=generator) > 0.6
    noise = torch.rand(n, 12, 17, generator=generator)
    others = ~target & (torch.rand(n, 12, 17, generator=generator) > 0.7)
    others[0] = False
    ignore = torch.rand(n, 12, 17, generator=generator) > 0.9
    return {"alpha": 0.5 * noise + 0.4 * target, "target": target, "ignore": ignore, "others": others}


def flat(mask: Tensor, ignore: Tensor | None = None) -> np.ndarray:
    return mask[~ignore].numpy() if ignore is not None else mask.flatten().numpy()


@pytest.mark.parametrize("with_ignore", [False, True])
def test_counts_of_every_threshold_are_those_of_a_direct_count(with_ignore: bool) -> None:
    data = world()
    data["alpha"][0, 0, :3] = torch.tensor([0.5, 0.25, 0.01])  # exactly on a threshold: not above it
    ignore = data["ignore"] if with_ignore else None
    intersection, union = counts_over_thresholds(data["alpha"], data["target"], GRID, ignore)
    counted = torch.ones_like(data["target"]) if ignore is None else ~ignore
    for k, threshold in enumerate(GRID.tolist()):
        mask = data["alpha"] > threshold
        assert torch.equal(intersection[:, k], (mask & data["target"] & counted).flatten(1).sum(1))
        assert torch.equal(union[:, k], ((mask | data["target"]) & counted).flatten(1).sum(1))


def test_iou_agrees_with_sklearn_without_the_ignored_pixels() -> None:
    data = world()
    found = score(**data)
    otsu = otsu_threshold(data["alpha"])
    for i in range(6):
        alpha, target, ignore = data["alpha"][i], data["target"][i], data["ignore"][i]
        assert float(found.iou[i]) == pytest.approx(jaccard_score(flat(target, ignore), flat(alpha > 0.5, ignore)), abs=1e-12)
        assert float(found.iou_otsu[i]) == pytest.approx(
            jaccard_score(flat(target, ignore), flat(alpha > otsu[i], ignore)), abs=1e-12
        )
        if i:
            other = jaccard_score(flat(data["others"][i], ignore), flat(alpha > 0.5, ignore))
            assert float(found.iou_other[i]) == pytest.approx(other, abs=1e-12)
    assert found.iou_other[0].isnan()  # it has no other object


def test_iou_agrees_with_pycocotools() -> None:
    data = world()
    found = score(data["alpha"], data["target"])
    for i in range(6):
        runs = [coco.encode(np.asfortranarray(m.numpy().astype(np.uint8))) for m in (data["alpha"][i] > 0.5, data["target"][i])]
        assert float(found.iou[i]) == pytest.approx(float(coco.iou([runs[0]], [runs[1]], [0])[0, 0]), abs=1e-12)


def test_measures_are_what_their_names_say() -> None:
    data = world()
    threshold = torch.tensor([0.3, 0.5, 0.7, 0.3, 0.5, 0.7])
    found = measures(score(**data, threshold=threshold))

    def ious(thresholds: list[float]) -> list[float]:
        masks = [data["alpha"][i] > thresholds[i] for i in range(6)]
        return [
            float(jaccard_score(flat(data["target"][i], data["ignore"][i]), flat(masks[i], data["ignore"][i]))) for i in range(6)
        ]

    half = ious([0.5] * 6)
    assert found["mIoU"] == pytest.approx(np.mean(half), abs=1e-12)
    for level in LEVELS:
        assert found[f"P@{level}"] == pytest.approx(np.mean(np.array(half) > level))
    counted = ~data["ignore"]
    everything = jaccard_score(data["target"][counted].numpy(), (data["alpha"] > 0.5)[counted].numpy())
    assert found["dataset_IoU"] == pytest.approx(everything, abs=1e-12)
    assert found["mIoU_own_threshold"] == pytest.approx(np.mean(ious(threshold.tolist())), abs=1e-12)
    over_grid = [float(np.mean(ious([t] * 6))) for t in GRID.tolist()]
    assert found["mIoU_best_threshold"] == pytest.approx(max(over_grid), abs=1e-12)
    assert over_grid[round(found["best_threshold"] * 100) - 1] == pytest.approx(max(over_grid), abs=1e-12)
    other = score(**data).iou_other[1:]
    assert found["mIoU_other_object"] == pytest.approx(float(other.mean()), abs=1e-12)
    assert found["named_ahead"] == pytest.approx(float((torch.tensor(half)[1:] > other).double().mean()))


def test_precision_counts_what_is_above_a_level_and_not_on_it() -> None:
    target = torch.zeros(1, 1, 10, dtype=torch.bool)
    target[..., :10] = True
    alpha = torch.zeros(1, 1, 10)
    alpha[..., :4] = 1
    found = measures(score(alpha, target))
    assert (found["mIoU"], found["P@0.2"], found["P@0.4"]) == (0.4, 1.0, 0.0)


def test_of_equally_good_thresholds_the_one_nearest_to_the_middle_is_named() -> None:
    assert float(GRID[best_of(torch.ones(99))]) == 0.5
    over_grid = torch.zeros(99)
    over_grid[[3, 60, 90]] = 1
    assert best_of(over_grid) == 60


def test_scores_survive_json() -> None:
    found = score(**world())
    rows = [score(**{k: v[i : i + 1] for k, v in world().items()}).to_row() for i in range(6)]
    again = Scores.from_rows(rows)
    for name in ("intersection", "union", "iou_otsu", "iou_own"):
        assert torch.equal(getattr(found, name), getattr(again, name))
    assert torch.equal(found.iou_other.isnan(), again.iou_other.isnan())
    assert measures(Scores.from_rows([])) == {}
    assert intervals(Scores.from_rows([])) == {}


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target: expected the alpha's shape \(1, 4, 4\), got \(1, 4, 5\)"):
        score(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5, dtype=torch.bool))


def test_bootstrap_interval_is_the_percentile_interval_of_scipy() -> None:
    from scipy.stats import bootstrap

    values = torch.rand(80, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    low, high = bootstrap_interval(values)[:, 0].tolist()
    theirs = bootstrap((values[:, 0].numpy(),), np.mean, n_resamples=9999, method="percentile", rng=0).confidence_interval
    assert low == pytest.approx(theirs.low, abs=0.006)  # a tenth of the interval: what 1000 resamples leave to chance
    assert high == pytest.approx(theirs.high, abs=0.006)
    assert torch.equal(bootstrap_interval(values), bootstrap_interval(values))
    assert not torch.equal(bootstrap_interval(values), bootstrap_interval(values, seed=1))


def test_intervals_hold_their_measure() -> None:
    found = score(**world(40))
    means = measures(found)
    for name, (low, high) in intervals(found).items():
        assert low <= means[name] <= high


def test_the_metric_adds_up_and_starts_again() -> None:
    data = world()
    at_once, in_parts = MaskMetrics(), MaskMetrics()
    at_once.update(score(**data))
    for i in range(6):
        in_parts.update(score(**{k: v[i : i + 1] for k, v in data.items()}))
    assert at_once.compute() == in_parts.compute() == measures(score(**data))
    in_parts.update(score(**world(2, seed=1)))
    assert in_parts.compute() != at_once.compute()
    in_parts.reset()
    assert in_parts.compute() == {}


def _rank(rank: int, rendezvous: str, folder: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)  # those of the process that was copied are not in the copy
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    metrics, data = MaskMetrics(), world(5)
    own = [i for i in range(5) if i % 2 == rank]  # three and two: the count does not divide
    metrics.update(score(**{k: v[own] for k, v in data.items()}))
    torch.save(metrics.compute(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_compute_what_one_computes(tmp_path: Path) -> None:
    import torch.multiprocessing as mp

    copied = "fork" if sys.platform == "linux" else "spawn"  # a copy of this process has nothing to import
    mp.start_processes(_rank, (str(tmp_path / "rendezvous"), str(tmp_path)), nprocs=2, start_method=copied)
    alone = measures(score(**world(5)))
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(alone, abs=1e-12)
