"""The main job through Lightning: what it leaves behind, and that nothing but seed and input decides a mask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from peekaboo.alphas import Alpha, Bilateral, Competing, Fourier, Raster
from peekaboo.data.base import Failure, Sample
from peekaboo.functional.framing import frame
from peekaboo.functional.random import Draws, pair_seeds
from peekaboo.guides import RGB
from peekaboo.losses import Loss
from peekaboo.optimisation.guard import GradientError
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.results.records import describe

Make = Callable[..., Any]


class Brightness(Loss):
    """Prefers dark composites; no network, so that its precision is the same everywhere."""

    def forward(self, composite: torch.Tensor, prompts: list[str], draws: Draws) -> torch.Tensor:
        return composite.square().sum((1, 2, 3))


class Nowhere(Loss):
    """Has no finite gradient."""

    def forward(self, composite: torch.Tensor, prompts: list[str], draws: Draws) -> torch.Tensor:
        return torch.nan * composite.sum((1, 2, 3))


def fit(segmenter: Segmenter, trainer: Any, **rest: Any) -> Path:
    trainer.fit(segmenter, **rest)
    return Path(trainer.log_dir)


def alpha_of(segmenter: Segmenter) -> torch.Tensor:
    return segmenter.alpha().detach().clone()


# ---- what a run leaves ----------------------------------------------------------------------------------------------------


def test_a_fit_leaves_every_file_at_the_inputs_size(make_segmenter: Make, make_trainer: Make) -> None:
    segmenter = make_segmenter()
    folder = fit(segmenter, make_trainer())
    assert (folder.parent.name, folder.name) == ("lightning_logs", "version_0")
    mask, alpha, cutout = (Image.open(folder / f"{name}.png") for name in ("mask", "alpha", "cutout"))
    assert mask.size == alpha.size == cutout.size == Image.open(folder / "overlay.png").size == (28, 20)
    assert (mask.mode, alpha.mode, cutout.mode) == ("L", "I;16", "RGBA")
    assert set(np.unique(mask)) <= {0, 255}
    exact = segmenter.results(4)[0]
    np.testing.assert_allclose(np.asarray(alpha) / 65535, exact.alpha, rtol=0, atol=1 / 65535)
    np.testing.assert_array_equal(np.asarray(mask) == 255, exact.mask)
    np.testing.assert_allclose(np.asarray(cutout)[..., 3] / 255, exact.cutout_tensor[3], rtol=0, atol=0.51 / 255)
    assert len(np.unique(alpha)) > 256  # the depth of 16 bits is used
    gif = Image.open(folder / "timelapse.gif")
    assert gif.n_frames == 5  # the start of each of 4 steps, and the end
    assert gif.size == (16, 16)


def test_result_json_says_what_was_run(make_segmenter: Make, make_trainer: Make, image_file: Path, pipeline: Path) -> None:
    segmenter = make_segmenter(seed=7)
    result = json.loads((fit(segmenter, make_trainer()) / "result.json").read_text())
    expected = {
        "image": str(image_file),
        "prompt": "a red apple",
        "variant": "Bilateral(Raster, RGB)",
        "loss": "ScoreDistillation(Diffusion)",
        "teacher": str(pipeline),
        "iterations": 4,
        "threshold": 0.5,
        "threshold_method": "fixed",
        "skipped_steps": 0,
        "seed": 7,
        "interrupted": False,
    }
    assert {key: result[key] for key in expected} == expected
    assert result["seconds"] > 0
    assert result["seconds_per_iteration"] == pytest.approx(result["seconds"] / 4, abs=1e-3)
    assert result["peak_memory_mb"] > 50
    assert {"peekaboo", "torch", "lightning", "diffusers", "transformers"} <= set(result["versions"])
    assert result["iou"] == pytest.approx(segmenter.results(4)[0].iou)
    assert 0 <= result["iou_otsu"] <= 1


def test_without_a_ground_truth_the_iou_is_null(make_segmenter: Make, make_trainer: Make) -> None:
    result = json.loads((fit(make_segmenter(mask=None), make_trainer()) / "result.json").read_text())
    assert result["iou"] is None
    assert result["iou_otsu"] is None


def test_otsu_is_named_in_the_result(make_segmenter: Make, make_trainer: Make) -> None:
    folder = fit(make_segmenter(threshold="otsu"), make_trainer())
    result = json.loads((folder / "result.json").read_text())
    assert result["threshold_method"] == "otsu"
    assert result["threshold"] == result["otsu_threshold"] != 0.5
    assert result["iou"] == result["iou_otsu"]
    alpha = np.asarray(Image.open(folder / "alpha.png")) / 65535
    marked = np.asarray(Image.open(folder / "mask.png")) > 0
    assert np.abs(alpha[marked != (alpha > result["threshold"])] - result["threshold"]).max(initial=0) < 1 / 65535


def test_the_event_file_holds_the_named_tags(make_segmenter: Make, make_trainer: Make) -> None:
    events = EventAccumulator(str(fit(make_segmenter(), make_trainer())))
    events.Reload()
    tags = events.Tags()
    scalars = {
        "loss/total",
        "loss/loss",
        "loss/penalty",
        "alpha/mean",
        "gradient_norm",
        "iterations_per_second",
        "skipped_steps",
        "iou",
    }
    assert scalars <= set(tags["scalars"])
    pictures = {"alpha", "mask", "overlay", "composite/black", "composite/white", "composite/green"}
    assert pictures <= set(tags["images"])
    assert [event.step for event in events.Scalars("loss/total")] == [1, 2, 3, 4]
    for event in events.Scalars("gradient_norm"):
        assert event.value > 0
    last = {tag: events.Scalars(tag)[-1].value for tag in scalars}
    assert last["loss/total"] == pytest.approx(last["loss/loss"] + last["loss/penalty"], rel=1e-5)


def test_several_prompts_get_a_folder_each(make_segmenter: Make, make_trainer: Make) -> None:
    folder = fit(make_segmenter(prompt=["a red apple", "a bear!"]), make_trainer())
    results = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}
    assert {name: result["prompt"] for name, result in results.items()} == {"0_a-red-apple": "a red apple", "1_a-bear": "a bear!"}
    assert results["0_a-red-apple"]["iou"] is not None and results["1_a-bear"]["iou"] is None  # the mask is of the first
    assert (folder / "1_a-bear" / "mask.png").exists()
    assert not (folder / "mask.png").exists()


def test_competing_prompts_share_the_pixels(make_segmenter: Make, make_trainer: Make) -> None:
    segmenter = make_segmenter(Competing(Raster()), prompt=["a red apple", "a bear"])
    fit(segmenter, make_trainer())
    assert float(alpha_of(segmenter).sum(0).max()) < 1
    assert describe(segmenter.alpha) == "Competing(Raster)"


@pytest.mark.parametrize("framing", ["stretch", "crop"])
def test_masks_have_the_images_own_size_however_it_is_framed(make_segmenter: Make, framing: str) -> None:
    segmenter = make_segmenter(framing=framing, iterations=1)
    images = [torch.rand(3, 1, 1), torch.rand(3, 9, 30), torch.rand(3, 50, 20)]
    results = segmenter.segment([Sample(str(i), image, "a bear") for i, image in enumerate(images)], [0, 1, 2])
    assert [tuple(result.mask.shape) for result in results] == [(1, 1), (9, 30), (50, 20)]


def by_hand(make_segmenter: Make, steps: list[list[tuple[int, int]]], **settings: Any) -> torch.Tensor:
    """Alphas of a raster after steps of Adam, from the formulas alone.

    Args:
        steps: for each step of the optimiser the (iteration, rank) pairs whose gradients it averages. Ranks of one iteration
            average before they are normalised, iterations behind.
    """
    segmenter = make_segmenter(Raster(), **settings)
    loss, background, penalty = (getattr(segmenter.objective, name) for name in ("loss", "background", "penalty"))
    pairs = segmenter.input.pairs()
    images = torch.stack([frame(pair.image, 16) for pair in pairs])
    field = Draws([0]).normal(1, 16, 16).requires_grad_()
    optimizer = torch.optim.Adam([field], lr=0.1)
    for together in steps:
        total = torch.zeros(1, 1, 16, 16)
        iterations = sorted({iteration for iteration, _ in together})
        for iteration in iterations:
            gradients = []
            for rank in (rank for one, rank in together if one == iteration):
                alpha = field.detach().sigmoid().requires_grad_()
                draws = Draws([0], iteration, segmenter.iterations, rank, purpose="step")
                seen = images * alpha + background(images, draws.of("background")) * (1 - alpha)
                value = loss(seen, [pair.prompt for pair in pairs], draws.of("loss")).sum()
                gradients.append(torch.autograd.grad(value, alpha)[0])
            mean = torch.stack(gradients).mean(0)
            total = total + (256 * mean / mean.square().mean().sqrt() + 256 * penalty) / len(iterations)
        field.grad = total * field.detach().sigmoid() * (1 - field.detach().sigmoid())
        optimizer.step()
    return field.detach().sigmoid()


def test_accumulated_gradients_are_each_normalised_and_then_averaged(make_segmenter: Make, make_trainer: Make) -> None:
    segmenter = make_segmenter(Raster(), iterations=6)
    fit(segmenter, make_trainer(accumulate_grad_batches=2))
    expected = by_hand(make_segmenter, [[(0, 0), (1, 0)], [(2, 0), (3, 0)], [(4, 0), (5, 0)]], iterations=6)
    torch.testing.assert_close(alpha_of(segmenter), expected, rtol=0, atol=1e-5)
    apart = by_hand(make_segmenter, [[(0, 0)], [(2, 0)], [(4, 0)]], iterations=6)
    assert float((alpha_of(segmenter) - apart).abs().max()) > 1e-2  # the second of each two counts


def test_a_loss_scale_leaves_the_balance_with_the_penalty(make_segmenter: Make, make_trainer: Make) -> None:
    """As 16-mixed has it on a GPU: the loss is scaled before the backward pass, and the gradient back before the step."""

    class Scaled(Segmenter):
        def backward(self, loss: torch.Tensor, *args: Any, **options: Any) -> None:
            (65536 * loss).backward()

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            for parameter in self.running.parameters():
                parameter.grad /= 65536
            super().on_before_optimizer_step(optimizer)

    plain, scaled = make_segmenter(Raster()), make_segmenter(Raster())
    scaled.__class__ = Scaled
    fit(plain, make_trainer())
    fit(scaled, make_trainer())
    torch.testing.assert_close(alpha_of(scaled), alpha_of(plain), rtol=0, atol=1e-4)
    torch.testing.assert_close(alpha_of(plain), by_hand(make_segmenter, [[(k, 0)] for k in range(4)]), rtol=0, atol=1e-5)


def test_a_run_that_never_had_a_gradient_is_no_result(make_segmenter: Make, make_trainer: Make, tmp_path: Path) -> None:
    """However short it is."""
    segmenter = make_segmenter(loss=Nowhere())
    with pytest.raises(GradientError, match="4 steps in a row had a NaN or infinite gradient"):
        segmenter.segment(segmenter.input.pairs(), [0])
    with pytest.raises(GradientError):
        make_trainer().fit(make_segmenter(loss=Nowhere()))
    assert not list(tmp_path.glob("**/result.json"))


# ---- only the alpha trains ------------------------------------------------------------------------------------------------


def test_only_the_alpha_trains_and_the_checkpoint_holds_nothing_else(make_segmenter: Make, make_trainer: Make) -> None:
    segmenter = make_segmenter()
    teacher = segmenter.objective.loss.teacher
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    folder = fit(segmenter, make_trainer())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not any(module.training for module in teacher.modules())
    assert {name for name, p in segmenter.named_parameters() if p.requires_grad} == {"alpha.field.field"}
    (checkpoint,) = folder.glob("checkpoints/*.ckpt")
    assert list(torch.load(checkpoint, weights_only=True)["state_dict"]) == ["alpha.field.field"]


def test_a_checkpoint_at_the_default_resolution_is_under_two_megabytes(make_segmenter: Make, make_trainer: Make) -> None:
    folder = fit(make_segmenter(resolution=128, iterations=1), make_trainer())
    (checkpoint,) = folder.glob("checkpoints/*.ckpt")
    assert checkpoint.stat().st_size < 2 * 2**20


def test_so_is_one_of_a_long_run_at_stable_diffusions_and_its_time_lapse_comes_back(
    make_segmenter: Make, make_trainer: Make
) -> None:
    segmenter = make_segmenter(Raster(), Brightness(), resolution=256, iterations=40)
    (checkpoint,) = fit(segmenter, make_trainer()).glob("checkpoints/*.ckpt")
    assert len(segmenter.running.frames) == 40
    assert checkpoint.stat().st_size < 2 * 2**20
    kept = segmenter.running.frames
    segmenter.running.load_state_dict(torch.load(checkpoint, weights_only=True)["progress"]["optimisation"])
    for before, after in zip(kept, segmenter.running.frames, strict=True):
        assert after.shape == before.shape
        coarse = [torch.nn.functional.avg_pool2d(one, 16) for one in (before, after)]  # finer than 128 pixels it is gone
        assert float((coarse[0] - coarse[1]).abs().max()) < 0.05


# ---- the same seed, the same mask -----------------------------------------------------------------------------------------


class Recorder(Callback):
    """Keeps the alpha after every step."""

    def __init__(self) -> None:
        self.alphas: dict[int, torch.Tensor] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.alphas[trainer.global_step] = alpha_of(pl_module)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_equals_an_uninterrupted_one(make_segmenter: Make, make_trainer: Make, tmp_path: Path, stop: int) -> None:
    whole, resumed = Recorder(), Recorder()
    keep = ModelCheckpoint(str(tmp_path / "kept"), filename="{step}", every_n_train_steps=1, save_top_k=-1)
    first = make_segmenter(iterations=6)
    fit(first, make_trainer(whole, keep))
    again = make_segmenter(iterations=6)
    trainer = make_trainer(resumed)
    fit(again, trainer, ckpt_path=str(tmp_path / "kept" / f"step={stop}.ckpt"))
    assert sorted(resumed.alphas) == list(range(stop + 1, 7))
    for step, alpha in resumed.alphas.items():
        torch.testing.assert_close(alpha, whole.alphas[step], rtol=0, atol=1e-6)
    assert trainer.global_step == 6
    assert json.loads((Path(trainer.log_dir) / "result.json").read_text())["iterations"] == 6
    before, after = (segmenter.results(6)[0] for segmenter in (first, again))  # the time-lapse and the clock go on too
    torch.testing.assert_close(after.frames, before.frames, rtol=0, atol=0.5 / 255 + 1e-6)
    kept = torch.load(tmp_path / "kept" / f"step={stop}.ckpt", weights_only=True)
    assert after.record["seconds"] > kept["progress"]["optimisation"]["seconds"] > 0


def test_a_run_does_not_go_on_from_the_checkpoint_of_another(make_segmenter: Make, make_trainer: Make) -> None:
    folder = fit(make_segmenter(iterations=1), make_trainer())
    (kept,) = folder.glob("checkpoints/*.ckpt")
    with pytest.raises(ValueError, match="this image, prompt and set-up, got one of others: .*resolution was 16, is 24"):
        fit(make_segmenter(resolution=24), make_trainer(), ckpt_path=str(kept))


def test_a_pair_gets_the_same_mask_alone_and_in_a_batch(make_segmenter: Make) -> None:
    images = [torch.rand(3, 20, 28), torch.rand(3, 16, 16), torch.rand(3, 40, 9)]
    pairs = [
        Sample(str(i), image, f"a {word}")
        for i, (image, word) in enumerate(zip(images, ["bear", "bus", "red apple"], strict=True))
    ]
    segmenter = make_segmenter(Fourier(features=8, width=8, depth=1), lr=0.02)
    together = segmenter.segment(pairs, [5, 6, 7])
    for pair, seed, result in zip(pairs, [5, 6, 7], together, strict=True):
        alone = segmenter.segment([pair], [seed])[0]
        # another batch size is another order of summation in every network; guidance and Adam amplify it a little
        torch.testing.assert_close(result.alpha, alone.alpha, rtol=0, atol=2e-3)
    shuffled = segmenter.segment(pairs[::-1], [7, 6, 5])
    torch.testing.assert_close(shuffled[0].alpha, together[2].alpha, rtol=0, atol=2e-3)


def test_fit_and_segment_take_the_same_steps(make_segmenter: Make, make_trainer: Make, image: torch.Tensor) -> None:
    fitted = make_segmenter(seed=3)
    fit(fitted, make_trainer())
    (called,) = make_segmenter().segment(fitted.running.pairs, [3])
    torch.testing.assert_close(called.alpha, fitted.results(4)[0].alpha, rtol=0, atol=1e-6)


def test_seeds_matter(make_segmenter: Make) -> None:
    segmenter, pair = make_segmenter(), Sample("0", torch.rand(3, 16, 16), "a bear")
    first, again, other = (segmenter.segment([pair], [seed])[0].alpha for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert float((first - other).abs().max()) > 0.05


def test_a_step_keeps_order_and_failures_and_gives_each_sample_its_own_seed(make_segmenter: Make) -> None:
    segmenter = make_segmenter(iterations=1)
    batch = [
        Sample("b", torch.rand(3, 16, 16), "a bear"),
        Failure("broken", "corrupt"),
        Sample("a", torch.rand(3, 16, 16), "a bus"),
    ]
    out = segmenter.predict_step(batch, 0)
    assert [item.id if isinstance(item, Failure) else item[0].id for item in out] == ["b", "broken", "a"]
    seeds = [item[1].record["seed"] for item in out if not isinstance(item, Failure)]
    assert seeds == [segmenter.sample_seed("b"), segmenter.sample_seed("a")]
    assert seeds[0] != seeds[1]


def test_no_two_things_that_are_random_share_a_number(make_segmenter: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Initial field, posterior noise, timesteps, eps and background, of all steps and both pairs."""
    drawn: list[set[float]] = []
    stack = Draws._stack

    def keep(self: Draws, draw: Any) -> torch.Tensor:
        numbers = stack(self, draw)
        if numbers.is_floating_point():
            drawn.extend(set(own.flatten().tolist()) for own in numbers)
        return numbers

    monkeypatch.setattr(Draws, "_stack", keep)
    segmenter = make_segmenter(prompt=["a bear", "a bus"], mask=None, iterations=3, confidence=False)  # whose draws all share
    segmenter.segment(segmenter.input.pairs(), pair_seeds(0, 2))
    segmenter.segment(segmenter.input.pairs()[:1], [1])
    assert len(drawn) == 3 * (1 + 3 * 3)  # a field; then posterior noise, eps and background in each step
    for i, first in enumerate(drawn):
        for second in drawn[i + 1 :]:
            assert len(first & second) <= 2  # of 256 float32 numbers some are alike by chance


