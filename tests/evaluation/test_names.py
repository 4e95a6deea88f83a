"""Names and prompts in any script and with any sign, in reports, on contact sheets, and as names of files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from peekaboo.evaluation import folder as folders
from peekaboo.evaluation.folder import RunFolder, file_name
from peekaboo.results import captions

NAMES = [
    "$\\frac$",
    "a$b$c",
    "one $ alone",
    "a | b",
    "two\nlines",
    "红苹果",
    "яблоко",
    "تفاحة",
    "🍎",
    "x" * 300,
    "\\",
    "_^{}",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_caption_is_one_line_of_letters_that_its_font_has(name: str) -> None:
    font = captions.font_for(name)
    shown = captions.written(name, font)
    assert "\n" not in shown
    assert all(letter == " " or captions.has(font, letter) for letter in shown)
    picture = Image.new("RGB", (200, 16), "white")
    captions.draw_caption(ImageDraw.Draw(picture), (0, 2), name, 200)
    assert (picture.getcolors() != [(200 * 16, (255, 255, 255))]) is bool(name)


def test_a_box_for_a_script_is_no_letter() -> None:
    assert not [file for file in captions._font_files() if "LastResort" in file.name]  # matplotlib brings one


def test_letters_that_no_font_has_are_spelt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_font_files", lambda: ())
    font = captions.font_for("红 apple")
    assert captions.written("红 apple", font) == "\\u7ea2 apple"
    box = bytes(ImageFont.load_default(captions.SIZE).getmask("\U0010fffe"))
    assert bytes(font.getmask("红")) == box  # what would have been drawn


def encoder(encoding: str) -> Any:
    return lambda name: name.encode(encoding, "surrogateescape")


def test_an_id_that_the_file_system_has_no_letters_for_keeps_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert file_name("红-é") == "红-é"
    monkeypatch.setattr(folders.os, "fsencode", encoder("latin-1"))
    assert file_name("é a") == "é a"
    names = ["红", "红苹果", "é"]
    assert len({file_name(name) for name in names}) == 3
    kept = RunFolder(tmp_path / "run", {})
    kept.open({}, None)
    for name in names:
        kept.add({"id": name, "error": None, "scores": None})
    assert [row["id"] for row in kept.all(names)] == names
    assert all(os.fsencode(file).isascii() or "é" in file for file in os.listdir(kept.rows))
    assert json.loads((kept.path / "run.json").read_text())["identity"] == {}
