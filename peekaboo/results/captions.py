"""Text on pictures, in any script that a font of this machine has."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
SIZE = 11
#: Where systems keep their fonts.
FOLDERS = {
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": (os.path.join(os.environ.get("WINDIR", "C:\\Windows"), "Fonts"),),
}


def draw_caption(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int) -> None:
    """Writes one line, cut to fit, in a font that has its letters.

    A letter that no font of this machine has is written as ``\\u7ea2``, so that no box stands for it.

    Args:
        draw: of the picture.
        place: left and top in pixels.
        text: of one or several lines, which become one.
        width: in pixels, that it may take.
    """
    font = font_for(text)
    shown = written(text, font)
    if draw.textlength(shown, font=font) > width:
        while shown and draw.textlength(shown + "...", font=font) > width:
            shown = shown[:-1]
        shown += "..."
    draw.text(place, shown, fill="black", font=font)


def written(text: str, font: Font) -> str:
    """Returns a text as one line in letters that a font has; others become ``\u7ea2``."""

    def letter_of(letter: str) -> str:
        return letter if letter == " " or has(font, letter) else letter.encode("ascii", "backslashreplace").decode()

    return "".join(map(letter_of, " ".join(text.split())))


def font_for(text: str) -> Font:
    """Returns the first font that has all letters of a text, or else the one that has most of them."""
    letters = frozenset("".join(text.split()))
    best, most = ImageFont.load_default(SIZE), -1
    for font in _fonts():
        count = sum(has(font, letter) for letter in letters)
        if count > most:
            best, most = font, count
        if count == len(letters):
            break
    return best


def has(font: Font, letter: str) -> bool:
    """Whether a font has a glyph for a letter, and not the box that stands for all that it has not."""
    try:
        return letter.isprintable() and bytes(font.getmask(letter)) != _box(font)
    except (OSError, UnicodeError, ValueError):
        return False


@cache
def _box(font: Font) -> bytes:
    return bytes(font.getmask("\U0010fffe"))


def _fonts() -> Iterator[Font]:
    """Yields fonts, Pillow's own first; files are opened when all before them would not do."""
    yield ImageFont.load_default(SIZE)
    for file in _font_files():
        if (font := _open(file)) is not None:
            yield font


@cache
def _open(file: Path) -> Font | None:
    try:
        return ImageFont.truetype(str(file), SIZE)
    except (OSError, ValueError):  # a bitmap font of another size, a broken file
        return None


@cache
def _font_files() -> tuple[Path, ...]:
    folders = [Path(folder).expanduser() for folder in FOLDERS.get(sys.platform, ())]
    found = [file for folder in [*_of_matplotlib(), *folders] for file in sorted(folder.rglob("*.[tToO][tT][fFcC]"))]
    # A last resort has a glyph for every letter: a box that says of which script it is.
    return tuple(f for f in found if f.suffix.lower() in (".ttf", ".otf", ".ttc", ".otc") and "LastResort" not in f.name)


def _of_matplotlib() -> list[Path]:
    """The folder of fonts that come with matplotlib, where it is installed; it is not imported."""
    from importlib.util import find_spec

    spec = find_spec("matplotlib")
    return [] if spec is None or spec.origin is None else [Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"]
