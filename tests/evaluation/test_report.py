from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from peekaboo.data.base import Sample
from peekaboo.evaluation.paper import REFCOCO, VOC_C
from peekaboo.evaluation.report import by_data, main, markdown, read_run
from peekaboo.evaluation.rows import make_row
from peekaboo.evaluation.tables import summarise
from peekaboo.results.result import make_result


def run(folder: Path, variant: str, alphas: list[float], **about: Any) -> Path:
    """A finished run of samples whose mask is everything or nothing."""
    rows = []
    for i, value in enumerate(alphas):
        target = torch.zeros(4, 4, dtype=torch.bool)
        target[:2] = True
        sample = Sample(f"{i}", torch.zeros(3, 4, 4), "x", target)
        rows.append(make_row(sample, make_result(sample.image, "x", torch.full((4, 4), value), 0.5), f"kind {i % 2}"))
    about = {"variant": variant, "data": "ScenesData", "own_threshold": 0.5, "command": f"python cli.py test {variant}", **about}
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(summarise(rows, len(rows), about)))
    return folder


def test_runs_come_into_one_table_with_the_papers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = run(tmp_path / "a", "Raster", [0.9, 0.9, 0.1, 0.1]), run(tmp_path / "b", "Fourier", [0.9] * 4)
    assert main([str(one), str(two / "metrics.json"), "--output", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| Raster | 4 | 0.5 | 0.500 | 0.500 | 0.000 | 0.000 | **0.250** (" in text
    assert "| Fourier | 4 | 0.5 | 1.000 | 1.000 | 0.000 | 0.000 | **0.500** (0.500-0.500)" in text
    assert "| run | kind 0 | kind 1 |" in text
    assert "- Raster: `python cli.py test Raster`" in text
    assert "| Depth Bilateral | 0.929 | 0.707 | 0.455 | 0.187 | 0.551 |" in text
    assert text in capsys.readouterr().out
    assert Image.open(tmp_path / "out" / "report.png").width > 500


def test_runs_on_other_data_stay_apart(tmp_path: Path) -> None:
    runs = [
        read_run(run(tmp_path / "a", "A", [0.9], data_arguments={"limit": 5, "size": 64})),
        read_run(run(tmp_path / "b", "B", [0.9], data_arguments={"limit": 9, "size": 64})),
        read_run(run(tmp_path / "d", "D", [0.9], data_arguments={"size": 64})),
        read_run(run(tmp_path / "e", "E", [0.9], data_arguments={"size": 64, "limit": None})),
        read_run(run(tmp_path / "c", "C", [0.9], data="VOCCropData")),
    ]
    text = markdown(runs, paper=False)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Scenes (limit: 5)",
        "## Scenes (limit: 9)",
        "## Scenes (limit: None)",
        "## VOCCrop",
    ]
    assert [line.split()[1] for line in text.splitlines() if line.startswith(("| D ", "| E "))] == ["D", "E"] * 2


def test_variants_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / name, variant, [0.9]) for name, variant in (("low", "Raster"), ("high", "Raster"), ("c", "Fourier"))
    ]
    elsewhere = read_run(run(tmp_path / "d", "Fourier", [0.9], data="VOCCropData"))
    found = by_data([*map(read_run, folders), elsewhere])
    assert [some["variant"] for some in found["Scenes"]] == ["Raster (low)", "Raster (high)", "Fourier"]
    assert [some["variant"] for some in found["VOCCrop"]] == ["Fourier"]  # in a table of its own


def test_an_unfinished_run_is_marked(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", "A", [0.9])
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "complete": False}))
    assert "| A * |" in markdown([read_run(folder)])


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "without metrics.json"), ("{", "broken"), ("{}", "at least one scored sample"), ("[1]", "at least one")],
)
def test_what_is_no_run_is_refused_in_a_line(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    assert main([str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: run: expected")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("table", [VOC_C, REFCOCO])
def test_the_papers_rows_fall_with_the_level(table: tuple[tuple[Any, ...], ...]) -> None:
    for row in table:
        assert list(row[1:5]) == sorted(row[1:5], reverse=True)


@pytest.mark.parametrize(
    "name", ["$\\frac$", "a$b$c", "one $ alone", "a | b", "two\nlines", "红苹果 🍎", "x" * 300, "\\_^{}", ""]
)
def test_a_report_takes_any_name(tmp_path: Path, name: str) -> None:
    folder = run(tmp_path / "a", name, [0.9, 0.1], data_arguments={"manifest": name})
    other = run(tmp_path / "b", name, [0.9], data_arguments={"manifest": name + "2"})
    assert main([str(folder), str(other), "--output", "out", "--no-paper"]) == 0
    lines = [line for line in Path("out/report.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in lines if line.startswith("| run | n ")} == {14}
    assert Image.open("out/report.png").width > 500
