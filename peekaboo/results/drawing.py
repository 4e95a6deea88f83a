"""Pictures that a person reads at a glance: outlines and labels over an image, and what came of it side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from ..functional.compositing import composite
from ..functional.pieces import box
from .captions import draw_caption, font_for, written

if TYPE_CHECKING:  # a result draws itself by this file
    from .result import Result

Colour = tuple[float, float, float]
Box = tuple[int, int, int, int]
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
TITLE = 18  # pixels above a picture


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


def outlined(
    image: Tensor,
    masks: Sequence[Tensor],
    labels: Sequence[str],
    colours: Sequence[Colour] | None = None,
    in_corner: bool = False,
) -> Image.Image:
    """Draws masks over an image: tinted, with an outline of white in black that stands out from any colour, and labelled.

    Args:
        image: (3, H, W) in [0, 1].
        masks: (H, W) bool each.
        labels: one for each mask; an empty one is left out.
        colours: one for each mask; None for those that stand out from what they cover.
        in_corner: write labels in the upper left corner, where those of a film stay, and not where they hide least.
    """
    colours = colours_for(image, masks) if colours is None else colours
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
    taken = everywhere.numpy().astype(np.float32)
    detail = 0.1 * np.hypot(*np.gradient(grey[0].numpy())) if min(picture.size) > 1 else 0 * taken
    for number, (mask, label, colour) in enumerate(zip(masks, labels, colours, strict=True)):
        if label:
            left, top, right, bottom = _label(picture, None if in_corner else mask, taken + detail, label, colour, number)
            taken[top:bottom, left:right] = 1
    return picture


def _label(picture: Image.Image, mask: Tensor | None, hidden: Any, text: str, colour: Colour, number: int) -> Box:
    """Writes black on the mask's colour in a black frame, beside the mask where least is hidden.

    Args:
        picture: to write on.
        mask: (H, W) bool that it is the label of; None for the upper left corner, as of an empty one.
        hidden: (H, W), what it costs to hide each pixel.
        text, colour: of the label.
        number: of the label, for the corner.

    Returns:
        Where it is.
    """
    draw = ImageDraw.Draw(picture)
    font = font_for(text)
    width = min(round(draw.textlength(written(text, font), font=font)) + 8, picture.width)
    height = min(18, picture.height)
    around = None if mask is None else box(mask.numpy())
    places = [(0, number * height)] if around is None else _beside(around, width, height)
    inside = [(max(min(x, picture.width - width), 0), max(min(y, picture.height - height), 0)) for x, y in places]
    left, top = min(inside, key=lambda place: float(hidden[place[1] : place[1] + height, place[0] : place[0] + width].mean()))
    fill = tuple(round(255 * value) for value in _readable(colour))
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=fill, outline="black")
    draw_caption(draw, (left + 4, top + 2), text, width - 7)
    return left, top, left + width, top + height


def _beside(around: Box, width: int, height: int) -> list[tuple[int, int]]:
    """Returns left and top of the places for a label beside a box (left, top, width, height), the usual ones first."""
    left, top, wide, high = around
    columns = (left, left + (wide - width) // 2, left + wide - width)
    rows = (top, top + (high - height) // 2, top + high - height)
    above_and_below = [(x, y) for y in (top - height - 2, top + high + 2) for x in columns]
    return above_and_below + [(x, y) for x in (left + wide + 2, left - width - 2) for y in rows]


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
    return outlined(image, [result.shape for result in results], [label_of(result) for result in results])


def side_by_side(result: Result, side: int = 512) -> Image.Image:
    """Puts image, overlay and cut-out beside each other, with titles.

    Args:
        result: what to show.
        side: pixels that a picture has at most.
    """
    cut = result.cutout_tensor
    over = composite(cut[:3], checkerboard(*result.alpha.shape), cut[3])
    return titled([to_picture(result.image), result.overlay, to_picture(over)], ("image", result.prompt, "cut-out"), side)


def titled(pictures: Sequence[Image.Image], titles: Sequence[str], side: int = 512, columns: int = 3) -> Image.Image:
    """Puts pictures of one size beside and below each other, each under its title.

    Args:
        pictures: RGB or grey.
        titles: one for each.
        side: pixels that a picture has at most.
        columns: that there are at most.
    """
    scale = min(side / max(pictures[0].size), 1)
    width, height = (max(round(scale * length), 1) for length in pictures[0].size)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + TITLE + GAP) - GAP), "white")
    for place, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left, top = place % columns * (width + GAP), place // columns * (height + TITLE + GAP)
        draw_caption(ImageDraw.Draw(sheet), (left, top + 2), title, width)
        sheet.paste(picture.resize((width, height), Image.Resampling.LANCZOS) if scale < 1 else picture, (left, top + TITLE))
    return sheet
