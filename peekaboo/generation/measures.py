"""What is measured of an image with transparency, by a judge that took no part in making it."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ..data.looks import vocabulary
from ..data.scenes import noun_phrase
from ..functional.compositing import composite
from ..functional.edges import filled
from ..results.generated import HALF, half_transparent, photograph
from ..teachers.clip import CLIP

COLOURS = {
    "grey": (0.5, 0.5, 0.5),
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "cyan": (0.0, 1.0, 1.0),
    "magenta": (1.0, 0.0, 1.0),
}
PHOTOGRAPHS = 2
#: What a valid alpha has: area, share of half-transparent pixels, of opaque pixels on the border, of the largest piece.
LEAST_AREA, MOST_AREA, MOST_HALF, MOST_BORDER, LEAST_LARGEST = 0.03, 0.85, 0.2, 0.02, 0.9


@dataclass(frozen=True)
class Shape:
    """What can be said of an alpha without knowing what it is of.

    Attributes:
        area: share of the pixels above one half.
        half: share of the half-transparent pixels.
        border: share of the picture's outermost pixels above one half.
        largest: share of the opaque pixels that the largest connected piece has; 0 where there are none.
    """

    area: float
    half: float
    border: float
    largest: float

    @property
    def valid(self) -> bool:
        """Whether it is neither empty nor full, sharp, inside the picture, and in one piece."""
        inside = LEAST_AREA <= self.area <= MOST_AREA and self.border <= MOST_BORDER
        return inside and self.half <= MOST_HALF and self.largest >= LEAST_LARGEST


def shape_of(alpha: Tensor) -> Shape:
    """Measures an alpha (H, W) in [0, 1]."""
    opaque = alpha > 0.5
    rim = torch.ones_like(opaque)
    rim[1:-1, 1:-1] = False
    pieces, _ = ndimage.label(opaque.numpy())
    sizes = np.bincount(pieces.ravel())[1:]
    largest = sizes.max() / sizes.sum() if len(sizes) else 0.0
    return Shape(float(opaque.float().mean()), half_transparent(alpha), float(opaque[rim].float().mean()), float(largest))


def spill(rgba: Tensor) -> float | None:
    """How far the colours of half-transparent pixels are from those of the opaque ones beside them, in [0, 1].

    Args:
        rgba: (4, H, W) in [0, 1].

    Returns:
        The mean absolute difference over the half-transparent pixels; None where there are none, or nothing is opaque.
    """
    image, alpha = rgba[None, :3], rgba[None, 3:]
    solid, edge = (alpha >= HALF[1]).float(), (alpha[0, 0] > HALF[0]) & (alpha[0, 0] < HALF[1])
    if not solid.any() or not edge.any():
        return None
    return float((image - filled(image, solid)).abs().mean(1)[0][edge].mean())


class Judge:
    """Names what is to be seen over eleven backgrounds: nine colours (AlphaVAE's) and two photograph-like ones.

    Args:
        clip: the judge; the embedded one names all 122 objects of the embedded world.
        side: in pixels of what it is shown.
    """

    def __init__(self, clip: CLIP, side: int = 128) -> None:
        self.clip, self.names = clip, list(vocabulary())
        self.texts = clip.embed_text([noun_phrase(name) for name in self.names])
        colours = [torch.tensor(colour)[:, None, None].expand(3, side, side) for colour in COLOURS.values()]
        self.grounds = torch.stack([*colours, *(photograph(side, seed) for seed in range(PHOTOGRAPHS))])

    @torch.no_grad()
    def similarities(self, rgba: Tensor) -> Tensor:
        """Cosine similarity (11, 122) of a picture (4, H, W) over each background with each name."""
        seen = composite(rgba[:3].expand_as(self.grounds), self.grounds, rgba[None, 3:])
        return self.clip.embed_image(seen) @ self.texts.T

    def named(self, rgba: Tensor, word: str) -> list[bool]:
        """Whether the best of the 122 names is the right one, over each background."""
        return (self.similarities(rgba).argmax(1) == self.names.index(word)).tolist()

    def fit(self, rgba: Tensor, word: str) -> float:
        """Mean similarity with the word over the backgrounds."""
        return float(self.similarities(rgba)[:, self.names.index(word)].mean())

    @torch.no_grad()
    def diversity(self, pictures: list[Tensor]) -> float | None:
        """Mean of 1 - cosine between the embeddings of every two pictures (4, H, W), over grey; None for a single one."""
        if len(pictures) < 2:
            return None
        seen = torch.stack([composite(x[None, :3], self.grounds[:1], x[None, 3:])[0] for x in pictures])
        found = self.clip.embed_image(seen)
        return float(np.mean([1 - float(a @ b) for a, b in itertools.combinations(found, 2)]))


def measured(judge: Judge, rgba: Tensor, word: str, other_alpha: Tensor | None) -> dict[str, float | None]:
    """All figures of one picture.

    Args:
        judge: see there.
        rgba: (4, H, W) in [0, 1].
        word: what it is to show.
        other_alpha: (H, W) of another picture, or None where there is none.
    """
    hits, own = judge.named(rgba, word), judge.fit(rgba, word)
    shape = shape_of(rgba[3])
    swapped = None if other_alpha is None else torch.cat([rgba[:3], other_alpha[None]])
    complement = torch.cat([rgba[:3], 1 - rgba[3:]])
    return {
        "named": float(np.mean(hits)),
        "named_on_the_worst": float(all(hits)),
        "valid": float(shape.valid),
        **asdict(shape),
        "over_swapped": None if swapped is None else own - judge.fit(swapped, word),
        "over_complement": own - judge.fit(complement, word),
        "spill": spill(rgba),
    }
