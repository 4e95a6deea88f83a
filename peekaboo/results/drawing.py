"""Pictures that a person reads at a glance: outlines and labels over an image, and what came of it side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from ..functional.compositing import composite
from .captions import draw_caption, font_for, written

if TYPE_CHECKING:  # a result draws itself by this file
    from .result import Result

Colour = tuple[float, float, float]
#: Okabe and Ito's palette, which people of any colour vision tell apart, without its black.
PALETTE: tuple[Colour, ...] = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
)
GAP = 8  # pixels between pictures


def to_picture(image: Tensor) -> Image.Image:
    """Makes an 8-bit picture of a (3 or 4, H, W) or (H, W) tensor in [0, 1] (or bool)."""
    pixels = (image.detach().float().cpu().clamp(0, 1) * 255).round().byte().numpy()
    return Image.fromarray(pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def checkerboard(height: int, width: int, cell: int = 8) -> Tensor:
    """The usual backdrop of transparent pictures: (3, height, width) in light greys."""
    rows, columns = torch.arange(height)[:, None] // cell, torch.arange(width)[None] // cell
    return (0.8 + 0.15 * ((rows + columns) % 2)).expand(3, height, width)


def colours_for(image: Tensor, masks: Sequence[Tensor]) -> list[Colour]:
    """Chooses a colour of the palette for each mask: of those that are left, the one that is least like what it covers.

    Args:
        image: (3, H, W) in [0, 1].
        masks: (H, W) bool each; of more than the palette has colours, some have the same.
    """
    chosen: list[Colour] = []
    for mask in masks:
        covered = image[:, mask].mean(1) if mask.any() else image.mean((1, 2))
        left = [colour for colour in PALETTE if chosen.count(colour) == len(chosen) // len(PALETTE)]
        chosen.append(max(left, key=lambda colour: float((torch.tensor(colour) - covered.cpu()).square().sum())))
    return chosen


def outlined(image: Tensor, masks: Sequence[Tensor], labels: Sequence[str]) -> Image.Image:
    """Draws masks over an image: tinted, with an outline of white in black that stands out from any colour, and labelled.

    Args:
        image: (3, H, W) in [0, 1].
        masks: (H, W) bool each.
        labels: one for each mask; an empty one is left out.
    """
    colours = colours_for(image, masks)
    everywhere = torch.stack(list(masks)).any(0)
    grey = image.mean(0, keepdim=True)
    out = torch.where(everywhere, image, 0.5 * image + 0.2 * grey)  # what no mask covers stands back
    for mask, colour in zip(masks, colours, strict=True):
        out = torch.where(mask, 0.65 * out + 0.35 * torch.tensor(colour)[:, None, None], out)
    thick = max(round(max(image.shape[-2:]) / 400), 1)
    for mask, colour in zip(masks, colours, strict=True):
        if mask.any() and not mask.all():
            inside = ndimage.distance_transform_edt(mask.numpy())
            outside = ndimage.distance_transform_edt(~mask.numpy())
            bands = (((outside > 0) & (outside <= thick), (0.0, 0.0, 0.0)), ((inside > 0) & (inside <= thick), (1.0, 1.0, 1.0)))
            for band, own in (*bands, ((inside > thick) & (inside <= 2 * thick), colour)):
                out = torch.where(torch.from_numpy(band), torch.tensor(own)[:, None, None], out)
    picture = to_picture(out)
    for number, (mask, label, colour) in enumerate(zip(masks, labels, colours, strict=True)):
        if label:
            _label(picture, mask, label, colour, number)
    return picture


def _label(picture: Image.Image, mask: Tensor, text: str, colour: Colour, number: int) -> None:
    """Writes black on the mask's colour in a black frame, above the mask where there is room."""
    draw = ImageDraw.Draw(picture)
    font = font_for(text)
    width = min(round(draw.textlength(written(text, font), font=font)) + 8, picture.width)
    height = min(18, picture.height)
    rows, columns = (np.flatnonzero(mask.numpy().any(axis)) for axis in (1, 0))
    left, top = (int(columns[0]), int(rows[0]) - height - 2) if len(rows) else (0, number * height)
    left, top = max(min(left, picture.width - width), 0), max(min(top, picture.height - height), 0)
    fill = tuple(round(255 * value) for value in _readable(colour))
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=fill, outline="black")
    draw_caption(draw, (left + 4, top + 2), text, width - 7)


def _readable(colour: Colour) -> Colour:
    """A light shade of a colour, on which black letters can be read."""
    red, green, blue = (0.5 + 0.5 * value for value in colour)
    return red, green, blue


def label_of(result: Result) -> str:
    """What stands on the label of a result."""
    return result.prompt if result.iou is None else f"{result.prompt}  IoU {result.iou:.2f}"


def all_of(results: Sequence[Result]) -> Image.Image:
    """Draws the masks of several prompts over their one image, in colours.

    Raises:
        ValueError: if they are of different images.
    """
    image = results[0].image
    if any(result.image.shape != image.shape or not torch.equal(result.image, image) for result in results[1:]):
        raise ValueError("results: expected some of one image, got several images")
    return outlined(image, [result.mask for result in results], [label_of(result) for result in results])


def side_by_side(result: Result, side: int = 512) -> Image.Image:
    """Puts image, overlay and cut-out beside each other, with titles.

    Args:
        result: what to show.
        side: pixels that a picture has at most.
    """
    cut = result.cutout_tensor
    over = composite(cut[:3], checkerboard(*result.alpha.shape), cut[3])
    pictures = [to_picture(result.image), result.overlay, to_picture(over)]
    scale = min(side / max(pictures[0].size), 1)
    width, height = (max(round(scale * length), 1) for length in pictures[0].size)
    size = (width, height)
    sheet = Image.new("RGB", (3 * size[0] + 2 * GAP, size[1] + 18), "white")
    for place, (picture, title) in enumerate(zip(pictures, ("image", result.prompt, "cut-out"), strict=True)):
        left = place * (size[0] + GAP)
        draw_caption(ImageDraw.Draw(sheet), (left, 2), title, size[0])
        sheet.paste(picture.resize(size, Image.Resampling.LANCZOS) if scale < 1 else picture, (left, 18))
    return sheet
