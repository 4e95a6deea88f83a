"""A folder of frames: each begins at the last one's alpha, a stopped run goes on the same, and the flicker is measured."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import peekaboo
from peekaboo.command_line.entry import main
from peekaboo.data.base import Sample
from peekaboo.data.film import Film, encode_film
from peekaboo.evaluation.folder import RunFolder
from peekaboo.evaluation.frames import flicker, unbroken
from peekaboo.functional.framing import frame
from peekaboo.functional.random import Draws
from peekaboo.results.drawing import to_picture
from peekaboo.results.files import to_16_bit
from peekaboo.starts import Given, Previous

FRAMES = 3


@pytest.fixture
def film(tmp_path: Path) -> Path:
    folder = tmp_path / "film"
    folder.mkdir()
    for number in (2, 9, 10):  # as numbers, not as text
        picture = np.full((16, 16, 3), 200, np.uint8)
        picture[4:10, number // 2 : number // 2 + 6] = (180, 30, 30)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def predict(film: Path, pipeline: Path, out: str, *more: str) -> Path:
    model = [f"--model.loss.teacher.path={pipeline}", "--model.resolution=16", "--model.iterations=2", "--model.confidence=false"]
    data = ["--data.images", str(film), "--data.prompt", '["a bear", "a bus"]']
    trainer = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false"]
    command = ["predict", "--config", "raster.yaml", "--config", "frames.yaml", *model, *data, *trainer]
    assert main([*command, f"--evaluation.folder={out}", *more]) == 0
    return Path(out)


def alphas(folder: Path) -> dict[str, np.ndarray]:
    return {file.stem: np.asarray(Image.open(file)).astype(np.float32) / 65535 for file in (folder / "alphas").iterdir()}


def test_a_film_goes_on_from_frame_to_frame(film: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = alphas(predict(film, pipeline, "whole", "--data.batch_size=4"))
    assert "a bear: flicker 0." in capsys.readouterr().out
    assert set(whole) == {f"{number}-a-{what}" for number in (2, 9, 10) for what in ("bear", "bus")}
    # by hand: the second frame begun at the alpha of the first, with the same seeds
    options = {"iterations": 2, "resolution": 16, "device": "cpu", "confidence": False, "loss__teacher__path": str(pipeline)}
    segmenter = peekaboo.load("raster", **options)
    first = [torch.from_numpy(whole[f"2-a-{what}"].copy()) for what in ("bear", "bus")]
    picture = torch.from_numpy(np.asarray(Image.open(film / "9.png")).copy()).permute(2, 0, 1).float() / 255
    pairs = [Sample(str(i), picture, prompt) for i, prompt in enumerate(("a bear", "a bus"))]
    seeds = [segmenter.sample_seed(pair.prompt) for pair in pairs]
    second = segmenter.segment(pairs, seeds, start=Given(first))
    for what, result in zip(("bear", "bus"), second, strict=True):
        np.testing.assert_allclose(result.alpha.numpy(), whole[f"9-a-{what}"], rtol=0, atol=2e-5)
    anew = segmenter.segment(pairs, seeds)
    assert (anew[0].alpha - second[0].alpha).abs().max() > 0.01


def test_a_stopped_film_goes_on_the_same(film: Path, pipeline: Path) -> None:
    folder = predict(film, pipeline, "stopped")
    expected = alphas(folder)
    masks = [np.asarray(Image.open(folder / "masks" / f"{number}-a-bus.png")) > 0 for number in (2, 9, 10)]
    assert json.loads((folder / "flicker.json").read_text())["a bus"] == pytest.approx(
        flicker([torch.from_numpy(m) for m in masks])
    )
    (folder / "samples" / "9-a-bear.json").unlink()  # the last frame is there, and began at this one
    stamp = (folder / "samples" / "2-a-bus.json").stat().st_mtime_ns
    again = alphas(predict(film, pipeline, "stopped"))
    assert (folder / "samples" / "2-a-bus.json").stat().st_mtime_ns == stamp
    for name, alpha in expected.items():
        np.testing.assert_allclose(again[name], alpha, rtol=0, atol=2e-5)


def test_a_video_file_is_its_frames(film: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The masks are those of the same frames in a folder, begun one at the other; two films do not begin at each other."""
    pictures = [np.asarray(Image.open(film / f"{number}.png")) for number in (2, 9, 10)]
    clip = film.parent / "clip.mp4"
    clip.write_bytes(encode_film(pictures, Fraction(6)))
    frames = film.parent / "frames"
    frames.mkdir()
    for number, image in enumerate(Film(clip).read_all()):  # as the codec has left them
        to_picture(image).save(frames / f"{number}.png")
    folder = alphas(predict(frames, pipeline, "folder"))
    out = predict(clip, pipeline, "video", "--evaluation.labelme=true", "--evaluation.coco_polygons=true")
    found = alphas(out)
    assert len(found) == len(folder) == 6
    for name, alpha in found.items():
        number, _, prompt = name.removeprefix("clip-").partition("-")
        np.testing.assert_allclose(alpha, folder[f"{int(number)}-{prompt}"], rtol=0, atol=2e-5)
    said = capsys.readouterr().out
    assert f"overlay in {out / 'overlay.mp4'}" in said and "a bear: flicker 0." in said
    drawn = Film(out / "overlay.mp4")
    assert (len(drawn), drawn.rate, drawn.read(0).shape) == (3, 6, (3, 16, 16))
    # programs that open pictures alone are given the frames as pictures
    for file in (out / "labelme").rglob("*.json"):
        assert Image.open(file.parent / json.loads(file.read_text())["imagePath"]).size == (16, 16)
    assert len(list((out / "labelme").rglob("*.json"))) == 3
    twice = film.parent / "twice"
    twice.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (twice / name).write_bytes(clip.read_bytes())
    both = predict(twice / "*.mp4", pipeline, "both")
    again = alphas(both)
    for name, alpha in again.items():
        np.testing.assert_allclose(alpha, found["clip" + name[1:]], rtol=0, atol=2e-5)
    assert len(again) == 12 and {file.name for file in both.glob("*.mp4")} == {"overlay-a.mp4", "overlay-b.mp4"}
    assert set(json.loads((both / "flicker.json").read_text())) == {
        f"{twice}/{name}.mp4: a {what}" for name in "ab" for what in ("bear", "bus")
    }


