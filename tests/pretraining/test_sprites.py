"""The sprites' script takes from a package what it should, and nothing under another licence."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from peekaboo.data.looks import ASSETS, LOOKS, vocabulary
from peekaboo.pretraining import sprites
from peekaboo.pretraining.sprites import Look, icon_names, make_look

SQUARE = '<rect x="4" y="8" width="16" height="8" fill="#ff0000"/>'


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a rocket by code point, a car by a name of its own, a lemon as an alias, and a ship on a plate."""
    folder = tmp_path / "packages" / "some-emoji"
    folder.mkdir(parents=True)
    icons = {
        "prefix": "some",
        "width": 32,
        "height": 32,
        "icons": {name: {"body": SQUARE} for name in ("r", "auto", "yellow", "ship")},
    }
    content: dict[str, Any] = {
        "icons": icons | {"aliases": {"lemon": {"parent": "yellow"}}},
        "chars": {"1f680": "r"},
        "info": {"license": {"spdx": "MIT"}},
        "package": {"version": "1.2.3"},
    }
    for name, value in content.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    some = Look("some-emoji", "MIT", "Somebody", icons={"red car": "auto"}, left_out={"ship": "on a plate"})
    monkeypatch.setattr(sprites, "LOOKS", {"some": some})
    return some


def test_words_find_their_icons(package: Path, look: Look) -> None:
    icons, listed = (json.loads((package / f"{name}.json").read_text()) for name in ("icons", "chars"))
    assert icon_names(look, icons, listed) == {"rocket": "r", "red car": "auto", "lemon": "lemon"}


def test_a_look_is_written_with_its_table(package: Path, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resvg_py")
    output = tmp_path / "sprites"
    output.mkdir()
    arguments = ["sprites", str(package.parent), "--output", str(output), "--sheet", str(tmp_path / "sheet.png")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert sprites.main() == 0
    with (output / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["icon"], row["version"], row["licence"]) for row in rows] == [
        ("rocket", "r", "1.2.3", "MIT"),
        ("red car", "auto", "1.2.3", "MIT"),
        ("lemon", "lemon", "1.2.3", "MIT"),
    ]
    image = Image.open(output / "some" / f"{vocabulary()['lemon']}.webp").convert("RGBA")
    assert image.size == (sprites.SIDE, sprites.SIDE // 2)  # cropped to the rectangle
    assert np.asarray(image)[20:40, 20:100, :3].mean((0, 1)) == pytest.approx([255, 0, 0], abs=6)
    assert Image.open(tmp_path / "sheet.png").width > 0


def test_another_licence_or_no_package_is_an_error_in_one_line(
    package: Path, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError, match="expected the unpacked npm package @iconify-json/some-emoji"):
        make_look("some", tmp_path / "nowhere", tmp_path)
    (package / "info.json").write_text(json.dumps({"license": {"spdx": "CC-BY-NC-4.0"}}))
    with pytest.raises(ValueError, match="some-emoji: expected the licence MIT, got CC-BY-NC-4.0"):
        make_look("some", package, tmp_path)
    monkeypatch.setattr(sys, "argv", ["sprites", str(package.parent), "--output", str(tmp_path)])
    assert sprites.main() == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_left_out_has_a_reason_and_no_sprite() -> None:
    assert set(sprites.LOOKS) | {"fluent_3d"} == set(LOOKS)
    for name, look in sprites.LOOKS.items():
        assert set(look.icons) | set(look.left_out) <= set(vocabulary())
        for word, reason in look.left_out.items():
            assert reason and not (ASSETS / "sprites" / name / f"{vocabulary()[word]}.webp").exists()
