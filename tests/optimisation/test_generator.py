"""Text to RGBA: the gradient on the image, members of a batch, what a fit leaves, resumed and interrupted fits, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image as Picture

import peekaboo
from peekaboo.alphas import Competing, Margin, Raster
from peekaboo.alphas import Fourier as FourierAlpha
from peekaboo.backgrounds import RandomColour
from peekaboo.command_line.entry import main
from peekaboo.data.input import Input
from peekaboo.functional.random import Draws
from peekaboo.images import Fourier, Latent
from peekaboo.images import Raster as RasterImage
from peekaboo.losses import ScoreDistillation
from peekaboo.optimisation.generator import Generator
from peekaboo.results.interruption import Interrupted
from peekaboo.teachers import Diffusion

Make = Callable[..., Generator]
SMALL = {"features": 4, "width": 6, "depth": 1}


@pytest.fixture
def make(pipeline: Path) -> Make:
    """Builds a generator on the tiny pipeline: 4 iterations at 16 x 16, whatever else is asked for."""

    def build(prompt: Any = "a red apple", scene: Any = None, lr: float = 0.1, **rest: Any) -> Generator:
        parts: dict[str, Any] = {
            "image": RasterImage(),
            "alpha": Raster(),
            "loss": ScoreDistillation(Diffusion(str(pipeline), decoder=True), guidance=30.0),
            "background": RandomColour(),
            "optimizer": lambda parameters: torch.optim.Adam(parameters, lr=lr),
            "penalty": 0.25,
            "normalise_gradient": True,
            "iterations": 4,
            "resolution": 16,
        }
        return Generator(input=Input(prompt=prompt, scene=scene), **{**parts, **rest})

    return build


def close(found: torch.Tensor, expected: torch.Tensor, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def direct(generator: Generator, image: torch.Tensor, alpha: torch.Tensor, step: int, seed: int) -> list[torch.Tensor]:
    """The gradients of a step on image and alpha, from the formulas alone: SDS through one composite."""
    image, alpha = image.detach().requires_grad_(), alpha.detach().requires_grad_()
    draws = Draws([seed], step, generator.iterations, purpose="step")
    background = generator.objective.background(image, draws.of("background"))
    seen = image * alpha + background * (1 - alpha)
    generator.objective.loss(seen, ["a red apple"], draws.of("loss")).sum().backward()
    out = []
    for value in (image, alpha):
        gradient = value.grad
        assert gradient is not None
        if generator.objective.normalise:
            gradient = gradient * (256 * 256 / (16 * 16)) / gradient.square().mean().sqrt()
        out.append(gradient)
    out[1] = out[1] + generator.objective.penalty * 256 * 256 / (16 * 16)
    return out


@pytest.mark.parametrize("normalise", [True, False])
def test_image_and_alpha_learn_from_the_gradient_of_a_direct_computation(make: Make, normalise: bool) -> None:
    generator = make(normalise_gradient=normalise)
    running = generator.begin(["a red apple"], [3])
    terms = running.terms(1)
    assert set(terms) == {"total", "loss", "penalty"}
    terms["total"].sum().backward()
    image, alpha = generator.image, generator.alpha
    expected = direct(generator, image(), alpha(), 1, 3)
    for field, gradient in ((image.field, expected[0]), (alpha.field, expected[1])):
        slope = field.detach().sigmoid() * (1 - field.detach().sigmoid())
        close(field.grad / gradient.abs().max(), gradient * slope / gradient.abs().max(), atol=1e-5)


@pytest.mark.parametrize("image", [RasterImage, Latent, lambda: Fourier(**SMALL)])
def test_members_of_a_batch_do_not_depend_on_one_another(make: Make, image: Callable[[], Any]) -> None:
    settings = {"optimizer": lambda parameters: torch.optim.Adam(parameters, lr=0.01)}
    many = make(image=image(), **settings).generate(["a red apple", "a bear", "a bear"], [4, 4, 9])
    for one in many:
        (alone,) = make(image=image(), **settings).generate([one.prompt], [one.record["seed"]])
        close(one.image, alone.image, atol=2e-5)
        close(one.alpha, alone.alpha, atol=2e-5)
    assert (many[1].image - many[2].image).abs().max() > 0.01


def test_a_network_of_four_channels_learns_without_an_alpha(make: Make) -> None:
    generator = make(image=Fourier(**SMALL, opacity=True), alpha=None)
    before = generator.begin(["a bear"], [0]).opacity().detach()
    (result,) = generator.generate(["a bear"], [0])
    assert (result.alpha - before[0, 0]).abs().max() > 0.01
    assert len(list(generator.parameters())) == len(set(generator.parameters()))


def test_images_have_a_learning_rate_of_their_own(make: Make) -> None:
    still = make(image_lr=1e-12)
    before = still.begin(["a bear"], [0]).looks()[0]
    (result,) = still.generate(["a bear"], [0])
    close(result.image, before[0])
    assert make(image_lr=0.5).configuration()["init_args"]["image_lr"] == 0.5


def test_a_fit_leaves_every_file(make: Make, make_trainer: Any) -> None:
    trainer = make_trainer()
    generator = make()
    trainer.fit(generator)
    folder = Path(trainer.log_dir)
    names = {"image.png", "alpha.png", "timelapse.gif", "result.json"}
    names |= {f"on_{ground}.png" for ground in ("checkerboard", "black", "white", "photograph")}
    assert names <= {file.name for file in folder.iterdir()}
    rgba = torch.tensor(list(Picture.open(folder / "image.png").getdata())).reshape(16, 16, 4).permute(2, 0, 1) / 255
    (exact,) = generator.results(4)
    close(rgba, exact.rgba, atol=0.51 / 255)
    for name, colour in (("black", 0.0), ("white", 1.0)):
        shown = torch.tensor(list(Picture.open(folder / f"on_{name}.png").getdata())).reshape(16, 16, 3).permute(2, 0, 1) / 255
        close(shown, exact.rgba[:3] * exact.alpha + colour * (1 - exact.alpha), atol=0.51 / 255)
    assert Picture.open(folder / "timelapse.gif").n_frames == 5
    result = json.loads((folder / "result.json").read_text())
    expected = {"prompt": "a red apple", "seed": 0, "iterations": 4, "image": "Raster", "variant": "Raster", "skipped_steps": 0}
    assert {key: result[key] for key in expected} == expected
    assert {"code", "torch"} <= set(result["versions"])
    assert result["configuration"]["init_args"]["image"]["class_path"] == "peekaboo.images.raster.Raster"


def test_several_prompts_and_seeds_get_a_folder_each(make: Make, make_trainer: Any) -> None:
    trainer = make_trainer()
    trainer.fit(make(["a red apple", "a bear"], seeds=2, seed=5, iterations=1))
    found = {file.parent.name: json.loads(file.read_text()) for file in Path(trainer.log_dir).glob("*/result.json")}
    seeds = {name: (result["prompt"], result["seed"]) for name, result in found.items()}
    assert seeds == {
        "0_a-red-apple": ("a red apple", 5),
        "1_a-red-apple": ("a red apple", 6),
        "2_a-bear": ("a bear", 5),
        "3_a-bear": ("a bear", 6),
    }


class _StopAfter(Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.steps:
            raise Interrupted(2)


def test_an_interrupted_fit_keeps_what_it_has_and_goes_on_to_the_same_image(make: Make, make_trainer: Any) -> None:
    whole = make_trainer()
    generator = make(image=Latent())
    whole.fit(generator)
    (expected,) = generator.results(4)
    stopped = make_trainer(_StopAfter(2))
    with pytest.raises(SystemExit):
        stopped.fit(make(image=Latent()))
    folder = Path(stopped.log_dir)
    assert json.loads((folder / "result.json").read_text())["interrupted"] is True
    assert (folder / "image.png").exists()
    checkpoint = folder / "checkpoints" / "last.ckpt"
    kept = torch.load(checkpoint, weights_only=True)
    assert set(kept["state_dict"]) == {"image.latents", "alpha.field"}
    again = make(image=Latent())
    make_trainer().fit(again, ckpt_path=checkpoint, weights_only=True)
    (found,) = again.results(4)
    close(found.image, expected.image)
    close(found.alpha, expected.alpha)
    assert found.frames is not None and expected.frames is not None and found.frames.shape == expected.frames.shape
    with pytest.raises(ValueError, match="ckpt_path: expected a checkpoint of this .* prompt was .*, is "):
        make_trainer().fit(make("a bear", image=Latent()), ckpt_path=checkpoint, weights_only=True)


def test_a_checkpoint_of_one_image_is_under_two_megabytes(make: Make, make_trainer: Any) -> None:
    for image, alpha in ((RasterImage(), Raster()), (Fourier(64, 3.0, 96, 3), FourierAlpha(64, 3.0, 64, 2))):
        trainer = make_trainer(ModelCheckpoint())
        generator = make(image=image, alpha=alpha, resolution=128, iterations=1)
        trainer.fit(generator)
        generator.running.frames *= 41
        assert len(generator.running.frames) >= 40
        trainer.save_checkpoint("big.ckpt")
        assert Path("big.ckpt").stat().st_size < 2e6


def test_a_scene_is_learned_out_of_two_prompts(make: Make, make_trainer: Any) -> None:
    generator = make("a red apple", "a red apple on a beach", image=RasterImage(), ground=RasterImage())
    trainer = make_trainer()
    trainer.fit(generator)
    folder = Path(trainer.log_dir)
    assert {"foreground.png", "background.png", "composite.png", "alpha.png", "image.png"} <= {f.name for f in folder.iterdir()}
    assert json.loads((folder / "result.json").read_text())["scene"] == "a red apple on a beach"
    assert set(generator.running.last_terms) == {"total", "loss", "scene", "penalty"}
    (result,) = generator.results(4)
    assert result.ground is not None
    before = make("a", "b", ground=RasterImage()).begin(["a"], [0], ["b"]).looks()[1]
    assert before is not None and (before[0] - result.ground).abs().max() > 0.05


def test_the_background_learns_from_the_scene_alone(make: Make) -> None:
    generator = make(ground=RasterImage(), normalise_gradient=False, penalty=0.0)
    running = generator.begin(["a red apple"], [0], ["a bear"])
    running.terms(0)["loss"].sum().backward()
    assert generator.ground is not None and generator.ground.field.grad is None
    running.terms(0)["scene"].sum().backward()
    image, alpha = generator.image().detach(), generator.alpha().detach()
    ground = generator.ground().detach().requires_grad_()
    draws = Draws([0], 0, 4, purpose="step").of("scene")
    generator.objective.loss(image * alpha + ground * (1 - alpha), ["a bear"], draws).sum().backward()
    slope = generator.ground().detach() * (1 - generator.ground().detach())
    close(generator.ground.field.grad, ground.grad * slope, atol=1e-4 * float(ground.grad.abs().max()))


def test_a_margin_stays_transparent(make: Make) -> None:
    (result,) = make(alpha=Margin(Raster(), pixels=3), penalty=-2.0, normalise_gradient=False).generate(["a bear"], [0])
    border = torch.ones(16, 16, dtype=torch.bool)
    border[3:-3, 3:-3] = False
    assert float(result.alpha[border].max()) == 0
    assert float(result.alpha[~border].min()) > 0
    with pytest.raises(ValueError, match="pixels: expected less than half a map of 16 x 16, got 8"):
        make(alpha=Margin(Raster(), pixels=8)).generate(["a bear"], [0])


def test_a_pull_lets_an_object_begin_in_the_middle() -> None:
    alpha = Margin(Raster(scale=0.0), pixels=1, pull=4.0, lift=1.0)
    alpha.reset(torch.zeros(1, 3, 17, 17), [0])
    assert float(alpha()[0, 0, 8, 8]) == pytest.approx(torch.tensor(1.0).sigmoid())
    assert float(alpha.logits()[0, 0, 8, 0]) == pytest.approx(1 - 4)
    given = torch.randn(1, 1, 17, 17)
    alpha.begin_at(given)
    close(alpha.logits().detach(), given, atol=1e-5)
    with pytest.raises(ValueError, match="field: expected an alpha of its own, got Competing; it may be around Margin instead"):
        Margin(Competing(Raster()))


# ---- from Python and the command line ------------------------------------------------------------------------------------------


def arguments(pipeline: Path, *more: str, config: str = "rgba.yaml") -> list[str]:
    model = [f"--model.loss.teacher.path={pipeline}", "--model.resolution=32", "--model.iterations=2"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false"]
    return ["fit", "--config", config, *model, *quiet, *more]


@pytest.mark.parametrize("config", ["rgba.yaml", "scene.yaml", "paper/rgba.yaml"])
def test_a_config_runs(config: str, pipeline: Path) -> None:
    prompt = "--model.prompt=a red apple"
    more = ["--model.scene=a red apple on a bear"] if config == "scene.yaml" else []
    assert main(arguments(pipeline, prompt, *more, config=config)) == 0
    folder = Path("lightning_logs/version_0")
    assert Picture.open(folder / "image.png").mode == "RGBA"
    assert (folder / "config.yaml").exists() and (folder / "result.json").exists()
    assert list(folder.rglob("events*"))


def test_generate_from_python(pipeline: Path) -> None:
    settings: dict[str, Any] = {"iterations": 2, "resolution": 32, "device": "cpu", "loss__teacher__path": str(pipeline)}
    generator = peekaboo.load("rgba", **settings)
    one = peekaboo.generate("a bear", generator, seed=3)
    many = peekaboo.generate(["a red apple", "a bear"], generator, seed=2, seeds=2)
    assert [(result.prompt, result.record["seed"]) for result in many] == [
        ("a red apple", 2),
        ("a red apple", 3),
        ("a bear", 2),
        ("a bear", 3),
    ]
    close(many[3].rgba, one.rgba, atol=2e-5)
    assert (one.save("out") / "image.png").exists()
    close(peekaboo.generate("a bear", "rgba", seed=3, **settings).rgba, one.rgba)
    with pytest.raises(ValueError, match="config: expected one of a Segmenter, got Generator"):
        peekaboo.segment(torch.rand(3, 8, 8), "a bear", generator)
    with pytest.raises(ValueError, match="seeds: expected 1 or more, got 0"):
        peekaboo.generate("a bear", generator, seeds=0)


WRONG: list[tuple[list[str], str]] = [
    (["--model.prompt= "], "error: prompt: expected some words, got ' '"),
    (["--model.prompt=null"], "error: prompt: expected some words, got ''"),
    (
        ["--model.prompt=a bear", "--model.image=dog.png"],
        "error: image: expected none for an image that is generated, got 'dog.png'",
    ),
    (["--model.prompt=a bear", "--model.scene=a bear"], "error: scene: expected none without a learned background"),
    (["--model.prompt=a bear", "--model.seeds=0"], "seeds: expected 1 or more, got 0"),
    (["--model.prompt=a bear", "--model.loss.teacher.resolution=131"], "resolution: expected a multiple of "),
    (["--model.prompt=a bear", "--trainer.default_root_dir=/proc/nowhere"], "error: No such file or directory: "),
]


@pytest.mark.parametrize(("more", "line"), WRONG)
def test_bad_input_gets_one_line_and_writes_nothing(
    pipeline: Path, capsys: pytest.CaptureFixture[str], more: list[str], line: str
) -> None:
    assert main(arguments(pipeline, *more)) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ")
    assert line in error[-1]
    assert not Path("lightning_logs").exists()


def test_words_that_the_teacher_never_saw_are_said(closed_pipeline: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(arguments(closed_pipeline, "--model.prompt=a griffin")) == 0
    assert "has never seen the word 'griffin'" in caplog.text


def test_a_generator_is_refused_where_masks_are_made(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["predict", *arguments(pipeline)[1:], "--data.images", str(ROOT / "peekaboo/assets/examples"), "--data.prompt=a bear"]
    assert main(given) == 1
    assert "error: model: expected a segmenter or a baseline for `predict`, got Generator" in capsys.readouterr().err
