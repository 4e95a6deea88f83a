"""A NaN gradient skips the step of its own pair, is counted, and stops the run if it goes on."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peekaboo.alphas import Fourier, Raster
from peekaboo.data.base import Sample
from peekaboo.functional.random import Draws
from peekaboo.losses import Loss
from peekaboo.optimisation.guard import GradientError, GradientGuard


class Spoiled(Loss):
    """Pulls the composite to black; its gradient is spoiled for a prompt "bad" at the given steps."""

    def __init__(self, steps: range, value: float = torch.nan) -> None:
        super().__init__()
        self.steps, self.value = steps, value

    def forward(self, composite: Tensor, prompts: list[str], draws: Draws) -> Tensor:
        spoil = [self.value if p == "bad" and draws.step in self.steps else 1.0 for p in prompts]
        return torch.tensor(spoil) * composite.square().sum((1, 2, 3))


def pairs(*prompts: str) -> list[Sample]:
    generator = torch.Generator().manual_seed(0)
    return [Sample(str(i), torch.rand(3, 16, 16, generator=generator), prompt) for i, prompt in enumerate(prompts)]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("alpha", [Raster, lambda: Fourier(features=4, width=8, depth=1)], ids=["raster", "fourier"])
def test_neighbours_of_a_skipped_pair_go_on_as_if_alone(
    make_segmenter: Callable[..., Any], alpha: Callable[[], Any], value: float
) -> None:
    segmenter = make_segmenter(alpha(), Spoiled(range(1, 3), value), iterations=5, normalise_gradient=False)
    first, bad, last = pairs("good", "bad", "good")
    together = segmenter.segment([first, bad, last], [0, 1, 2])
    for i, pair in ((0, first), (2, last)):
        alone = segmenter.segment([pair], [i])[0]
        torch.testing.assert_close(together[i].alpha, alone.alpha, rtol=0, atol=1e-5)  # batched products in float32
        assert together[i].record["skipped_steps"] == 0
    assert together[1].record["skipped_steps"] == 2
    assert together[1].alpha.isfinite().all()


def test_momentum_does_not_move_a_skipped_pair() -> None:
    p = nn.Parameter(torch.zeros(2, 1, 3, 3))
    guard, optimizer = GradientGuard([p], 2), torch.optim.Adam([p], lr=0.1)
    history = []
    for step in range(4):
        p.grad = torch.ones_like(p)
        if step == 2:
            p.grad[1, 0, 0, 0] = torch.nan
        guard.clean()
        guard.before_step()
        optimizer.step()
        guard.after_step()
        history.append(p.detach().clone())
    assert torch.equal(history[2][1], history[1][1])
    assert not torch.equal(history[2][0], history[1][0])
    assert not torch.equal(history[3][1], history[2][1])  # and it goes on afterwards
    assert guard.skipped.tolist() == [0, 1]
    assert p.isfinite().all()


def test_a_shared_parameter_is_guarded_as_a_whole() -> None:
    shared, own = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(2, 1, 3, 3))
    guard, optimizer = GradientGuard([shared, own], 2), torch.optim.SGD([shared, own], lr=0.1)
    shared.grad, own.grad = torch.ones(5), torch.ones_like(own)
    shared.grad[0] = torch.inf
    guard.clean()
    guard.before_step()
    optimizer.step()
    guard.after_step()
    assert (shared == 0).all() and (own == 0).all()
    assert guard.skipped.tolist() == [1, 1]


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    used, unused = nn.Parameter(torch.zeros(1, 2)), nn.Parameter(torch.zeros(1, 2))
    guard = GradientGuard([used, unused], 1)
    used.grad = torch.tensor([[3.0, 4.0]])
    guard.clean()
    guard.before_step()
    assert float(guard.norm) == pytest.approx(5.0)
    assert unused.grad is None


def test_many_skips_in_a_row_stop_with_what_to_do(make_segmenter: Callable[..., Any]) -> None:
    segmenter = make_segmenter(Raster(), Spoiled(range(100)), iterations=40, max_skipped=5)
    with pytest.raises(GradientError, match=r"10 steps in a row had a NaN or infinite gradient.*32-true"):
        segmenter.segment(pairs("bad"), [0])  # it looks every ten steps


def test_skips_with_steps_between_do_not_stop() -> None:
    p = nn.Parameter(torch.zeros(1, 2))
    guard = GradientGuard([p], 1, limit=3, check_every=1)
    for step in range(30):
        p.grad = torch.full((1, 2), 1.0 if step % 3 == 2 else torch.nan)
        guard.clean()
        guard.before_step()
        guard.after_step()
    assert guard.skipped.tolist() == [20]
    for _ in range(2):
        p.grad = torch.full((1, 2), torch.nan)
        guard.clean()
        guard.before_step()
        guard.after_step()
    p.grad = torch.full((1, 2), torch.nan)
    guard.clean()
    guard.before_step()
    with pytest.raises(GradientError, match="3 steps in a row"):
        guard.after_step()


def test_skips_of_a_fit_are_counted_in_result_json(make_segmenter: Callable[..., Any], make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer()
    trainer.fit(make_segmenter(Raster(), Spoiled(range(1, 3)), prompt=["good", "bad"]))
    folders = sorted(path for path in Path(trainer.log_dir).iterdir() if path.is_dir())
    skipped = {
        f.name: json.loads((f / "result.json").read_text())["skipped_steps"] for f in folders if (f / "result.json").exists()
    }
    assert skipped == {"0_good": 0, "1_bad": 2}


def test_gradients_that_are_accumulated_are_guarded_too(
    make_segmenter: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    trainer = make_trainer(accumulate_grad_batches=2)
    segmenter = make_segmenter(Raster(), Spoiled(range(1, 2)), prompt=["good", "bad"])
    trainer.fit(segmenter)
    assert trainer.global_step == 2
    assert segmenter.running.guard.skipped.tolist() == [0, 1]


def test_under_a_loss_scaler_neighbours_of_a_skipped_pair_go_on_as_if_alone(
    make_segmenter: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    """A real one, as 16-mixed has it: it skips the step of all parameters where one gradient is not finite."""
    from lightning.pytorch.plugins import MixedPrecision

    def fitted(prompt: Any) -> Any:
        segmenter = make_segmenter(Raster(), Spoiled(range(1, 3), torch.inf), prompt=prompt, mask=None, iterations=5)
        plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
        make_trainer(plugins=plugin).fit(segmenter)
        assert plugin.scaler is not None and plugin.scaler.get_scale() == 1024.0
        return segmenter.running

    together, alone = fitted(["good", "bad"]), fitted("good")
    assert together.guard.skipped.tolist() == [0, 2]
    torch.testing.assert_close(together.opacity()[:1], alone.opacity(), rtol=0, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_no_step_looks_for_a_driver_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name, *_: pytest.fail(f"loads {name}"))
    p = nn.Parameter(torch.zeros(1, 2))
    p.grad = torch.ones(1, 2)
    torch.optim.Adam([p], lr=0.1).step()
    assert (p != 0).all()
