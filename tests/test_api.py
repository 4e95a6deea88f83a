"""From Python: load once, segment many; a path, a picture or a tensor."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import peekaboo
from peekaboo.alphas import Fourier
from peekaboo.evaluation.batching import usable_precision

QUICK = {"iterations": 3, "resolution": 16, "device": "cpu"}


@pytest.fixture
def quick(pipeline: Path) -> dict[str, Any]:
    return {**QUICK, "loss__teacher__path": str(pipeline)}


@pytest.fixture
def segmenter(quick: dict[str, Any]) -> peekaboo.Segmenter:
    return peekaboo.load("rgb_bilateral", **quick)


def close(found: torch.Tensor, expected: torch.Tensor, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_a_path_a_picture_and_a_tensor_are_the_same(segmenter: peekaboo.Segmenter, image_file: Path, image: torch.Tensor) -> None:
    results = [
        peekaboo.segment(picture, "a bear", segmenter)
        for picture in (str(image_file), image_file, Image.open(image_file), (image * 255).round() / 255)
    ]
    for result in results:
        assert result.alpha.shape == result.mask.shape == (20, 28)
        assert result.mask.dtype == torch.bool
        assert result.iou is None
        close(result.alpha, results[0].alpha)


def test_one_call_is_the_same_as_loading_first(quick: dict[str, Any], segmenter: peekaboo.Segmenter, image_file: Path) -> None:
    device = quick.pop("device")
    assert device == "cpu"
    once = peekaboo.segment(image_file, "a bear", "rgb_bilateral", seed=4, **quick)
    close(once.alpha.cpu(), peekaboo.segment(image_file, "a bear", segmenter, seed=4).alpha, atol=1e-6)
    assert once.record["seed"] == 4


def test_segmenting_again_leaves_no_trace_of_the_first(segmenter: peekaboo.Segmenter, image_file: Path) -> None:
    first = peekaboo.segment(image_file, "a bear", segmenter)
    peekaboo.segment(torch.rand(3, 40, 10), "a bus", segmenter, seed=9)
    again = peekaboo.segment(image_file, "a bear", segmenter)
    assert torch.equal(first.alpha, again.alpha)
    assert again.frames is not None and first.frames is not None
    assert again.frames.shape == first.frames.shape == (4, 16, 16)


def test_lists_run_side_by_side(segmenter: peekaboo.Segmenter, image_file: Path) -> None:
    other = torch.rand(3, 9, 30)
    together = peekaboo.segment([image_file, other], ["a bear", "a bus"], segmenter)
    assert [result.prompt for result in together] == ["a bear", "a bus"]
    assert [tuple(result.alpha.shape) for result in together] == [(20, 28), (9, 30)]
    close(together[0].alpha, peekaboo.segment(image_file, "a bear", segmenter).alpha, atol=2e-3)  # another batch size
    same = peekaboo.segment([image_file, other], "a bear", segmenter)
    assert [result.prompt for result in same] == ["a bear", "a bear"]
    prompts = peekaboo.segment(image_file, ["a bear", "a bus"], segmenter)
    assert [result.prompt for result in prompts] == ["a bear", "a bus"]
    assert isinstance(peekaboo.segment([image_file], "a bear", segmenter), list)


def test_a_ground_truth_gives_an_iou(segmenter: peekaboo.Segmenter, image_file: Path, mask_file: Path) -> None:
    truth = torch.rand(20, 28) > 0.5
    for mask, expected in ((mask_file, None), (Image.open(mask_file), None), (truth, truth)):
        result = peekaboo.segment(image_file, "a bear", segmenter, mask=mask)
        if expected is not None:
            union = (result.mask | expected).sum()
            assert result.iou == pytest.approx(float((result.mask & expected).sum() / union), abs=1e-6)
        assert result.iou is not None


def test_a_result_saves_itself(segmenter: peekaboo.Segmenter, image_file: Path, tmp_path: Path) -> None:
    folder = peekaboo.segment(image_file, "a bear", segmenter).save(tmp_path / "a" / "b")
    assert {file.name for file in folder.iterdir()} == {
        "mask.png",
        "alpha.png",
        "cutout.png",
        "overlay.png",
        "side_by_side.png",
        "timelapse.gif",
        "result.json",
    }
    assert json.loads((folder / "result.json").read_text())["iterations"] == 3


def test_overrides_step_into_objects_and_overlays_merge(pipeline: Path) -> None:
    segmenter = peekaboo.load(
        "fourier",
        "teachers/sd15",
        **{**QUICK, "loss__teacher__path": str(pipeline)},
        loss__guidance=7.5,
        alpha__depth=1,
        threshold="otsu",
    )
    assert isinstance(segmenter.alpha, Fourier)
    assert segmenter.alpha.depth == 1
    assert segmenter.objective.loss.guidance == 7.5
    assert segmenter.threshold == "otsu"
    assert segmenter.settings.resolution == 16  # an override wins over the overlay's 256


def test_a_config_may_be_a_file(pipeline: Path, image_file: Path) -> None:
    Path("mine.yaml").write_text((Path(peekaboo.__file__).parent.parent / "configs" / "raster.yaml").read_text())
    for name in ("mine.yaml", "./mine"):
        assert peekaboo.load(name, **QUICK, loss__teacher__path=str(pipeline)).iterations == 3


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda s, i: peekaboo.segment("nowhere.png", "a bear", s),
            FileNotFoundError,
            "image: expected an image file, got 'nowhere.png'",
        ),
        (lambda s, i: peekaboo.segment(i, "", s), ValueError, "prompt: expected some words, got ''"),
        (lambda s, i: peekaboo.segment(i, ["a", " "], s), ValueError, "prompt: expected some words"),
        (
            lambda s, i: peekaboo.segment([i, i], ["a", "b", "c"], s),
            ValueError,
            "prompt: expected one for each of 2 images, got 3",
        ),
        (lambda s, i: peekaboo.segment(i, [], s), ValueError, "image, prompt: expected at least one of each, got an empty list"),
        (lambda s, i: peekaboo.segment(i, "a", s, seed=-1), ValueError, "seed: expected 0 or more, got -1"),
        (lambda s, i: peekaboo.load("raster", image=Path("no"), nonsense=1), ValueError, "Option 'nonsense' is not accepted"),
        (lambda s, i: peekaboo.segment(torch.rand(20, 20), "a", s), ValueError, r"image: expected a float tensor \(3, H, W\)"),
        (lambda s, i: peekaboo.segment(i, "a", s, iterations=5), ValueError, "overrides: expected none with a loaded segmenter"),
        (
            lambda s, i: peekaboo.segment(i, "a", "nonsense"),
            FileNotFoundError,
            "config: expected the name of a config or a YAML file",
        ),
        (lambda s, i: peekaboo.load("raster", nonsense=1), ValueError, "Option 'nonsense' is not accepted"),
        (lambda s, i: peekaboo.load("raster", iterations="many"), ValueError, "iterations: expected int, got 'many'"),
        (lambda s, i: peekaboo.load("raster", teacher="sd51"), ValueError, "teacher: expected one of .*did you mean 'sd"),
        (lambda s, i: peekaboo.load("raster", precision="int8"), ValueError, "precision: expected one of .*, got int8"),
        (lambda s, i: peekaboo.load("raster", device="tpu"), ValueError, r"device: expected one that .*cpu.*, got 'tpu'"),
        (
            lambda s, i: peekaboo.load("raster", loss__teacher__path="./no"),
            (ValueError, FileNotFoundError),
            "teacher: expected `embedded`",
        ),
    ],
)
def test_errors_are_one_line(
    call: Callable[..., Any], kind: type[Exception], message: str, segmenter: peekaboo.Segmenter, image_file: Path
) -> None:
    with pytest.raises(kind, match=message) as caught:
        call(segmenter, image_file)
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_size_is_refused(segmenter: peekaboo.Segmenter, image_file: Path) -> None:
    Image.new("L", (5, 5)).save("small.png")
    for mask in ("small.png", Image.open("small.png"), torch.zeros(5, 5)):
        with pytest.raises(ValueError, match="mask: expected the image's size 28 x 20, got 5 x 5"):
            peekaboo.segment(image_file, "a bear", segmenter, mask=mask)


def test_tensors_of_any_floating_kind_and_soft_masks(segmenter: peekaboo.Segmenter, image: torch.Tensor) -> None:
    expected = peekaboo.segment(image, "a bear", segmenter)
    for other in (image.double(), image.clone().requires_grad_()):
        found = peekaboo.segment(other, "a bear", segmenter, mask=torch.linspace(0, 1, 560).view(20, 28))
        assert torch.equal(found.alpha, expected.alpha)
        assert found.target is not None and int(found.target.sum()) == 280


def test_the_record_names_the_image_that_was_segmented(pipeline: Path, image_file: Path, image: torch.Tensor) -> None:
    """Not the example that the config names."""
    options = {"iterations": 1, "resolution": 16, "loss__teacher__path": str(pipeline)}
    assert peekaboo.segment(str(image_file), "a dog", "raster", **options).record["image"] == str(image_file)
    assert peekaboo.segment(image, "a dog", "raster", **options).record["image"] is None


@pytest.mark.parametrize(
    ("trainer", "named"),
    [
        ("{strategy: ddp, devices: 2}", "trainer.strategy, trainer.devices"),
        ("{accumulate_grad_batches: 4}", "trainer.accumulate_grad_batches"),
        ("{max_epochs: 3, log_every_n_steps: 1}", "trainer.max_epochs"),
    ],
)
def test_settings_of_a_trainer_that_python_has_not_are_refused(trainer: str, named: str, quick: dict[str, Any]) -> None:
    Path("overlay.yaml").write_text(f"trainer: {trainer}")
    with pytest.raises(ValueError, match=f"^{named}: expected with the command line"):
        peekaboo.load("raster", "overlay.yaml", **quick)


def test_the_trainers_precision_and_accelerator_count(quick: dict[str, Any]) -> None:
    Path("overlay.yaml").write_text(
        "trainer: {precision: bf16-mixed, accelerator: cpu, devices: 1, max_epochs: 1, strategy: auto}"
    )
    quick.pop("device")
    segmenter = peekaboo.load("raster", "overlay.yaml", **quick)
    assert segmenter.precision == usable_precision("bf16-mixed", "cpu") and segmenter.device.type == "cpu"


# ---- as people say it --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_what_the_command_line_gives(pipeline: Path, image_file: Path, tmp_path: Path) -> None:
    from peekaboo.command_line.entry import main

    options = [f"--model.loss.teacher.path={pipeline}", "--model.resolution=16", "--model.iterations=3", "--model.seed=5"]
    said = ["--model.image", str(image_file), "--model.prompt", "a bear", "--trainer.precision=32-true"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={tmp_path}"]
    assert main(["fit", "--config", "rgb_bilateral.yaml", *options, *said, *quiet]) == 0
    (file,) = tmp_path.rglob("alpha.png")
    found = torch.from_numpy(np.asarray(Image.open(file)).astype(np.float32) / 65535)
    options = {**QUICK, "loss__teacher__path": str(pipeline)}
    ours = peekaboo.segment(image_file, "a bear", "rgb_bilateral", seed=5, precision="float32", **options)
    close(ours.alpha, found, atol=1.01 / 65535)
    assert (peekaboo.segment(image_file, "a bear", "rgb_bilateral", seed=6, **options).alpha - found).abs().max() > 0.01


def test_a_callback_sees_each_iteration_and_may_stop(segmenter: peekaboo.Segmenter, image_file: Path) -> None:
    seen: list[tuple[int, torch.Tensor]] = []
    prompts = ["a bear", "a bus"]
    whole = peekaboo.segment(image_file, prompts, segmenter, callback=lambda step, alphas: seen.append((step, alphas)))
    assert [step for step, _ in seen] == [1, 2, 3]
    assert all(alphas.shape == (2, 16, 16) for _, alphas in seen)
    assert whole[0].frames is not None
    close(seen[-1][1][0], whole[0].frames[-1])
    assert not torch.equal(seen[0][1], seen[1][1])
    short = peekaboo.segment(image_file, prompts, segmenter, callback=lambda step, alphas: step == 2)
    assert short[0].record["iterations"] == 2
    assert torch.equal(short[0].frames[-1], seen[1][1][0])


def test_progress_is_a_bar(segmenter: peekaboo.Segmenter, image_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peekaboo.segment(image_file, "a bear", segmenter, progress=True)
    assert "3/3" in capsys.readouterr().err
    peekaboo.segment(image_file, "a bear", segmenter)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("said", "meant"), [("bf16", "bf16-mixed"), (32, "32-true"), (torch.float16, "16-mixed")])
def test_precision_as_people_say_it(said: Any, meant: str, quick: dict[str, Any]) -> None:
    assert peekaboo.load("raster", precision=said, **quick).precision == usable_precision(meant, "cpu")


def test_a_teacher_as_people_say_it(pipeline: Path) -> None:
    by_folder = peekaboo.load("raster", teacher=pipeline, iterations=3, device="cpu")
    assert by_folder.teacher_name == str(pipeline)
    by_name = peekaboo.load("raster", teacher="sd15", device="cpu", loss__teacher__path=str(pipeline))
    assert by_name.settings.resolution == 256 and by_name.teacher_name == str(pipeline)


def test_a_finish_is_an_argument(quick: dict[str, Any], image_file: Path) -> None:
    result = peekaboo.segment(image_file, "a bear", "raster", finish__cutout="raw", finish__largest=True, **quick)
    assert (result.finish.cutout, result.finish.edges, result.finish.largest) == ("raw", "filtered", True)


# ---- what else a process does ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["raster", "fourier_bilateral", "depth_bilateral"])
def test_a_process_that_computes_in_float64_has_the_same_masks(config: str, quick: dict[str, Any], image_file: Path) -> None:
    expected = peekaboo.segment(image_file, "a bear", config, **quick).alpha
    torch.set_default_dtype(torch.float64)
    try:
        found = peekaboo.segment(image_file, "a bear", config, **quick).alpha
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


def test_threads_that_share_a_segmenter_take_turns(segmenter: peekaboo.Segmenter, image_file: Path) -> None:
    prompts = ["a bear", "a bus", "an apple", "a rocket"]
    alone = [peekaboo.segment(image_file, prompt, segmenter).alpha for prompt in prompts]
    with ThreadPoolExecutor(len(prompts)) as threads:
        found = list(threads.map(lambda prompt: peekaboo.segment(image_file, prompt, segmenter).alpha, prompts))
    for own, expected in zip(found, alone, strict=True):
        assert torch.equal(own, expected)
    assert isinstance(
        pickle.loads(pickle.dumps(segmenter._turns)), type(segmenter._turns)
    )  # processes that share a fit are handed one
