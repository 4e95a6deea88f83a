"""Every YAML file in configs/ is read by the command line's own parser, and every variant runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, code_of

from peekaboo.command_line.entry import main, run
from peekaboo.command_line.names import find_config
from peekaboo.command_line.parser import CommandLine
from peekaboo.data.benchmark import ScenesData
from peekaboo.data.looks import SEEN_LOOKS

CONFIGS = ROOT / "configs"
VARIANTS = sorted(file.name for file in CONFIGS.glob("*.yaml") if "Segmenter" in file.read_text())
PAPER = sorted(f"paper/{file.name}" for file in (CONFIGS / "paper").glob("*.yaml") if "Segmenter" in file.read_text())
TEACHERS = sorted(f"teachers/{file.name}" for file in (CONFIGS / "teachers").glob("*.yaml"))
TRAINERS = sorted(f"trainers/{file.name}" for file in (CONFIGS / "trainers").glob("*.yaml"))

DATA_SCENES = ("data/scenes.yaml", "data/looks.yaml", "data/tuning.yaml")

Arguments = Callable[[str], list[str]]


def parsed(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The merged configuration of a command, without building or running anything."""
    monkeypatch.setattr(CommandLine, "instantiate_classes", lambda self: None)
    monkeypatch.setattr(CommandLine, "_run_subcommand", lambda self, subcommand: None)
    return run(arguments).config["fit"]


PLAIN: dict[str, Any] = {}


