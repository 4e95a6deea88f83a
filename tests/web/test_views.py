"""What the page shows and hands out: masks cleaned up without another run, figures, files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peekaboo.results.drawing import GAP, TITLE
from peekaboo.results.result import Result
from peekaboo.web import views
from peekaboo.web.jobs import Moment
from peekaboo.web.wishes import Wish


def result_of(prompt: str = "a teddy bear") -> Result:
    """An object with a hole, and a speck."""
    alpha = torch.full((40, 60), 0.1)
    alpha[10:30, 20:45] = 0.9
    alpha[15:20, 25:30] = 0.3
    alpha[2:4, 2:4] = 0.7
    image = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    record = {"iterations": 40, "seconds": 3.52, "resolution": 60, "device": "cpu", "confidence": 0.61}
    return Result(image, prompt, alpha, 0.5, "fixed", frames=torch.rand(5, 8, 8), record=record)


@pytest.mark.parametrize(
    ("asked", "pixels"),
    [
        ({}, 500 - 25 + 4),
        ({"threshold": 0.2}, 500 + 4),
        ({"threshold": 0.8}, 500 - 25),
        ({"largest": True}, 500 - 25),
        ({"specks": 1.0}, 500 - 25),
        ({"fill_holes": True}, 500 + 4),
        ({"fill_holes": True, "largest": True}, 500),
        ({"threshold": 0.95}, 0),
    ],
)
def test_masks_are_cleaned_up_without_another_run(asked: dict[str, float], pixels: int) -> None:
    given = result_of()
    (result,) = views.refined([given], **asked)  # type: ignore[arg-type]
    assert int(result.mask.sum()) == int(result.shape.sum()) == pixels
    assert torch.equal(given.alpha, result_of().alpha)  # to be cleaned up in another way next
    opaque = np.asarray(result.cutout)[..., 3] > 127
    assert abs(int(opaque.sum()) - pixels) <= 10  # soft edges around the hole


def test_a_hard_cut_out_is_hard() -> None:
    for kind, values in (("hard", {0, 255}), ("raw", {26, 76, 178, 230})):
        (result,) = views.refined([result_of()], cutout=kind)  # type: ignore[arg-type]
        assert set(np.unique(np.asarray(result.cutout)[..., 3])) == values


@pytest.mark.parametrize("wrong", [{"threshold": 1.0}, {"threshold": -0.1}, {"cutout": "soft"}, {"specks": 100}])
def test_what_means_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^[\w.]+: expected .+, got "):
        views.refined([result_of()], **wrong)  # type: ignore[arg-type]


def test_a_moment_shows_all_masks_and_each_alpha() -> None:
    image = torch.rand(3, 20, 30)
    assert views.picture_of(Moment(0, 60, 0.0, image), ["a dog"]).size == (30, 20)
    alphas = torch.zeros(3, 20, 30)
    alphas[1, 5:10, 5:10] = 1
    picture = views.picture_of(Moment(3, 60, 1.0, image, alphas), ["a dog", "a cat", "a bus"])
    assert picture.size == (3 * 30 + 2 * GAP, 2 * (20 + TITLE) + GAP)
    shown = np.asarray(picture)[TITLE : TITLE + 20, 2 * (30 + GAP) : 2 * (30 + GAP) + 30, 0]  # the third: alpha of "a cat"
    assert np.array_equal(shown > 127, alphas[1].numpy() > 0.5)


def test_words_of_people_are_no_markup(make_wish: Callable[..., Wish]) -> None:
    evil = "<img src=x onerror=alert(1)>"
    results = [result_of(evil)]
    for html in (views.told(results, make_wish(evil)), views.figures(results), views.note(evil)):
        assert "<img" not in html and "&lt;img" in html


def test_doubts_stand_before_what_was_found(make_wish: Callable[..., Wish]) -> None:
    doubtful = result_of()
    doubtful.record.update(photograph=True, unknown_words=["zeppelin"])
    html = views.told([doubtful], make_wish("a teddy bear"))
    places = [html.index(words) for words in ("looks like a photograph", "never seen &#x27;zeppelin&#x27;", "found")]
    assert places == sorted(places) and html.count('class="note wrong"') == 2


def test_lines_and_figures(make_wish: Callable[..., Wish]) -> None:
    found, empty = result_of(), views.refined([result_of("a bus")], threshold=0.95)[0]
    html = views.told([found, empty], make_wish("a teddy bear\na bus", before=(4000, 3000)))
    assert "found &#x27;a teddy bear&#x27;: 20.0% of the image; settled after 40 of 60 iterations, 3.5 s on cpu" in html
    assert "nothing found for &#x27;a bus&#x27;" in html and 'class="note wrong"' in html
    assert "4000 x 3000 to 60 x 40 pixels" in html
    assert "<td>20.0%</td><td>0.61</td><td>0.90</td><td>0.10</td><td>40</td><td>3.5</td>" in views.figures([found])
    assert "<td>0.0%</td><td>0.61</td><td>-</td>" in views.figures([empty])
    assert 'max="60" value="15"' in (text := views.progress(Moment(15, 60, 3.0, found.image))) and "at most 9 s left" in text


@pytest.fixture
def make_wish() -> Callable[..., Wish]:
    def make(words: str, before: tuple[int, int] | None = None) -> Wish:
        return Wish(torch.zeros(3, 40, 60), before, words.splitlines(), "raster", "embedded", 60, 0)

    return make


def test_what_is_downloaded_is_what_is_shown(tmp_path: Path) -> None:
    results = views.refined([result_of(), result_of("a/../bus")], largest=True)
    mask = np.asarray(Image.open(views.save("mask", results, 0, tmp_path)))
    assert np.array_equal(mask > 0, results[0].mask.numpy()) and mask.sum() == 255 * 475
    cutout = views.save("cutout", results, 1, tmp_path)
    assert cutout.parent == tmp_path and cutout.name == "a-..-bus_cutout.png" and Image.open(cutout).mode == "RGBA"
    with Image.open(views.save("timelapse", results, 0, tmp_path)) as lapse:
        assert getattr(lapse, "n_frames", 1) == 5
    with zipfile.ZipFile(views.save("all", results, 0, tmp_path)) as archive:
        names = set(archive.namelist())
        with archive.open("0_a-teddy-bear/mask.png") as file:
            assert np.array_equal(np.asarray(Image.open(file)), mask)
        record = json.loads(archive.read("0_a-teddy-bear/result.json"))
    files = {"mask.png", "alpha.png", "cutout.png", "overlay.png", "side_by_side.png", "timelapse.gif", "result.json"}
    folders = ("0_a-teddy-bear", "1_a-..-bus")
    assert {"all.png", *(f"{folder}/{name}" for folder in folders for name in files)} <= names
    assert record["finish"]["largest"] is True and record["mask_fraction"] == pytest.approx(475 / 2400)
    assert {file.suffix for file in tmp_path.iterdir()} == {".png", ".gif", ".zip"}  # nothing else is left