def test_flicker_is_what_two_neighbours_do_not_share() -> None:
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:2] = True
    moved = mask.roll(1, 0)
    assert flicker([mask, mask]) == 0
    assert flicker([mask, moved, moved]) == pytest.approx((1 - 1 / 3) / 2)
    assert flicker([mask]) is None and flicker([mask, torch.zeros(2, 2, dtype=torch.bool)]) is None


def test_the_first_frame_begins_at_one_half() -> None:
    start, pair = Previous(scale=2.0, noise=0.0), Sample("0", torch.rand(3, 8, 8), "a bear")
    images = torch.rand(1, 3, 8, 8)
    assert not start(images, [pair], "stretch", Draws([0]), None).any()
    alpha = torch.rand(20, 12)
    start.remember("a bear", alpha)
    expected = 2 * (2 * frame(alpha[None], 8) - 1)
    torch.testing.assert_close(start(images, [pair], "stretch", Draws([0]), None), expected[None], rtol=0, atol=1e-4)
    start.begin({})
    assert not start(images, [pair], "stretch", Draws([0]), None).any()


def test_what_comes_behind_a_gap_is_forgotten(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", {})
    run.open({}, None)
    ids = ["1", "2", "3"]
    for name in ids:
        run.add({"id": name, "prompt": "a bear", "error": None, "scores": None})
        run.save_picture("alphas", name, to_16_bit(torch.full((2, 3), int(name) / 4)))
    done, last = unbroken(run, ids, frozenset({"1", "3"}))
    assert done == {"1"} and last["a bear"].shape == (2, 3)
    torch.testing.assert_close(last["a bear"], torch.full((2, 3), 0.25), rtol=0, atol=1e-5)
    assert [row["id"] for row in run.good(ids)] == ["1"]
    run.close()
