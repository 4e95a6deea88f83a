"""Where optimisations begin: maps of the teacher, of files, of other runs, and what alphas make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch import Tensor

import peekaboo
from peekaboo.alphas import Alpha, Bilateral, Competing, Fourier, Raster
from peekaboo.data.base import Sample
from peekaboo.functional.maps import rescale, stretch
from peekaboo.functional.random import Draws
from peekaboo.guides import RGB
from peekaboo.losses import CLIPLoss, Loss, ScoreDistillation, WeightedSum
from peekaboo.starts import Attention, Brightness, File, Given, NoiseDifference, Run, Start
from peekaboo.teachers import CLIP, Diffusion

Make = Callable[..., Any]


class Left(Start):
    """The left half."""

    def maps(self, images: Tensor, pairs: list[Sample], framing: Any, draws: Draws, teacher: Any) -> Tensor:
        return (torch.arange(8) < 4).float().expand(len(images), 1, 8, 8)


def pairs(count: int = 2) -> list[Sample]:
    words = ["a bear", "a red apple", "a bus"]
    return [Sample(str(i), torch.rand(3, 20, 28), words[i]) for i in range(count)]


# ---- maps ------------------------------------------------------------------------------------------------------------------


def test_stretch_is_linear_between_quantiles_and_says_nothing_of_a_constant() -> None:
    values = torch.rand(2, 1, 30, 40)
    found = stretch(values, 0.1)
    for own, raw in zip(found.flatten(1).numpy(), values.flatten(1).numpy(), strict=True):
        low, high = np.quantile(raw, [0.1, 0.9])
        np.testing.assert_allclose(own, np.clip((raw - low) / (high - low), 0, 1), atol=1e-5)
    assert torch.equal(stretch(torch.full((1, 1, 4, 4), 3.0)), torch.full((1, 1, 4, 4), 0.5))
    assert float(rescale(torch.tensor([[[1.0, 3.0, 2.0]]]))[0, 0, 2]) == 0.5


def test_logits_begin_at_the_scaled_map_plus_the_noise_of_their_own_seed() -> None:
    images = torch.rand(2, 3, 16, 16)
    draws = Draws([3, 4])
    found = Left(scale=1.5, noise=0.2)(images, pairs(), "stretch", draws, None)
    noise = 0.2 * draws.of("noise").normal(1, 16, 16)
    exact = found - noise
    torch.testing.assert_close(exact[..., :7], torch.full((2, 1, 16, 7), 1.5), rtol=0, atol=1e-5)
    torch.testing.assert_close(exact[..., 9:], torch.full((2, 1, 16, 7), -1.5), rtol=0, atol=1e-5)
    alone = Left(scale=1.5, noise=0.2)(images[1:], pairs()[1:], "stretch", Draws([4]), None)
    assert torch.equal(alone[0], found[1])


@pytest.mark.parametrize("start", [Attention([100, 400]), Attention([300], mirror=True), NoiseDifference([300, 500], 2)])
def test_a_teachers_map_is_the_same_alone_and_in_a_batch_and_depends_on_the_prompt(pipeline: Path, start: Start) -> None:
    teacher, images, samples = Diffusion(str(pipeline)), torch.rand(2, 3, 16, 16), pairs()
    together = start.maps(images, samples, "stretch", Draws([5, 6]), teacher)
    alone = start.maps(images[1:], samples[1:], "stretch", Draws([6]), teacher)
    torch.testing.assert_close(together[1:], alone, rtol=1e-3, atol=1e-4 * float(together.abs().max()))
    other = start.maps(images, [samples[1], samples[0]], "stretch", Draws([5, 6]), teacher)
    assert float((other - together).abs().max()) > 1e-4 * float(together.abs().max())


def test_attention_is_the_mean_over_noise_levels_of_what_the_baseline_reads(pipeline: Path) -> None:
    from peekaboo.functional.diffusion import add_noise
    from peekaboo.teachers.attention import prompt_map

    teacher, images, samples = Diffusion(str(pipeline)), torch.rand(1, 3, 16, 16), pairs(1)
    found = Attention([100, 400]).maps(images, samples, "stretch", draws := Draws([5]), teacher)
    z, expected = teacher.encode(images), 0.0
    for number, step in enumerate((100, 400)):
        t = torch.tensor([step])
        z_t = add_noise(z, draws.of(str(number)).normal(*z.shape[1:]), *teacher.signal_noise(t))
        expected = expected + prompt_map(teacher, z_t, t, ["a bear"], "end")
    torch.testing.assert_close(found[:, 0], expected / 2, rtol=1e-5, atol=1e-6)


def test_attention_is_heard_in_a_compiled_teacher_that_then_runs_compiled_again(pipeline: Path) -> None:
    image = torch.rand(1, 3, 16, 16)
    plain, compiled = Diffusion(str(pipeline)), Diffusion(str(pipeline), compile="inductor")
    ran: list[int] = []
    compiled._denoiser._run = lambda *_: ran.append(1) or torch.zeros(1, 4, 8, 8)
    found, expected = (Attention([300]).maps(image, pairs(1), "stretch", Draws([0]), teacher) for teacher in (compiled, plain))
    assert not ran
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    compiled.predict_noise(torch.zeros(1, 4, 8, 8), torch.tensor([300]), compiled.embed(["a bear"]))
    assert ran


# ---- alphas ------------------------------------------------------------------------------------------------------------------


def smooth(size: int = 16) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    return torch.stack([2 - 4 * (x**2 + y**2), 1.5 * x])[:, None].clamp(-2, 2)


def test_a_raster_takes_the_logits_up_and_wrappers_hand_them_on() -> None:
    image = torch.rand(1, 3, 16, 16).expand(2, -1, -1, -1)
    for alpha, field in (
        (a := Raster(), a),
        (b := Bilateral(Raster(), RGB(), passes=0), b.field),
        (c := Competing(Raster()), c.field),
    ):
        alpha.reset(image, [0, 1])
        alpha.begin_at(smooth())
        assert torch.equal(field.field, smooth())
        assert field.field.requires_grad and field.field.is_leaf


def test_a_fourier_field_is_fitted_to_the_logits_each_pair_alone() -> None:
    fourier = Fourier(features=16, scale=2.0, width=16, depth=1)
    fourier.reset(torch.rand(2, 3, 16, 16), [0, 1])
    before = float((fourier.logits() - smooth()).square().mean())
    fourier.begin_at(smooth())
    assert float((fourier.logits() - smooth()).square().mean()) < 0.1 * before
    assert all(p.grad is None for p in fourier.parameters())
    alone = Fourier(features=16, scale=2.0, width=16, depth=1)
    alone.reset(torch.rand(1, 3, 16, 16), [1])
    alone.begin_at(smooth()[1:])
    torch.testing.assert_close(alone.logits()[0], fourier.logits()[1], rtol=0, atol=2e-3)


def test_an_alpha_that_cannot_begin_at_a_map_says_so(make_segmenter: Make) -> None:
    class Flat(Alpha):
        def reset(self, image: Tensor, seeds: list[int]) -> None:
            self.value = torch.nn.Parameter(torch.zeros(len(seeds), 1, 1, 1))

        def logits(self) -> Tensor:
            return self.value.expand(-1, 1, 16, 16)

    segmenter = make_segmenter(Flat(), start=Left())
    with pytest.raises(ValueError, match=r"^start: expected an alpha that can begin at a map .*got Flat; .*--model.start null"):
        segmenter.segment(segmenter.input.pairs(), [0])


# ---- the optimisation ----------------------------------------------------------------------------------------------------------


def test_an_optimisation_begins_at_its_start_and_keeps_its_promises(make_segmenter: Make, make_trainer: Make) -> None:
    """fit and segment alike, alone and in a batch, and after a resume."""

    def make(**rest: Any) -> Any:
        return make_segmenter(Raster(), start=Left(noise=0.05), iterations=3, **rest)

    keep = ModelCheckpoint("kept", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    fitted = make(seed=3)
    make_trainer(keep).fit(fitted)
    (called,) = make().segment(fitted.running.pairs, [3])
    torch.testing.assert_close(called.alpha, fitted.results(3)[0].alpha, rtol=0, atol=1e-6)
    assert called.frames is not None
    assert float(called.frames[0][:, :7].mean()) > 0.85 and float(called.frames[0][:, 9:].mean()) < 0.15
    two = make().segment([*fitted.running.pairs, *pairs(1)], [3, 9])
    torch.testing.assert_close(two[0].alpha, called.alpha, rtol=0, atol=2e-3)
    again = make(seed=3)
    make_trainer().fit(again, ckpt_path="kept/step=2.ckpt")
    torch.testing.assert_close(again.running.opacity(), fitted.running.opacity(), rtol=0, atol=1e-6)


def test_a_loss_without_a_diffusion_model_has_no_attention(make_segmenter: Make, clip_folder: Path, pipeline: Path) -> None:
    class Dark(Loss):
        def forward(self, composite: Tensor, prompts: list[str], draws: Draws) -> Tensor:
            return composite.sum((1, 2, 3))

    segmenter = make_segmenter(loss=Dark(), start=Attention())
    with pytest.raises(ValueError, match="start: expected a loss with a diffusion model for Attention, got one without"):
        segmenter.segment(segmenter.input.pairs(), [0])
    teacher = Diffusion(str(pipeline))
    both = WeightedSum([CLIPLoss(CLIP(str(clip_folder))), ScoreDistillation(teacher)])
    assert both.diffusion is teacher


# ---- files, runs, Python ------------------------------------------------------------------------------------------------------


def test_files_and_runs(make_segmenter: Make, make_trainer: Make, image_file: Path, tmp_path: Path) -> None:
    half = np.zeros((20, 28), dtype=np.uint8)
    half[:, :14] = 255
    Image.fromarray(half).save("left.png")
    samples = make_segmenter().input.pairs()
    found = File("left.png", noise=0)(torch.rand(1, 3, 16, 16), samples, "stretch", Draws([0]), None)
    assert float(found[..., :7].min()) > 1.9 and float(found[..., 9:].max()) < -1.9
    cropped = File("left.png", noise=0)(torch.rand(1, 3, 16, 16), samples, "crop", Draws([0]), None)
    assert float(cropped[..., :7].min()) > 1.9 and float(cropped[..., 9:].max()) < -1.9
    with pytest.raises(ValueError, match=r"start.path: expected a file for each of 2 prompts, got 1"):
        File("left.png").maps(torch.rand(2, 3, 16, 16), pairs(), "stretch", Draws([0, 1]), None)
    trainer = make_trainer()
    trainer.fit(make_segmenter(Raster(), iterations=2))
    alpha = np.asarray(Image.open(Path(trainer.log_dir) / "alpha.png")) / 65535
    found = Run(trainer.log_dir, noise=0).maps(torch.rand(1, 3, 16, 16), samples, "stretch", Draws([0]), None)
    assert float(found.mean()) == pytest.approx(alpha.mean(), abs=0.02)
    with pytest.raises(FileNotFoundError, match="start.folder: expected the folder of a run"):
        Run("nowhere")
    Path("empty").mkdir()
    with pytest.raises(FileNotFoundError, match="start.folder: expected an alpha of 'a red apple'"):
        Run("empty").maps(torch.rand(1, 3, 16, 16), samples, "stretch", Draws([0]), None)


def test_from_python_the_last_frame_is_a_start(pipeline: Path, image: Tensor) -> None:
    options = {"iterations": 2, "resolution": 16, "loss__teacher__path": str(pipeline), "device": "cpu"}
    segmenter = peekaboo.load("raster", **options)
    first = peekaboo.segment(image, "a bear", segmenter)
    for start in (first, first.alpha, [first]):
        found = peekaboo.segment(image, "a bear", segmenter, start=start)
        assert found.frames is not None
        logits = torch.logit(found.frames[0].clamp(1e-6, 1 - 1e-6))
        assert float(logits.abs().max()) < 2 + 0.6  # scale, and six deviations of the noise
    with pytest.raises(ValueError, match="start: expected a map for each of 1 pairs, got 2"):
        peekaboo.segment(image, "a bear", segmenter, start=[first, first])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attention(scale=0), "start.scale: expected a number above 0, got 0"),
        (lambda: Attention(noise=-1), "start.noise: expected 0 or more, got -1"),
        (lambda: Attention([]), "start.timesteps: expected some in 0..999"),
        (lambda: NoiseDifference([1000]), "start.timesteps, draws: expected timesteps in 0..999"),
        (lambda: Given([torch.zeros(3, 4, 4)]), r"start: expected float maps \(H, W\)"),
    ],
)
def test_settings_that_mean_nothing(make: Callable[[], Start], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_brightness_begins_at_the_mean_of_the_channels() -> None:
    images = torch.rand(2, 3, 8, 8)
    logits = Brightness(scale=3.0, noise=0.0)(images, pairs(), "stretch", Draws([0, 1]), None)
    assert torch.allclose(logits, 3 * (2 * images.mean(1, keepdim=True) - 1), atol=1e-6)
