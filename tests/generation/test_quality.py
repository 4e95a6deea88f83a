"""The measurement of generated RGBA: known pictures have known figures, and a run goes on where it was stopped."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from peekaboo.api import load
from peekaboo.generation import makers, quality
from peekaboo.generation.makers import blob_sprite, full_sprite, true_sprite
from peekaboo.generation.measures import Judge, measured, shape_of, spill
from peekaboo.generation.quality import SOURCES, TUNING_WORDS, main, words_of
from peekaboo.teachers.clip import CLIP


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(CLIP())


def square(side: int = 20, low: int = 5, high: int = 15) -> torch.Tensor:
    alpha = torch.zeros(side, side)
    alpha[low:high, low:high] = 1
    return alpha


def test_a_shape_is_valid_where_all_four_hold() -> None:
    found = shape_of(square())
    assert (found.area, found.half, found.border, found.largest, found.valid) == (0.25, 0.0, 0.0, 1.0, True)
    empty, full = torch.zeros(20, 20), torch.ones(20, 20)
    assert not shape_of(empty).valid and not shape_of(full).valid
    assert shape_of(full).border == 1 and shape_of(empty).largest == 0
    soft = square()
    soft[:, :5] = 0.4
    assert shape_of(soft).half == 0.25 and not shape_of(soft).valid
    apart = square()
    apart[1:4, 1:6] = 1
    assert shape_of(apart).largest == pytest.approx(100 / 115) and not shape_of(apart).valid
    touching = square(low=0)
    assert shape_of(touching).border == pytest.approx(29 / 76) and not shape_of(touching).valid


def test_spill_is_the_distance_of_the_edges_colour() -> None:
    alpha = square()
    alpha[4, 5:15] = 0.5
    image = torch.full((3, 20, 20), 0.2)
    assert spill(torch.cat([image, alpha[None]])) == pytest.approx(0, abs=1e-5)
    image[:, 4, 5:15] = 0.5
    assert spill(torch.cat([image, alpha[None]])) == pytest.approx(0.3, abs=0.01)
    assert spill(torch.cat([image, square()[None]])) is None


def test_controls_have_the_figures_that_tell_them_apart(judge: Judge) -> None:
    words = ("rocket", "owl", "pizza slice")
    other = shape_alpha()
    true, full, blob = (
        [measured(judge, make, word, other) for word, make in zip(words, pictures, strict=True)]
        for pictures in (
            [true_sprite(word, 128) for word in words],
            [full_sprite(word, 128) for word in words],
            [blob_sprite(word, 128, 0) for word in words],
        )
    )
    assert all(row["named_on_the_worst"] == 1 and row["valid"] == 1 for row in true)
    assert all(row["over_complement"] > 0 and row["over_swapped"] > 0 for row in true)  # type: ignore[operator]
    assert all(row["valid"] == 0 and row["area"] == 1 for row in full)
    for right, wrong in zip(true, blob, strict=True):
        assert wrong["area"] == pytest.approx(right["area"], abs=0.02)
        assert wrong["over_complement"] < right["over_complement"]  # type: ignore[operator]


def shape_alpha() -> torch.Tensor:
    alpha = torch.zeros(128, 128)
    alpha[90:120, 10:60] = 1
    return alpha


def test_diversity_is_zero_for_one_memorised_picture(judge: Judge) -> None:
    one = true_sprite("rocket", 128)
    assert judge.diversity([one]) is None
    assert judge.diversity([one, one.clone()]) == pytest.approx(0, abs=1e-5)
    assert judge.diversity([one, true_sprite("owl", 128)]) > 0.2  # type: ignore[operator]


@pytest.fixture
def arguments(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of a measurement that takes seconds: tiny networks, pictures of 32 pixels, a step each."""

    def small(config: str, **settings: Any) -> Any:
        return load(config, **{"resolution": 32, "iterations": 1, **settings})

    monkeypatch.setattr(quality, "load", small)
    monkeypatch.setattr(makers, "SAMPLER_STEPS", 1)
    quick = ["--iterations", "1", "--device", "cpu", "--teacher", str(pipeline), "--batch", "2", "--folder", "out"]
    return ["--words", "rocket,owl", "--seeds", "1", *quick]


def test_it_leaves_rows_a_table_and_a_sheet_and_goes_on(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert Path("out/table.md").read_text() == table
    rows = list(csv.DictReader(Path("out/rows.csv").read_text().splitlines()))
    assert {(row["source"], row["word"]) for row in rows} == {(s, w) for s in SOURCES for w in ("rocket", "owl")}
    assert all(row["held_back"] == "0" for row in rows)
    assert Path("out/sheet.png").stat().st_size > 1000
    pictures = sorted(Path("out/pictures").glob("*/*.png"))
    assert len(pictures) == 10
    before = {file: file.stat().st_mtime_ns for file in pictures}
    Path("out/pictures/generated/owl_0.png").write_bytes(b"cut off")
    Path("out/rows.csv").write_text("\n".join(Path("out/rows.csv").read_text().splitlines()[:4]) + "\n")
    assert main(arguments) == 0  # what was lost is made again, all else is left alone
    again = list(csv.DictReader(Path("out/rows.csv").read_text().splitlines()))
    assert sorted(again, key=str) == sorted(rows, key=str)
    changed = [file.name for file in pictures if file.stat().st_mtime_ns != before[file]]
    assert changed == ["owl_0.png"]
    capsys.readouterr()
    assert main([*arguments, "--iterations", "2"]) == 1
    assert "error: folder: expected one of this study, got 'out' of another: generator.iterations was 1, is 2" in (
        capsys.readouterr().err
    )


def test_bad_arguments_get_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for given, line in (
        (["--words", "griffin"], "error: words: expected some of the 122 objects that `peekaboo words` lists, got griffin"),
        (["--words", ","], "error: words: expected at least one, got none"),
        (["--seeds", "0"], "error: seeds: expected 1 or more, got 0"),
    ):
        assert main(given) == 1
        assert capsys.readouterr().err.strip() == line
    assert not Path("rgba_quality").exists()
    assert len(words_of(None)) == 122 and set(TUNING_WORDS) < set(words_of(None))
