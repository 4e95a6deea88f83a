"""The contact sheet of a study: a line a sample, a column a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..results.captions import draw_caption
from ..results.drawing import to_picture
from ..results.files import overlay
from ..results.writing import write_picture
from .measures import Found
from .study import Study

SIDE, GAP, CAPTION = 112, 6, 15
PAPER = 0.85  # the grey that cut-outs lie on
_VIEWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "overlay": lambda image, alpha: overlay(image, (alpha > 0.5).float()),
    "alpha": lambda image, alpha: alpha.expand_as(image),
    "cutout": lambda image, alpha: image * alpha + PAPER * (1 - alpha),
}


def draw_sheet(study: Study, found: list[Found], file: Path) -> None:
    """Writes the sheet: the image, and what each cell made of it.

    The samples lie evenly over those that all cells have; where no sample is in all, over those of the first cell.

    Args:
        study: says how many samples, and what of them.
        found: its cells.
        file: a PNG.
    """
    with_pictures = [one for one in found if one.pictures]
    if not with_pictures or not study.sheet.samples:
        return
    first, *others = [list(one.pictures) for one in with_pictures]
    shared = [name for name in first if all(name in other for other in others)] or first
    places = np.linspace(0, len(shared) - 1, min(study.sheet.samples, len(shared))).round().astype(int)
    chosen = [shared[place] for place in dict.fromkeys(places.tolist())]
    width = (len(with_pictures) + 1) * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, CAPTION + GAP + len(chosen) * (SIDE + CAPTION + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, one in enumerate(with_pictures):
        draw_caption(pen, ((column + 1) * (SIDE + GAP), 2), one.cell.name, SIDE)
    for line, name in enumerate(chosen):
        top = CAPTION + GAP + line * (SIDE + CAPTION + GAP)
        for column, one in enumerate(with_pictures):
            picture, caption = one.pictures.get(name, (None, ""))
            read = None if picture is None else _read(picture)
            if read is None:
                continue
            image, alpha = read
            left = (column + 1) * (SIDE + GAP)
            if column == 0:
                sheet.paste(_small(image), (0, top))
            sheet.paste(_small(_VIEWS[study.sheet.show](image, alpha)), (left, top))
            draw_caption(pen, (left, top + SIDE + 1), caption, SIDE)
    write_picture(file, sheet)


def _read(file: Path) -> tuple[Tensor, Tensor] | None:
    """The image (3, H, W) and the alpha (1, H, W) of a cut-out; None if it cannot be read."""
    try:
        with Image.open(file) as picture:
            values = torch.from_numpy(np.array(picture.convert("RGBA"), dtype=np.float32)).permute(2, 0, 1) / 255
    except (OSError, ValueError):
        return None
    return values[:3], values[3:]


def _small(picture: Tensor) -> Image.Image:
    image = to_picture(picture)
    image.thumbnail((SIDE, SIDE))
    return image
