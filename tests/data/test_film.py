"""Films as sources: their frames in order, upright, and what is wrong with a file in one line."""

from __future__ import annotations

import pickle
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from peekaboo.data.film import Film, encode_film, frame_of, source_of_frame
from peekaboo.data.image_folder import ImageFolderSamples
from peekaboo.data.listing import is_film

GREYS = (10, 60, 110, 160, 210)
IDENTITY = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")
CLOCKWISE = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000 00000000 00000000 40000000")


def write(path: Path, greys: tuple[int, ...] = GREYS) -> Path:
    pictures = [np.full((32, 48, 3), grey, np.uint8) for grey in greys]
    for picture in pictures:
        picture[:, :24] //= 2  # the left half is darker
    path.write_bytes(encode_film(pictures, Fraction(12)))
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write(tmp_path / "clip.mp4")


def grey(frame: torch.Tensor) -> float:
    return 255 * float(frame[:, :, 30:].mean())


def test_frames_come_in_any_order(film: Path) -> None:
    opened = Film(film)
    assert len(opened) == 5 and opened.rate == 12
    for number in (0, 1, 1, 4, 2, 3, 0):
        frame = opened.read(number)
        assert frame.shape == (3, 32, 48) and grey(frame) == pytest.approx(GREYS[number], abs=4)  # what a codec may lose
    assert [round(grey(frame), -1) for frame in opened.read_all()] == list(GREYS)
    assert grey(pickle.loads(pickle.dumps(opened)).read(3)) == pytest.approx(160, abs=4)  # in a worker
    with pytest.raises(ValueError, match=r"^images: expected 5 frames in '.*clip\.mp4', got fewer$"):
        opened.read(5)


def test_a_film_that_says_it_is_turned_is_upright(film: Path) -> None:
    content = film.read_bytes()
    assert content.count(IDENTITY) == 2  # of the film, and of its only track, which counts
    film.write_bytes(content[: (at := content.rindex(IDENTITY))] + CLOCKWISE + content[at + len(IDENTITY) :])
    frame = 255 * Film(film).read(4)
    assert frame.shape == (3, 48, 32)
    assert float(frame[:, :20].mean()) == pytest.approx(105, abs=4)  # what was left is above
    assert float(frame[:, 28:].mean()) == pytest.approx(210, abs=4)


def test_sides_that_are_odd(tmp_path: Path) -> None:
    (tmp_path / "odd.mp4").write_bytes(encode_film([np.full((31, 47, 3), 80, np.uint8)], Fraction(30_000, 1001)))
    opened = Film(tmp_path / "odd.mp4")
    assert opened.read(0).shape == (3, 32, 48) and opened.rate == Fraction(30_000, 1001)


def test_a_source_among_others(film: Path) -> None:
    write(film.with_name("other.mp4"), (90, 120))
    samples = ImageFolderSamples([str(film.parent / "*.mp4")], ["a dog", "a cat"], recursive=False)
    assert samples.ids[:3] == ["clip-000000-a-dog", "clip-000000-a-cat", "clip-000001-a-dog"]
    assert samples.ids[-1] == "other-000001-a-cat" and len(samples) == 14
    sample = samples[13]
    assert (sample.prompt, sample.source) == ("a cat", f"{film.parent}/other.mp4#1")
    assert grey(sample.image) == pytest.approx(120, abs=4)
    first, second = samples.content(0), samples.content(2)
    assert first.sha256 == second.sha256 and first.annotation != second.annotation


def test_names_of_frames() -> None:
    assert frame_of(source_of_frame("a#b/clip.MOV", 12)) == ("a#b/clip.MOV", 12)
    assert [frame_of(source) for source in (None, "a.png", "a.png#3", "clip.mp4", "clip.mp4#x")] == [None] * 5
    assert is_film("x.WebM") and not is_film("x.gif")


@pytest.mark.parametrize(("content", "why"), [(b"no film", "Invalid data"), (None, "Invalid data"), (b"", "Invalid data")])
def test_what_is_no_film_is_said_in_one_line(film: Path, content: bytes | None, why: str) -> None:
    film.write_bytes(film.read_bytes()[:400] if content is None else content)
    with pytest.raises(ValueError, match=rf"^images: expected a film that can be read, got '[^\n]*clip.mp4' \({why}[^\n]*\)$"):
        Film(film)


def test_without_the_library_one_line_names_the_extra(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    expected = r"^images: '.*clip\.mp4': expected av, which is not installed; pip install 'peekaboo\[video\]'$"
    with pytest.raises(ModuleNotFoundError, match=expected):
        ImageFolderSamples(str(film), ["a dog"], recursive=False)
