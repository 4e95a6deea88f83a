"""The contact sheet: what the best, the median and the worst samples of a run look like."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from ..data.base import Sample, SampleData
from ..results.captions import draw_caption
from ..results.drawing import to_picture
from ..results.files import overlay
from ..results.result import Threshold
from ..results.writing import write_picture
from .folder import RunFolder
from .metrics import Scores

CELL, GAP, CAPTION = 160, 6, 16


def choose(ious: list[float], count: int) -> list[int]:
    """Returns places of the ``count`` best, median and worst values each, best first, none twice."""
    order = sorted(range(len(ious)), key=lambda i: -ious[i])
    middle = max((len(order) - count) // 2, 0)
    chosen = [*order[:count], *order[middle : middle + count], *order[max(len(order) - count, 0) :]]
    return list(dict.fromkeys(chosen))


def contact_sheet(folder: RunFolder, data: SampleData, rows: list[dict[str, Any]], count: int, threshold: Threshold) -> None:
    """Writes ``contact_sheet.png``: a line a sample, with image, ground truth (if there is one), alpha and overlay.

    Without a ground truth samples are ranked by the share of the image that their mask covers: what is empty or full is seen.

    Args:
        folder: with the samples' alphas.
        data: whose samples.
        rows: of them.
        count: of the best, the median and the worst samples each.
        threshold: that the run is configured with; it makes the masks, and ranks the samples.
    """
    scored = [row for row in rows if row["scores"] is not None]
    shown = scored or [row for row in rows if row["error"] is None]
    if not shown:
        return
    ranks = (
        Scores.from_rows([row["scores"] for row in scored]).iou_own.tolist() if scored else [r["mask_fraction"] for r in shown]
    )
    places = {name: i for i, name in enumerate(data.ids())}
    lines = []
    for i in choose(ranks, count):
        sample = data.opened()[places[shown[i]["id"]]]
        if isinstance(sample, Sample) and folder.picture("alphas", sample.id).is_file():
            alpha = folder.alpha(sample.id)
            said = f"IoU {ranks[i]:.3f}" if scored else f"covers {ranks[i]:.1%}"
            lines.append(_line(sample, alpha, shown[i]["own_threshold"], f"{said}   {sample.prompt}   ({sample.id})"))
    if lines:
        title = (
            f"IoU and overlay at the threshold {threshold}"
            if scored
            else f"share covered, and overlay at the threshold {threshold}"
        )
        write_picture(folder.path / "contact_sheet.png", _stack(lines, title))


def _line(sample: Sample, alpha: Tensor, threshold: float, caption: str) -> Image.Image:
    truth = [] if sample.mask is None else [sample.mask.float().expand(3, -1, -1)]
    pictures = [sample.image, *truth, alpha.expand(3, -1, -1), overlay(sample.image, (alpha > threshold).float()[None])]
    line = Image.new("RGB", (len(pictures) * (CELL + GAP) - GAP, CELL + CAPTION), "white")
    draw_caption(ImageDraw.Draw(line), (0, 2), caption, line.width)
    for place, picture in enumerate(pictures):
        scale = CELL / max(picture.shape[-2:])
        size = [max(round(side * scale), 1) for side in picture.shape[-2:]]
        small = F.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]
        line.paste(to_picture(small), (place * (CELL + GAP), CAPTION))
    return line


def _stack(lines: list[Image.Image], title: str) -> Image.Image:
    height = CAPTION + sum(line.height + GAP for line in lines)
    sheet = Image.new("RGB", (lines[0].width, height), "white")
    draw_caption(ImageDraw.Draw(sheet), (0, 2), title, sheet.width)
    top = CAPTION
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height + GAP
    return sheet