# ---- Ctrl-C, precision, several processes ---------------------------------------------------------------------------------


class CtrlC(Callback):
    """Interrupts after two steps."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 2:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_what_there_is(make_segmenter: Make, make_trainer: Make) -> None:
    trainer = make_trainer(CtrlC())
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        trainer.fit(make_segmenter(iterations=50))
    folder = Path(trainer.log_dir)
    result = json.loads((folder / "result.json").read_text())
    assert result["iterations"] == 2
    assert result["interrupted"] is True
    assert Image.open(folder / "mask.png").size == (28, 20)
    assert Image.open(folder / "timelapse.gif").n_frames == 3
    again = make_trainer()
    again.fit(make_segmenter(iterations=50), ckpt_path=str(folder / "checkpoints" / "last.ckpt"))
    assert json.loads((Path(again.log_dir) / "result.json").read_text())["iterations"] == 50


def test_ctrl_c_leaves_no_checkpoint_where_none_is_wanted(make_segmenter: Make, make_trainer: Make) -> None:
    trainer = make_trainer(CtrlC(), enable_checkpointing=False)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        trainer.fit(make_segmenter(iterations=50))
    assert (Path(trainer.log_dir) / "mask.png").exists() and not list(Path(trainer.log_dir).rglob("*.ckpt"))


@pytest.mark.parametrize(("precision", "likeness"), [("32-true", 0.99999), ("bf16-mixed", 0.9)])
def test_a_precision_is_the_teachers_and_its_gradient_points_where_the_exact_one_does(
    make_segmenter: Make, make_trainer: Make, precision: str, likeness: float
) -> None:
    segmenter = make_segmenter(Raster())
    fit(segmenter, make_trainer(precision=precision))
    dtype = torch.float32 if precision == "32-true" else torch.bfloat16
    assert next(segmenter.objective.loss.teacher.denoiser.parameters()).dtype == dtype
    assert all(p.dtype == torch.float32 for p in segmenter.running.parameters())
    assert segmenter.running.guard.skipped.tolist() == [0]
    exact, found = make_segmenter(Raster(), penalty=0.0), make_segmenter(Raster(), penalty=0.0)
    found.precision = precision
    for step in range(3):
        gradients = []
        for one in (exact, found):
            running = one.begin(one.input.pairs(), [0])
            with running.precision():
                total = running.terms(step)["total"].sum()
            total.backward()
            gradients.append(running.parameters()[0].grad.flatten())
        assert float(torch.cosine_similarity(*gradients, dim=0)) > likeness


DDP = """
import sys
sys.path.insert(0, {root!r})
import torch
from lightning import Callback, Trainer
from peekaboo.alphas import Raster
from peekaboo.backgrounds import RandomColour
from peekaboo.results.board import MaskBoard
from peekaboo.results.saving import SaveResults
from peekaboo.data.input import Input
from peekaboo.losses import ScoreDistillation
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.teachers import Diffusion

