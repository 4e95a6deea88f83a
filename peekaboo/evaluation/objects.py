"""Several prompts of one image as one picture: which of them each pixel belongs to."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..results.writing import write_json, write_picture
from .folder import RunFolder, file_name

MOST = 255  # objects of one picture, beside the background


def object_map(alphas: Tensor, threshold: float = 0.5) -> Tensor:
    """Gives every pixel to the object whose alpha is highest there, or to the background if none is above the threshold.

    LD-ZNet's figure 8 takes the argmax over words; what it does about the background is not described. Of equal alphas the first
    counts.

    Args:
        alphas: (K, H, W) in [0, 1].
        threshold: of the background.

    Returns:
        (H, W) uint8: 0 for the background, k for object k from 1.

    Raises:
        ValueError: for no object, or more than 255.

    >>> object_map(torch.tensor([[[0.9, 0.2, 0.6]], [[0.8, 0.3, 0.7]]])).tolist()
    [[1, 0, 2]]
    """
    if not 1 <= len(alphas) <= MOST:
        raise ValueError(f"alphas: expected 1 to {MOST} objects, got {len(alphas)}")
    highest, places = alphas.max(0)
    return torch.where(highest > threshold, places + 1, 0).to(torch.uint8)


def colours(count: int) -> list[tuple[int, int, int]]:
    """Returns a colour for the background, black, and one for each object; neighbours differ most."""
    hues = [(0.61803398875 * i) % 1 for i in range(count)]
    found = [colorsys.hsv_to_rgb(hue, 0.75, 0.95) for hue in hues]
    return [(0, 0, 0), *((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in found)]


def paletted(found: Tensor, count: int) -> Image.Image:
    """Returns an object map as a picture with a palette: its values are the numbers of the objects."""
    picture = Image.fromarray(found.numpy(), "P")
    picture.putpalette([value for colour in colours(count) for value in colour])
    return picture


def write_object_maps(folder: RunFolder, rows: list[dict[str, Any]]) -> list[Path]:
    """Writes ``objects/<image>.png`` for every image that has several samples, and ``objects.json``, which says what is what.

    Args:
        folder: of a run with its alphas.
        rows: of the samples; those of one image are known by its file.
    """
    images: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["error"] is None and row.get("source"):
            images.setdefault(row["source"], []).append(row)
    written, index = [], {}
    (folder.path / "objects").mkdir(exist_ok=True)
    for source, own in images.items():
        found = object_map(torch.stack([folder.alpha(row["id"]) for row in own]))
        place = folder.path / "objects" / f"{file_name(own[0]['id'])}.png"
        write_picture(place, paletted(found, len(own)))
        names = {str(k): row["prompt"] for k, row in enumerate(own, 1)}
        index[place.relative_to(folder.path).as_posix()] = {"source": source, "objects": {"0": "background", **names}}
        written.append(place)
    write_json(folder.path / "objects.json", index)
    return written
