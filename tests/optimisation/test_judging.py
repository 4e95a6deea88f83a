"""Masks below a least confidence are empty, and records say so; how alphas changed is in them, too."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from peekaboo import api
from peekaboo.alphas import Raster
from peekaboo.backgrounds import RandomColour
from peekaboo.command_line.entry import main
from peekaboo.data.base import Sample
from peekaboo.functional.maps import pixel_variance, total_variation
from peekaboo.losses import CLIPLoss
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.results.exit_codes import NOTHING_FOUND
from peekaboo.teachers import CLIP
from peekaboo.teachers.confidence import PARTS, Confidence, prompt_gains

Make = Callable[..., Segmenter]


@pytest.fixture
def pair(image: torch.Tensor) -> list[Sample]:
    return [Sample("0", image, "a red apple", image[1] < 0.5)]


def test_the_record_has_the_confidence_of_the_mask_that_was_found(make_segmenter: Make, pair: list[Sample]) -> None:
    judge = Confidence([200, 500], weights=(200.0, 0.0, 50.0))
    segmenter = make_segmenter(confidence=judge)
    (result,) = segmenter.segment(pair, [3])
    done = segmenter.running
    gains = prompt_gains(done.objective.loss.diffusion, done.images, done.opacity(), ["a red apple"], [200, 500])[0]
    expected = torch.sigmoid(200 * gains[0] + 50 * gains[2] + judge.bias).item()
    assert result.record["confidence"] == pytest.approx(expected, abs=1e-4)
    assert list(result.record["confidence_gains"]) == list(PARTS)
    assert result.record["confidence_calibrated"] is False
    assert result.record["confidence_seconds"] > 0
    assert "rejected" not in result.record


def test_below_the_least_confidence_the_mask_is_empty_and_above_it_is_as_without(
    make_segmenter: Make, pair: list[Sample]
) -> None:
    (plain,) = make_segmenter(confidence=False).segment(pair, [3])
    assert "confidence" not in plain.record
    assert plain.mask.any()
    unsure, sure = Confidence([200], bias=-5.0), Confidence([200], bias=5.0)
    (rejected,) = make_segmenter(confidence=unsure, min_confidence=0.5).segment(pair, [3])
    assert not rejected.mask.any() and rejected.alpha.max() == 0 and rejected.iou == 0
    assert (rejected.record["rejected"], rejected.record["min_confidence"]) == (True, 0.5)
    assert rejected.record["confidence"] < 0.5
    (kept,) = make_segmenter(confidence=sure, min_confidence=0.5).segment(pair, [3])
    assert kept.record["rejected"] is False
    assert torch.equal(kept.alpha, plain.alpha)  # and judging a mask changes nothing of it


def test_fit_and_predict_write_an_empty_mask(pipeline: Path, image_file: Path, tmp_path: Path) -> None:
    small = ["--config", "raster.yaml", "--model.iterations=2", "--model.resolution=16", f"--model.loss.teacher.path={pipeline}"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false"]
    judge = ["--model.confidence=peekaboo.teachers.Confidence", "--model.confidence.bias=-9", "--model.min_confidence=0.5"]
    image = ["--model.image", str(image_file), "--model.prompt", "a bear", "--model.mask", "null"]
    assert main(["fit", *small, *quiet, *judge, *image]) == NOTHING_FOUND
    folder = Path("lightning_logs/version_0")
    record = json.loads((folder / "result.json").read_text())
    assert record["rejected"] is True and record["confidence"] < 0.5 and record["mask_fraction"] == 0
    assert not np.array(Image.open(folder / "mask.png")).any()
    assert not np.array(Image.open(folder / "cutout.png"))[..., 3].any()

    data = ["--data.images", str(image_file.parent), "--data.prompt", "a bear", "--evaluation.folder=out"]
    assert main(["predict", *small, *quiet, *judge, *data]) == NOTHING_FOUND
    assert not np.array(Image.open("out/masks/disc.png")).any()
    with open("out/samples.csv") as file:
        (row,) = csv.DictReader(file)
    assert float(row["confidence"]) < 0.5 and float(row["mask_fraction"]) == 0


def test_from_python(pipeline: Path, image_file: Path) -> None:
    settings: dict[str, Any] = {"iterations": 1, "resolution": 16, "loss__teacher__path": str(pipeline), "settled": None}
    result = api.segment(image_file, "a bear", "raster", min_confidence=0.0, **settings)
    assert 0 <= result.record["confidence"] <= 1 and result.record["rejected"] is False


@pytest.mark.parametrize(("least", "rest"), [(1.5, {}), (-0.1, {}), (0.5, {"confidence": False})])
def test_a_least_confidence_that_cannot_be_is_refused(make_segmenter: Make, least: float, rest: dict) -> None:
    with pytest.raises(ValueError, match=r"^min_confidence: expected [^\n]+, got"):
        make_segmenter(min_confidence=least, **rest)


def test_a_loss_without_a_diffusion_model_has_no_confidence(clip_folder: Path, pair: list[Sample]) -> None:
    def make(**rest: Any) -> Segmenter:
        loss = CLIPLoss(CLIP(str(clip_folder)))
        return Segmenter(Raster(), loss, RandomColour(), torch.optim.Adam, iterations=1, resolution=16, **rest)

    assert "confidence" not in make().segment(pair, [0])[0].record
    with pytest.raises(ValueError, match="min_confidence: expected a loss with a diffusion model"):
        make(min_confidence=0.5)


def test_a_record_has_the_course_of_its_alpha(make_segmenter: Make, pair: list[Sample]) -> None:
    segmenter = make_segmenter(iterations=5, confidence=False)
    (result,) = segmenter.segment(pair, [0])
    course = result.record["course"]
    assert course["iteration"] == [0, 1, 2, 3, 4, 5]
    lapse = torch.cat([*segmenter.running.frames, segmenter.running.opacity()]).detach()
    for name, values in (
        ("mean_alpha", lapse.mean((1, 2, 3))),
        ("pixel_variance", pixel_variance(lapse)),
        ("total_variation", total_variation(lapse)),
    ):
        assert course[name] == pytest.approx(values.tolist(), abs=1e-6)


def test_a_course_goes_on_after_an_interruption(make_segmenter: Make, pair: list[Sample]) -> None:
    segmenter = make_segmenter(confidence=False)
    (result,) = segmenter.segment(pair, [0])
    state = segmenter.running.state_dict()
    again = make_segmenter(confidence=False).begin(pair, [0])
    again.load_state_dict(state)
    assert again.course.of(4, segmenter.running.opacity())[0] == result.record["course"]