def plainly_parsed(config: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same of one config, which is parsed once for all tests that lay others over it."""
    if config not in PLAIN:
        PLAIN[config] = parsed(["fit", "--config", config], monkeypatch)
    return PLAIN[config].clone()


def test_the_six_variants_are_there() -> None:
    six = {"raster", "rgb_bilateral", "depth_bilateral", "fourier", "fourier_bilateral", "clip"}
    assert six <= {Path(name).stem for name in VARIANTS}
    assert six == {Path(name).stem for name in PAPER}


@pytest.mark.parametrize("config", VARIANTS)
def test_a_variant_runs(config: str, fit_arguments: Arguments) -> None:
    assert main(fit_arguments(config)) == 0
    folder = Path("lightning_logs/version_0")
    result = json.loads((folder / "result.json").read_text())
    assert result["iterations"] == 2
    assert result["iou"] is not None
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    written = yaml.safe_load((CONFIGS / config).read_text())["model"]["init_args"]
    assert saved["model"]["init_args"]["iterations"] == 2
    assert saved["model"]["init_args"]["penalty"] == written["penalty"]
    assert (folder / "hparams.yaml").stat().st_size > 100  # what TensorBoard shows


@pytest.mark.parametrize("config", PAPER)
def test_a_published_setting_runs(config: str, fit_arguments: Arguments, image_file: Path) -> None:
    assert main([*fit_arguments(config), f"--model.image={image_file}", "--model.prompt=a bear"]) == 0
    assert (Path("lightning_logs/version_0") / "mask.png").exists()


def test_published_hyper_parameters_to_the_digit() -> None:
    """shared facts, section 1: the published code's defaults."""
    for config in PAPER:
        model = yaml.safe_load((CONFIGS / config).read_text())["model"]["init_args"]
        assert (model["iterations"], model["resolution"], model["penalty"]) == (300, 256, 0.05)
        assert model["optimizer"]["class_path"] == "torch.optim.SGD"
        assert model["optimizer"]["init_args"]["lr"] == 1e-5
        assert model["normalise_gradient"] is False
        assert model["background"]["class_path"] == "peekaboo.backgrounds.RandomColour"
        if "clip" in config:
            continue
        loss = model["loss"]["init_args"]
        assert loss["teacher"]["init_args"]["path"] == "CompVis/stable-diffusion-v1-4"
        expected = {"guidance": 100.0, "t_min": 20, "t_max": 980, "weighting": "sigma_squared"}
        assert {key: loss[key] for key in expected} == expected
    bilateral = yaml.safe_load((CONFIGS / "paper/rgb_bilateral.yaml").read_text())["model"]["init_args"]["alpha"]["init_args"]
    assert {key: bilateral[key] for key in ("passes", "error", "kernel", "sigma_space", "tolerance")} == {
        "passes": 40,
        "error": 0,
        "kernel": 3,
        "sigma_space": 5.0,
        "tolerance": 0.08,
    }
    fourier = yaml.safe_load((CONFIGS / "paper/fourier.yaml").read_text())["model"]["init_args"]["alpha"]["init_args"]
    assert fourier == {"features": 128, "scale": 10.0, "width": 256, "depth": fourier["depth"]}
    assert fourier["depth"] == 3  # 1x1 convolutions 256-256-256-256-1


def test_published_settings_of_generation_to_the_digit() -> None:
    """shared facts, section 1, "RGBA generation"."""
    model = yaml.safe_load((CONFIGS / "paper/rgba.yaml").read_text())["model"]["init_args"]
    assert (model["iterations"], model["resolution"], model["penalty"], model["image_lr"]) == (10000, 512, 0.0, None)
    assert model["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": {"lr": 2e-4}}
    assert model["background"]["class_path"] == "peekaboo.backgrounds.RandomColour"
    assert (model["normalise_gradient"], model["alpha"]) == (False, None)
    assert model["image"]["class_path"] == "peekaboo.images.Fourier"
    assert model["image"]["init_args"] == {"features": 512, "scale": 10.0, "width": 256, "depth": 3, "opacity": True}
    loss = model["loss"]["init_args"]
    assert loss["teacher"]["init_args"]["path"] == "CompVis/stable-diffusion-v1-4"
    assert (loss["guidance"], loss["t_min"], loss["t_max"], loss["weighting"]) == (100.0, 20, 980, "sigma_squared")


@pytest.mark.parametrize("overlay", TEACHERS)
def test_a_teacher_overlay_changes_the_teacher_and_what_is_tuned_for_it_only(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = plainly_parsed("rgb_bilateral.yaml", monkeypatch)
    changed = parsed(["fit", "--config", "rgb_bilateral.yaml", "--config", overlay], monkeypatch)
    asked = yaml.safe_load((CONFIGS / overlay).read_text())["model"]["init_args"]
    assert (
        changed.model.init_args.loss.init_args.teacher.init_args.path
        == asked["loss"]["init_args"]["teacher"]["init_args"]["path"]
    )
    assert changed.model.init_args.resolution == asked["resolution"]
    loss = changed.model.init_args.loss.init_args
    published = "embedded" not in overlay  # what the variants have was tuned on the embedded teacher
    distilled = any(name in overlay for name in ("flux", "turbo", "lcm"))  # to do without classifier-free guidance
    background = changed.model.init_args.background.class_path.rsplit(".", 1)[1]
    found = (loss.guidance, loss.noise_samples, changed.model.init_args.iterations, background)
    assert found == ((1.0 if distilled else 100.0, 1, 200, "RandomColour") if published else (10.0, 1, 60, "FadingImage"))
    for config in (plain, changed):
        del config["config"]
        for tuned in ("resolution", "iterations", "background"):
            del config["model"]["init_args"][tuned]
        for tuned in ("teacher", "guidance", "t_min", "t_max", "noise_samples"):
            del config["model"]["init_args"]["loss"]["init_args"][tuned]
    assert changed.as_dict() == plain.as_dict()


@pytest.mark.parametrize("overlay", TRAINERS)
def test_a_trainer_overlay_changes_the_trainer_only(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plainly_parsed("raster.yaml", monkeypatch).as_dict()
    changed = parsed(["fit", "--config", "raster.yaml", "--config", overlay], monkeypatch).as_dict()
    for key, value in yaml.safe_load((CONFIGS / overlay).read_text())["trainer"].items():
        assert contains(changed["trainer"][key], value)
    assert changed["model"] == plain["model"]


def contains(whole: Any, part: Any) -> bool:
    """Whether all that a config says is in what the parser, which adds defaults, made of it."""
    if isinstance(part, dict):
        return all(contains(whole[key], value) for key, value in part.items())
    return whole == part


def test_competing_prompts_are_an_overlay(fit_arguments: Arguments) -> None:
    prompts = '--model.prompt=["a red apple", "a teddy bear"]'
    assert main([*fit_arguments("rgb_bilateral.yaml"), "--config", "competing.yaml", prompts]) == code_of(
        Path("lightning_logs/version_0")
    )
    results = [json.loads(file.read_text()) for file in Path("lightning_logs/version_0").glob("*/result.json")]
    assert sorted(result["prompt"] for result in results) == ["a red apple", "a teddy bear"]
    assert {result["variant"] for result in results} == {"Competing(Bilateral(Raster, RGB))"}


@pytest.mark.parametrize("config", VARIANTS)
def test_a_config_names_a_command_that_exists(config: str) -> None:
    text = (CONFIGS / config).read_text()
    named = re.findall(r"^#.*--config (\S+)", text, re.MULTILINE)
    assert named
    assert all(Path(find_config(name)).is_file() for name in named)


def test_fast_is_an_overlay(fit_arguments: Arguments) -> None:
    arguments = [a for a in fit_arguments("rgb_bilateral.yaml") if "iterations" not in a]
    assert main([*arguments, "--config", "fast.yaml", "--model.resolution=16"]) == 0
    result = json.loads(Path("lightning_logs/version_0/result.json").read_text())
    asked = yaml.safe_load((CONFIGS / "fast.yaml").read_text())["model"]["init_args"]
    assert 0 < result["iterations"] <= asked["iterations"] < 200
    assert 0 < asked["settled"] <= 1


@pytest.mark.parametrize("config", DATA_SCENES)
def test_the_scenes_of_a_config_may_show_their_looks(config: str) -> None:
    """Built as they are written: a look that a split must not draw would be refused here."""
    arguments = yaml.safe_load((CONFIGS / config).read_text())["data"]["init_args"]
    data = ScenesData(**arguments)
    assert data.split == ("tuning" if "tuning" in config else "benchmark")
    assert ("unseen" in data.looks) == ("looks" in config) and ("set_aside" in data.looks) == ("tuning" in config)


def test_the_training_on_all_looks_is_an_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = parsed(["fit", "--config", "pretraining/unet.yaml"], monkeypatch)
    looks = parsed(["fit", "--config", "pretraining/unet.yaml", "--config", "pretraining/looks.yaml"], monkeypatch)
    assert looks.model.init_args.start == looks.model.init_args.parts == "peekaboo/assets/teacher"
    assert looks.model.init_args.channels == plain.model.init_args.channels
    assert set(looks.data.init_args.mixture.looks) == set(SEEN_LOOKS)
    assert looks.data.init_args.mixture.half_made > plain.data.init_args.mixture.half_made == 0
