"""Studies: what their files mean, that they go on where they were stopped, and what they leave."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, SIDE
from PIL import Image

from peekaboo.command_line import study as command
from peekaboo.command_line.entry import main
from peekaboo.command_line.names import CONFIGS, read_config
from peekaboo.results.interruption import Interrupted
from peekaboo.studies.figure import draw
from peekaboo.studies.folder import StudyFolder
from peekaboo.studies.measures import Found, collect
from peekaboo.studies.runner import launch
from peekaboo.studies.sheet import draw_sheet
from peekaboo.studies.study import Cell, Figure, Sheet, Study, View, read_study

SHIPPED = sorted((CONFIGS / "studies").glob("*.yaml"))
Write = Callable[..., Path]


@pytest.fixture
def write(pipeline: Path, tmp_path: Path) -> Write:
    """Writes a study of two penalties on four tiny scenes, with parts of it changed."""

    def make(name: str = "two", **changes: Any) -> Path:
        small = {"model.resolution": SIDE, "model.iterations": 2, "model.settled": None, "data.size": SIDE, "data.batch_size": 1}
        few = {"data.looks": ["fluent_3d"], "data.single": 2, "data.pair": 2, "trainer.accelerator": "cpu"}
        quiet = {"trainer.enable_progress_bar": False, "trainer.precision": "32-true"}
        content = {
            "title": "Two penalties",
            "base": "raster.yaml",
            "data": "data/tuning.yaml",
            "set": {"model.loss.teacher.path": str(pipeline), **small, **few, **quiet},
            "axes": {"model.penalty": [0, 2.5]},
            "figure": {"x": "model.penalty", "y": ["area", "mIoU"]},
            **changes,
        }
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False))
        return file

    return make


def study(*arguments: str | Path, launch: Callable[[list[str]], int] = main) -> int:
    """Runs a study whose cells run in this process."""
    return command.main([str(argument) for argument in arguments], launch)


def masks(folder: Path) -> dict[str, bytes]:
    """The pixels of all cut-outs of a study, by their place in its folder."""
    return {str(file.relative_to(folder)): Image.open(file).tobytes() for file in sorted(folder.rglob("cutouts/*.png"))}


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "cells.csv").open() as file:
        return list(csv.DictReader(file))


# ---- what a file means ----------------------------------------------------------------------------------------------------


def cells_of(**parts: Any) -> list[Cell]:
    return Study("s", ("raster.yaml",), **parts).all_cells()


def test_axes_make_every_combination_and_others_one_cell_each() -> None:
    axes = {"model.penalty": [0.1, 1], "filter": {"none": {"model.settled": None}, "wide": {"model.alpha.kernel": 9}}}
    found = cells_of(axes=axes, one_at_a_time={"model.iterations": [5]}, cells={"mine": {"config": "fast.yaml"}})
    assert [cell.name for cell in found] == [
        "penalty 0.1, none",
        "penalty 0.1, wide",
        "penalty 1, none",
        "penalty 1, wide",
        "as configured",
        "iterations 5",
        "mine",
    ]
    assert found[3].overrides == {"model.penalty": 1, "model.alpha.kernel": 9}
    assert found[3].labels == {"model.penalty": "1", "filter": "wide"}
    assert found[6].configs == ("fast.yaml",)


def test_what_all_cells_share_stands_before_what_is_their_own() -> None:
    one = Study("s", ("raster.yaml", "data/scenes.yaml"), set={"data.single": 2}, axes={"config": ["fourier.yaml"]})
    (cell,) = one.all_cells()
    expected = "test --config raster.yaml --config data/scenes.yaml --config fourier.yaml --data.single=2 --trainer.devices 1"
    assert one.arguments(cell, ["--trainer.devices", "1"]) == expected.split()


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_study_is_understood_and_says_how_long_it_takes(file: Path) -> None:
    study = read_study(file)
    folder = command._folder(study, [], "out")
    assert len(folder.cells) > 1
    command.check_cells(folder, folder.cells[-1:])
    assert study.figure is not None
    assert "minute" in file.read_text()
    assert f"--config studies/{file.stem}" in file.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_cell_of_a_shipped_study_is_understood(file: Path) -> None:
    folder = command._folder(read_study(file), [], "out")
    command.check_cells(folder, folder.cells)


# ---- what is wrong --------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"axes": {"model.penalti": [0, 1]}}, "study, cell 'penalti 0': .*penalti"),
    "wrong type": ({"axes": {"model.iterations": ["many"]}}, "model.iterations: expected int, got 'many'"),
    "empty axis": ({"axes": {"model.penalty": []}}, r"axes.model.penalty: expected a list of values, .* got \[\]"),
    "no cells": ({"axes": None}, "expected some cells"),
    "same value twice": ({"axes": {"model.penalty": [1, 1]}}, "axes.model.penalty: expected different values"),
    "no argument": ({"axes": {"penalty": [1, 2]}}, "axes.penalty: expected an argument as `model.penalty`"),
    "unknown part": ({"grid": {}}, "study: expected some of axes, base, .* got grid"),
    "no config": ({"base": "nothing.yaml"}, "expected the name of a config or a YAML file, got 'nothing.yaml'"),
    "unknown command": ({"command": "predict"}, "study.command: expected one of test, fit, got 'predict'"),
    "unknown line": ({"figure": {"lines": "model.seed"}}, "study.figure.lines: expected one of the axes model.penalty"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_line_and_nothing_is_written(
    name: str, write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    changes, message = WRONG[name]
    file = write(**changes)
    assert main(["study", "--config", str(file), "--output", "out"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert [line for line in said if line.startswith("error: ")] == said[-1:]
    assert re.search(message, said[-1])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell", "2"], "cell: expected a number in 0..1, got 2"),
        (["--model.penalty", "3"], "model.penalty: expected an argument that no cell sets"),
        (["--evaluation.folder", "x"], "evaluation.folder: expected none"),
        (["--data.singel", "3"], "singel"),
        (["three"], "expected arguments as"),
    ],
)
def test_an_argument_that_is_wrong_is_one_line(
    arguments: list[str], message: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "--config", str(write()), "--output", "out", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_folder_of_another_study_and_one_that_cannot_be_written_are_refused(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    Path("out/study.json").write_text(json.dumps({"identity": {"study": "another"}}))
    assert main(["study", "--config", str(write()), "--output", "out"]) == 1
    assert "output: expected a new folder or one of this study, got 'out' with another" in capsys.readouterr().err
    assert [file.name for file in Path("out").iterdir()] == ["study.json"]
    Path("file").write_text("")
    assert main(["study", "--config", str(write()), "--output", "file/out"]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: Not a directory")


# ---- runs -----------------------------------------------------------------------------------------------------------------


def test_a_study_leaves_table_figure_and_sheet(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert study("--config", write(), "--output", "out", "--data.pair", "1") == 0
    found = lines(Path("out"))
    assert [line["cell"] for line in found] == ["penalty 0", "penalty 2.5"]
    for line, place in zip(found, sorted(Path("out/cells").iterdir()), strict=True):
        metrics = json.loads((place / "metrics.json").read_text())
        assert metrics["n"] == int(float(line["n"])) == 3  # the argument for all cells counts
        assert float(line["mIoU"]) == pytest.approx(metrics["mIoU"], abs=1e-6)
        rows = [json.loads(file.read_text()) for file in (place / "samples").iterdir()]
        assert float(line["area"]) == pytest.approx(sum(row["mask_fraction"] for row in rows) / 3, abs=1e-6)
    assert float(found[1]["mean_alpha"]) < float(found[0]["mean_alpha"])
    assert Image.open("out/figure.png").width > 500
    assert Image.open("out/contact_sheet.png").width == 3 * 118 - 6
    assert "| penalty 2.5 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("show", "left", "right"), [("alpha", (255, 255, 255), (0, 0, 0)), ("cutout", (200, 0, 0), (217, 217, 217))]
)
def test_a_sheet_shows_alphas_or_cut_outs(show: View, left: tuple[int, ...], right: tuple[int, ...], tmp_path: Path) -> None:
    picture = Image.new("RGBA", (112, 112), (200, 0, 0, 0))
    picture.paste((200, 0, 0, 255), (0, 0, 56, 112))
    picture.save(tmp_path / "cutout.png")
    one = Found(Cell("a"), True, {}, {}, {}, {"fit": (tmp_path / "cutout.png", "")})
    draw_sheet(Study("s", ("rgba.yaml",), sheet=Sheet(samples=1, show=show)), [one], tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    assert (sheet.getpixel((118 + 20, 60)), sheet.getpixel((118 + 90, 60))) == (left, right)


def test_a_study_that_was_stopped_in_a_cell_goes_on_and_equals_one_left_alone(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write()
    assert study("--config", file, "--output", "alone") == 0
    from peekaboo.optimisation.segmenter import Segmenter

    done: list[str] = []
    make = Segmenter.masks_of

    def interrupted(self: Segmenter, samples: list[Any]) -> Any:
        if len(done) == 6:  # two samples into the second cell
            raise Interrupted(signal.SIGTERM)
        done.extend(sample.id for sample in samples)
        return make(self, samples)

    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "masks_of", interrupted)
        with pytest.raises(Interrupted):
            study("--config", file, "--output", "out")
    assert len(masks(Path("out"))) == 6
    assert not Path("out/cells.csv").exists()
    done.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "masks_of", lambda self, samples: (done.extend(s.id for s in samples), make(self, samples))[1])
        assert study("--config", file, "--output", "out") == 0
    assert len(done) == 2  # what was missing, and nothing else
    assert masks(Path("out")) == masks(Path("alone"))
    timed = {name for name in lines(Path("out"))[0] if "second" in name}
    same = [[{k: v for k, v in line.items() if k not in timed} for line in lines(Path(place))] for place in ("out", "alone")]
    assert same[0] == same[1]


@pytest.mark.slow
def test_a_killed_study_goes_on_and_equals_one_left_alone(write: Write) -> None:
    """By a signal that nobody can catch; its cells are processes of their own, as they are for users."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    file = write(set=yaml.safe_load(write().read_text())["set"] | {"model.iterations": 40})
    arguments = [sys.executable, "-m", "peekaboo", "study", "--config", str(file), "--output", "out"]
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(Path("out").glob("cells/00-*/samples/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    begun = masks(Path("out"))
    assert begun
    time.sleep(1)  # for the cell to end, too
    assert study("--config", file, "--output", "out") == 0
    assert study("--config", file, "--output", "alone") == 0
    found = masks(Path("out"))
    assert len(found) == 8
    assert found == masks(Path("alone"))


def test_jobs_of_an_array_make_the_table_when_all_are_there(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write()
    assert study("--config", file, "--output", "out", "--cell", "1") == 0
    assert "1 of 2 cells have no results yet: penalty 0" in capsys.readouterr().out
    assert not Path("out/cells.csv").exists()
    assert study("--config", file, "--output", "out", "--collect") == 0
    assert [line["cell"] for line in lines(Path("out"))] == ["penalty 2.5"]
    assert study("--config", file, "--output", "out", "--list") == 0
    assert "0  to do     penalty 0" in capsys.readouterr().out
    assert study("--config", file, "--output", "out", "--cell", "0") == 0
    assert [line["cell"] for line in lines(Path("out"))] == ["penalty 0", "penalty 2.5"]


@pytest.mark.parametrize("code", [1, -signal.SIGKILL], ids=["by a mistake", "by the system, for want of memory"])
def test_a_cell_that_fails_does_not_stop_the_others(code: int, write: Write) -> None:
    file = write(axes={"model.penalty": [0, 1, 2]})
    assert study("--config", file, "--output", "out", "--data.pair", "0", launch=_fails_at(1, code)) == 1
    assert [line["cell"] for line in lines(Path("out"))] == ["penalty 0", "penalty 2"]


@pytest.mark.parametrize("code", [-signal.SIGTERM, 128 + signal.SIGTERM])
def test_a_signal_that_came_to_a_cell_stops_the_study(code: int, write: Write) -> None:
    with pytest.raises(Interrupted) as stopped:
        study("--config", write(), "--output", "out", launch=lambda arguments: code)
    assert stopped.value.code == 128 + signal.SIGTERM


def _fails_at(place: int, code: int) -> Callable[[list[str]], int]:
    calls: list[list[str]] = []

    def run(arguments: list[str]) -> int:
        calls.append(arguments)
        return code if len(calls) == place + 1 else main(arguments)

    return run


def test_a_cell_may_be_a_fit(write: Write, image_file: Path, mask_file: Path, pipeline: Path) -> None:
    small = {"model.resolution": SIDE, "model.iterations": 3, "model.loss.teacher.path": str(pipeline)}
    quiet = {"trainer.enable_progress_bar": False, "trainer.precision": "32-true", "trainer.accelerator": "cpu"}
    fit = {"model.image": str(image_file), "model.mask": str(mask_file), "model.prompt": ["a bear", "an apple"]}
    file = write(
        command="fit",
        base="rgb_bilateral.yaml",
        data=None,
        set={**small, **quiet, **fit},
        axes={"together": {"apart": {}, "competing": {"config": "competing.yaml"}}},
        figure={"x": "iteration", "y": ["pixel_variance"]},
    )
    assert study("--config", file, "--output", "out") == 0
    first, second = lines(Path("out"))
    assert (first["cell"], second["cell"]) == ("apart", "competing")
    assert first["n"] == "2.0"
    records = [json.loads(f.read_text()) for f in sorted(Path("out/cells/00-apart").rglob("result.json"))]
    assert float(first["area"]) == pytest.approx(sum(r["mask_fraction"] for r in records) / 2, abs=1e-6)
    before = sorted(Path("out").rglob("result.json"))
    assert study("--config", file, "--output", "out") == 0  # both are finished
    assert sorted(Path("out").rglob("result.json")) == before


@pytest.mark.parametrize("x", [None, "model.penalty", "iteration", "area"])
def test_a_figure_of_each_kind(x: str | None) -> None:
    study = Study("s", ("raster.yaml",), title="a $ in it", axes={"model.penalty": [1, 2]}, figure=Figure(x, ("mIoU", "area")))
    found = [
        Found(cell, True, {"mIoU": 0.5, "area": 0.2}, {"mIoU": (0.4, 0.6)}, {"area": [(0.0, 0.1), (4.0, 0.2)]})
        for cell in study.all_cells()
    ]
    draw(study, found, Path("figure.png"))
    assert Image.open("figure.png").size[0] > 600


def test_a_process_of_a_cell_hands_its_exit_code_on() -> None:
    assert launch(["words", "/nowhere"]) == 1


def test_the_course_of_samples_that_settled_goes_on_with_their_last_values() -> None:
    from peekaboo.studies.measures import _mean_courses

    short = {"iteration": [0, 10], "area": [0.5, 0.1]}
    long = {"iteration": [0, 10, 20], "area": [0.5, 0.5, 0.7]}
    assert _mean_courses([short, long])["area"] == [(0, 0.5), (10, 0.3), (20, pytest.approx(0.4))]


def test_identity_does_not_depend_on_device_and_batch(write: Write) -> None:
    one = read_study(write())
    configs = {name: read_config(str(CONFIGS / name)) for name in one.base}

    def identity(*further: str) -> Any:
        return StudyFolder(Path("out"), one, list(further), configs).identity

    with_values = command._with_values(["--trainer.accelerator", "gpu", "--data.batch_size", "3"])
    assert identity(*with_values) == identity()
    assert identity("--trainer.precision=bf16-mixed") != identity()
    assert identity("--data.single=3") != identity()
    assert collect(StudyFolder(Path("out"), one, [], configs)) == []