class Keep(Callback):
    def on_train_end(self, trainer, module):
        torch.save(module.alpha().detach(), f"alpha_{{trainer.global_rank}}.pt")

segmenter = Segmenter(Raster(), ScoreDistillation(Diffusion({pipeline!r}), guidance=30.0), RandomColour(),
    lambda p: torch.optim.Adam(p, lr=0.1), input=Input({image!r}, "a bear"), iterations=3, resolution=16,
    normalise_gradient=True, penalty=0.25)
Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, callbacks=[MaskBoard(), SaveResults(), Keep()],
    use_distributed_sampler=False, enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1).fit(segmenter)
"""


def test_two_processes_share_one_mask_and_average_different_noise(
    make_segmenter: Make, pipeline: Path, image_file: Path, tmp_path: Path
) -> None:
    script = tmp_path / "ddp.py"
    script.write_text(DDP.format(root=str(ROOT), pipeline=str(pipeline), image=str(image_file)))
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"alpha_{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second)
    assert len(list(tmp_path.glob("lightning_logs/*/result.json"))) == 1  # one a run, not one a process
    expected = by_hand(make_segmenter, [[(k, 0), (k, 1)] for k in range(3)], prompt="a bear", mask=None, iterations=3)
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-5)


# ---- settings that mean nothing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"iterations": 0}, "iterations: expected at least 1, got 0"),
        ({"resolution": 4}, "resolution: expected at least 8, got 4"),
        ({"max_skipped": 0}, "max_skipped: expected at least 1, got 0"),
        ({"framing": "pad"}, "framing: expected one of stretch, crop, got 'pad'"),
        ({"threshold": 1.5}, r"threshold: expected `otsu` or a number in \[0, 1\], got 1.5"),
    ],
)
def test_refuses_settings_that_mean_nothing(make_segmenter: Make, argument: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_segmenter(**argument)


@pytest.mark.parametrize("alpha", [Raster, lambda: Fourier(features=4, width=8, depth=1)], ids=["raster", "fourier"])
def test_the_alpha_stays_in_float32_under_the_trainers_precision(make_segmenter: Make, alpha: Callable[[], Alpha]) -> None:
    """`test` and `predict` begin, step and end under autocast."""
    segmenter = make_segmenter(Bilateral(alpha(), RGB(), passes=3), Brightness(), iterations=3)
    pairs = segmenter.input.pairs()
    (exact,) = segmenter.segment(pairs, [0])
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = segmenter.segment(pairs, [0])
    assert torch.equal(found.alpha, exact.alpha)
