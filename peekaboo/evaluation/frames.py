"""Runs whose samples are the frames of a film: going on where they stopped, and how much their masks flicker."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..data.film import Film, encode_film, frame_of
from ..data.names import slug, stem
from ..functional.masks import iou
from ..results.drawing import Colour, colours_for, outlined, to_picture
from ..results.finish import Finish
from ..results.writing import write_bytes, write_json, write_picture
from .folder import RunFolder

Row = dict[str, Any]


def unbroken(run: RunFolder, ids: list[str], finished: frozenset[str]) -> tuple[frozenset[str], dict[str, Tensor]]:
    """Returns the finished samples before the first that is not, and their last alphas; what comes later is done again.

    It began at an alpha that is to be another, and is forgotten, so that a run that stops again does not take it for finished.

    Args:
        run: with the samples' alphas.
        ids: of all samples, in order.
        finished: of them.

    Returns:
        Their ids, and (H, W) in [0, 1] by prompt.
    """
    first = next((place for place, name in enumerate(ids) if name not in finished), len(ids))
    for name in ids[first:]:
        run.forget(name)
    last = {row["prompt"]: row["id"] for row in run.good(ids[:first])}
    return frozenset(ids[:first]), {prompt: run.alpha(name) for prompt, name in last.items()}


def flicker(masks: list[Tensor]) -> float | None:
    """The mean of 1 - IoU of every two neighbouring masks; what moves counts as well as what flickers.

    Args:
        masks: (H, W) bool each; two of different sizes are not compared.

    Returns:
        In [0, 1]; None where there are no two to compare.
    """
    twos = [(a, b) for a, b in zip(masks, masks[1:], strict=False) if a.shape == b.shape]
    return sum(1 - float(iou(a[None], b[None])) for a, b in twos) / len(twos) if twos else None


def write_flicker(run: RunFolder, rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Writes ``flicker.json``: that of each prompt's masks, in each film. Returns it."""
    films = {film for film, _, _ in frames(rows)}
    by_prompt: dict[str, list[str]] = {}
    for row in rows:
        if row["error"] is None:
            film = frame_of(row["source"])
            named = row["prompt"] if film is None or len(films) == 1 else f"{film[0]}: {row['prompt']}"
            by_prompt.setdefault(named, []).append(row["id"])
    found = {prompt: flicker([run.mask(name) for name in names]) for prompt, names in by_prompt.items()}
    write_json(run.path / "flicker.json", found)
    return found


def frames(rows: list[Row]) -> list[tuple[str, int, Row]]:
    """Returns the samples that are frames of video files, in order: the file, the number of the frame, the row."""
    found = [(frame_of(row["source"]), row) for row in rows if row["error"] is None]
    return [(*place, row) for place, row in found if place is not None]


def write_overlays(run: RunFolder, rows: list[Row], finish: Finish) -> list[Path]:
    """Writes each video file with its masks outlined: ``overlay.mp4``, or of several ``overlay-<name>.mp4``.

    Args:
        run: with the masks.
        rows: of its samples.
        finish: which pieces of the masks to show.

    Returns:
        The files; none for samples of something else.
    """
    by_film = [(film, list(own)) for film, own in groupby(frames(rows), key=lambda place: place[0])]
    written = []
    for path, own in by_film:
        name = "overlay.mp4" if len(by_film) == 1 else f"overlay-{slug(stem(Path(path).name))}.mp4"
        by_number = {number: [row for _, _, row in same] for number, same in groupby(own, key=lambda place: place[1])}
        film = Film(path)
        pictures = _Overlays(run, film, by_number, finish)
        write_bytes(run.path / name, encode_film(pictures, film.rate * Fraction(len(by_number), len(film))))
        written.append(run.path / name)
    return written


class _Overlays:
    """Draws the frames of a film that have masks; a prompt has the same colour in all of them."""

    def __init__(self, run: RunFolder, film: Film, rows: dict[int, list[Row]], finish: Finish) -> None:
        self.run, self.film, self.rows, self.finish = run, film, rows, finish
        self.colours: dict[str, Colour] = {}

    def __iter__(self) -> Iterator[Image.Image]:
        shown = tqdm(enumerate(self.film.read_all()), "drawing", len(self.film), unit="frame", leave=False, disable=None)
        for number, image in shown:
            if own := self.rows.get(number):
                yield self._draw(image, own)

    def _draw(self, image: Tensor, own: list[Row]) -> Image.Image:
        prompts = [row["prompt"] for row in own]
        masks = [self.finish.shape(self.run.mask(row["id"])) for row in own]
        if not set(prompts) <= self.colours.keys():
            self.colours = dict(zip(prompts, colours_for(image, masks), strict=True))
        return outlined(image, masks, prompts, [self.colours[prompt] for prompt in prompts], in_corner=True)


def as_files(run: RunFolder, rows: list[Row]) -> list[Row]:
    """Returns rows whose frames of video files are pictures in ``frames/``, for programs that open pictures alone."""
    wanted: dict[str, set[int]] = {}
    for film, number, _ in frames(rows):
        wanted.setdefault(film, set()).add(number)
    places = {(film, number): run.path / "frames" / slug(film) / f"{number:06}.png" for film in wanted for number in wanted[film]}
    for film, numbers in wanted.items():
        places[film, min(numbers)].parent.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(Film(film).read_all()):
            if number in numbers:
                write_picture(places[film, number], to_picture(image))
    return [row if (at := frame_of(row["source"])) is None else row | {"source": str(places[at])} for row in rows]
