"""A mask that no longer changes needs no further iterations, and its neighbours do not notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from peekaboo.alphas import Raster
from peekaboo.data.base import Sample
from peekaboo.functional.random import Draws
from peekaboo.losses import Loss
from peekaboo.optimisation.guard import GradientGuard
from peekaboo.optimisation.settling import Settling


class Quick(Loss):
    """Leaves a prompt "quick" to the penalty, and throws the mask of any other about, for ever."""

    def forward(self, composite: Tensor, prompts: list[str], draws: Draws) -> Tensor:
        other_way = -1.0 if draws.step // 20 % 2 else 1.0
        way = torch.tensor([0.0 if p == "quick" else other_way for p in prompts])
        return 2000 * way * composite.sum((1, 2, 3))


NONE = torch.zeros(2, dtype=torch.int64)  # skipped steps


def masks(*rows: list[int]) -> Callable[[], Tensor]:
    return lambda: torch.tensor(rows, dtype=torch.float32)[:, None, None]


def test_settles_after_agreeing_looks_in_a_row() -> None:
    settling = Settling(2, 0.7, every=2, patience=2)
    still, wild = [1, 1, 1, 0], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    found = [settling.after_step(masks(still, wild[step // 2]), NONE) for step in range(8)]
    assert found == [[False, False]] * 5 + [[True, False]] * 3  # looks after 2, 4 and 6 steps
    assert settling.settled_at == [6, None]


def test_agreement_is_an_iou() -> None:
    for agreement, expected in ((0.75, [True]), (0.76, [False])):
        settling = Settling(1, agreement, every=1, patience=1)
        settling.after_step(masks([1, 1, 1, 1]), NONE[:1])
        assert settling.after_step(masks([1, 1, 1, 0]), NONE[:1]) == expected


def test_a_disagreement_starts_the_count_anew() -> None:
    settling = Settling(1, 1.0, every=1, patience=2)
    looks = [[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]]
    assert [settling.after_step(masks(look), NONE[:1])[0] for look in looks] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("maps", "settles"),
    [
        ([0.11, 0.2, 0.3, 0.4, 0.45], False),  # empty so far, and rising
        ([0.4, 0.3, 0.2, 0.1, 0.1], True),
        ([0.3, 0.3, 0.3, 0.3, 0.3], True),
        ([0.9, 0.8, 0.7, 0.6, 0.55], False),  # full so far, and falling
        ([0.6, 0.7, 0.8, 0.9, 0.9], True),
    ],
)
def test_what_has_not_appeared_yet_has_not_settled(maps: list[float], settles: bool) -> None:
    settling = Settling(1, 0.98, every=1, patience=2)
    found = [settling.after_step(lambda value=value: torch.full((1, 1, 4, 4), value), NONE[:1])[0] for value in maps]
    assert found[-1] == settles


def test_without_an_agreement_it_never_looks() -> None:
    settling = Settling(1, None, every=1)
    assert [settling.after_step(lambda: pytest.fail("looked"), NONE[:1]) for _ in range(5)] == [[False]] * 5


def test_a_pair_that_skipped_its_steps_has_not_settled() -> None:
    settling = Settling(2, 1.0, every=1, patience=2)
    found = [settling.after_step(masks([1, 0], [1, 0]), torch.tensor([0, step])) for step in range(4)]
    assert found[-1] == [True, False]
    resumed = Settling(2, 1.0, every=1, patience=2)
    resumed.load_state_dict(settling.state_dict())
    assert [resumed.after_step(masks([1, 0], [1, 0]), torch.tensor([0, 3]))[1] for _ in range(2)] == [False, True]


def test_masks_settle_at_the_configured_threshold(make_segmenter: Callable[..., Any]) -> None:
    """A mask that is empty at one half may be far from settled at a lower threshold."""
    for threshold, expected in ((0.25, 0.25), ("otsu", 0.5)):
        segmenter = make_segmenter(threshold=threshold, settled=0.98)
        segmenter.begin(segmenter.input.pairs(), [0])
        assert segmenter.running.settling.threshold == expected


def test_a_held_pair_stays_and_is_not_counted_as_skipped() -> None:
    own, shared = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(3))
    guard, optimizer = GradientGuard([own, shared], 2), torch.optim.Adam([own, shared], lr=0.1)
    held_as = []
    for held in ([False, False], [True, False], [True, True]):
        guard.hold(held)
        own.grad, shared.grad = torch.ones_like(own), torch.ones_like(shared)
        guard.clean()
        guard.before_step()
        optimizer.step()
        guard.after_step()
        held_as.append((own[0, 0].item(), own[1, 0].item(), shared[0].item()))
    assert held_as[0] == pytest.approx((-0.1, -0.1, -0.1))
    assert held_as[1] == pytest.approx((-0.1, -0.2, -0.2))
    assert held_as[2] == pytest.approx((-0.1, -0.2, -0.2))
    assert guard.skipped.tolist() == [0, 0]


def test_a_settled_pair_is_the_same_alone_and_beside_others(make_segmenter: Callable[..., Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = 0.5 + 0.5 * torch.rand(3, 16, 16, generator=generator)
    settings = {"iterations": 100, "settled": 0.99, "normalise_gradient": False}
    segmenter = make_segmenter(Raster(), Quick(), **settings)
    alone = segmenter.segment([Sample("0", image, "quick")], [0])[0]
    both = segmenter.segment([Sample("0", image, "quick"), Sample("1", image, "restless")], [0, 1])
    assert alone.record["iterations"] < 100
    assert both[0].record["iterations"] == alone.record["iterations"]
    assert both[1].record["iterations"] == 100
    torch.testing.assert_close(both[0].alpha, alone.alpha, rtol=0, atol=1e-5)


def test_a_fit_stops_when_it_has_settled(
    make_segmenter: Callable[..., Any], make_trainer: Callable[..., Any], tmp_path: Path
) -> None:
    trainer = make_trainer()
    trainer.fit(make_segmenter(Raster(), Quick(), prompt="quick", iterations=100, settled=0.99, normalise_gradient=False))
    (record,) = tmp_path.rglob("result.json")
    iterations = json.loads(record.read_text())["iterations"]
    assert iterations == trainer.global_step < 100
    assert iterations % 10 == 0


@pytest.mark.parametrize("stop", [25, 55])
def test_a_resumed_run_settles_where_it_would_have(
    make_segmenter: Callable[..., Any], make_trainer: Callable[..., Any], tmp_path: Path, stop: int
) -> None:
    """Stopped between two looks that agree, and after one of the pairs has settled."""

    def make() -> Any:
        settings = {"prompt": ["quick", "restless"], "iterations": 60, "settled": 0.99, "normalise_gradient": False}
        return make_segmenter(Raster(), Quick(), **settings)

    whole, again = make(), make()
    keep = ModelCheckpoint(str(tmp_path / "kept"), filename="{step}", every_n_train_steps=5, save_top_k=-1)
    make_trainer(keep).fit(whole)
    make_trainer().fit(again, ckpt_path=str(tmp_path / "kept" / f"step={stop}.ckpt"))
    assert 25 < whole.running.settling.settled_at[0] < 55 and whole.running.settling.settled_at[1] is None
    assert again.running.settling.settled_at == whole.running.settling.settled_at
    torch.testing.assert_close(again.running.opacity(), whole.running.opacity(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("settled", [0.0, 1.5])
def test_a_wrong_agreement_is_one_line(make_segmenter: Callable[..., Any], settled: float) -> None:
    with pytest.raises(ValueError, match=rf"settled: expected a number in \(0, 1\] or null, got {settled}"):
        make_segmenter(Raster(), Quick(), settled=settled)
