"""A photograph is told from drawings before a run, and said once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

import peekaboo
from peekaboo.command_line.entry import main
from peekaboo.data.benchmark import Scenes
from peekaboo.functional.framing import frame
from peekaboo.teachers.familiarity import LEAST, photograph_score, unfamiliar

Arguments = Callable[[str], list[str]]


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """Roofs of a temple, without the smooth sky above them."""
    file = tmp_path / "temple.png"
    Image.fromarray(load_sample_image("china.jpg")[171:, :384]).save(file)
    return file


@pytest.fixture
def closed(pipeline: Path, tmp_path: Path) -> Path:
    """A teacher that knows some words alone."""
    folder = tmp_path / "closed"
    shutil.copytree(pipeline, folder)
    (folder / "vocabulary.json").write_text(json.dumps(["a", "bear", "red"]))
    return folder


def square(file: Path) -> torch.Tensor:
    pixels = np.asarray(Image.open(file).convert("RGB"))
    return frame(torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255, 128)


def test_photographs_are_told_from_scenes(photograph: Path) -> None:
    data = Scenes({"single": 2, "pair": 2}, looks=("fluent_3d", "seen", "set_aside", "unseen"))
    scenes = torch.stack([data.load(i).image for i in range(len(data))])
    assert (photograph_score(scenes) < LEAST).all()
    plain = torch.ones(2, 3, 128, 128)
    plain[1, :, 20:90, 30:80] = torch.tensor([0.8, 0.1, 0.2])[:, None, None]  # an icon
    assert (photograph_score(plain) < LEAST).all()
    assert float(photograph_score(square(photograph)[None])) > LEAST
    together = photograph_score(torch.stack([square(photograph), scenes[0]]))
    torch.testing.assert_close(together[1:], photograph_score(scenes[:1]), rtol=0, atol=1e-4)


def test_what_is_unfamiliar_is_recorded(photograph: Path) -> None:
    images = [torch.ones(3, 90, 40), square(photograph)]
    found = unfamiliar(images, ["a red bear", "a zork"], frozenset({"a", "red", "bear"}))
    assert found == [{}, {"photograph": True, "unknown_words": ["zork"]}]
    assert unfamiliar(images[:1], ["a zork"], None) == [{}]


def test_it_is_said_before_a_run_and_advised_behind_it(
    photograph: Path,
    closed: Path,
    fit_arguments: Arguments,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    teacher = f"--model.loss.teacher.path={closed}"
    empty = ["--model.threshold=1.0", teacher]
    assert main([*fit_arguments("raster.yaml"), *empty, f"--model.image={photograph}", "--model.prompt=a bear"]) == 4
    out = capsys.readouterr().out
    assert caplog.text.count("looks like a photograph") == 1 and "image: temple.png looks" in caplog.text
    caplog.clear()
    assert "this looks like a photograph" in out and "--teacher sd15" in out
    assert json.loads(Path("runs/latest/result.json").read_text())["photograph"] is True
    assert main([*fit_arguments("raster.yaml"), *empty]) == 4  # the bundled drawing
    assert "photograph" not in "".join(capsys.readouterr()) + caplog.text


def test_of_a_data_set_it_is_said_once_and_counted(
    photograph: Path, closed: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(photograph, photograph.with_name("other.png"))
    options = {"iterations": 1, "resolution": 16, "device": "cpu", "confidence": False}
    segmenter = peekaboo.load("raster", loss__teacher__path=str(closed), **options)
    assert peekaboo.segment(photograph, "a bear", segmenter).record["photograph"] is True
    model = [f"--model.loss.teacher.path={closed}", "--model.resolution=16", "--model.iterations=1", "--model.confidence=false"]
    images = json.dumps([str(photograph), str(photograph.with_name("other.png"))])
    data = [f"--data.images={images}", "--data.prompt=a bear", "--data.batch_size=1"]
    caplog.clear()
    main(["predict", "--config=raster", *model, *data, "--trainer.accelerator=cpu", "--trainer.precision=32-true"])
    assert caplog.text.count("looks like a photograph") == 1
    assert "2 of 2 look like photographs" in capsys.readouterr().out


def test_an_open_vocabulary_is_not_asked(photograph: Path, pipeline: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"iterations": 1, "resolution": 16, "device": "cpu", "confidence": False}
    result = peekaboo.segment(photograph, "a bear", "raster", loss__teacher__path=str(pipeline), **options)
    assert "photograph" not in result.record and "photograph" not in caplog.text
