"""How an optimised alpha becomes something that is used elsewhere: a cut-out, and the shape that is exported."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal, get_args

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ..functional.matting import closed_form, filter_at_full_size, foreground_colours, levels
from ..functional.optional import extra
from ..functional.pieces import clean

Cutout = Literal["raw", "clean", "hard"]
Edges = Literal["enlarged", "filtered", "matting"]


@dataclass(frozen=True)
class Finish:
    """What is done to an alpha for its cut-out and its exports. The alpha and the mask that is scored stay as they are.

    Attributes:
        cutout: ``clean``: nothing of the background, soft edges, and the object's own colours in them; ``hard``: the same
            with an opacity of 0 or 1; ``raw``: the alpha as it was optimised over the image's own colours.
        edges: how the alpha is brought from the resolution of the optimisation to the image's: ``enlarged``: interpolated;
            ``filtered``: then drawn along the image's edges by the joint bilateral filter; ``matting``: solved for near its
            edges by closed-form matting (the extra ``matting``; minutes for large images). Not for
            ``raw``.
        largest: keep the largest piece alone.
        fill_holes: make what the object encloses a part of it.
        min_area: drop pieces of a smaller share of the image, in [0, 1).

    Raises:
        ValueError: for a value that means nothing.
        ModuleNotFoundError: for ``matting`` without PyMatting.
    """

    cutout: Cutout = "clean"
    edges: Edges = "filtered"
    largest: bool = False
    fill_holes: bool = False
    min_area: float = 0.0

    def __post_init__(self) -> None:
        for argument, values in (("cutout", get_args(Cutout)), ("edges", get_args(Edges))):
            if getattr(self, argument) not in values:
                raise ValueError(f"finish.{argument}: expected one of {', '.join(values)}, got {getattr(self, argument)!r}")
        if not 0 <= self.min_area < 1:
            raise ValueError(f"finish.min_area: expected a share of the image, in [0, 1), got {self.min_area}")
        if self.edges == "matting":  # found out now, and not when the mask is there
            with extra("matting", "finish.edges: matting"):
                import pymatting  # noqa: F401

    @property
    def drops(self) -> bool:
        """Whether pieces may be dropped."""
        return self.largest or self.min_area > 0

    def shape(self, mask: Tensor) -> Tensor:
        """Returns a mask, (H, W) bool, with its pieces dropped and its holes filled as asked for."""
        if not (self.drops or self.fill_holes):
            return mask
        return torch.from_numpy(clean(mask.cpu().numpy(), self.largest, self.fill_holes, self.min_area))

    def cut_out(self, image: Tensor, alpha: Tensor, threshold: float, scale: float = 1.0) -> Tensor:
        """Returns the cut-out, (4, H, W) in [0, 1]: colours and opacity, not multiplied with one another.

        Args:
            image: (3, H, W) in [0, 1].
            alpha: (H, W) in [0, 1].
            threshold: of the mask.
            scale: how many times as large as it was optimised the alpha is.
        """
        if self.cutout == "raw":
            return torch.cat([image, self._pieces(alpha, alpha > threshold, scale)[None]])
        if not (alpha > threshold).any():  # no piece of it would have an opacity, or colours
            return torch.cat([image, torch.zeros_like(alpha)[None]])
        found = levels(alpha, threshold)
        if self.edges == "filtered":
            found = filter_at_full_size(image, found, scale)
        elif self.edges == "matting":
            found = closed_form(image, found, scale)
        found = self._pieces(found, found > 0.5, scale)
        if self.cutout == "hard":
            found = (found > 0.5).to(found.dtype)
        return torch.cat([foreground_colours(image, found), found[None]])

    def _pieces(self, alpha: Tensor, mask: Tensor, scale: float) -> Tensor:
        """Gives an alpha the pieces of its mask that are kept, and their soft edges."""
        if not (self.drops or self.fill_holes):
            return alpha
        kept = self.shape(mask)
        if self.drops:
            near = ndimage.distance_transform_edt(~kept.numpy()) <= ceil(scale) + 1 if kept.any() else np.zeros(kept.shape, bool)
            dropped = mask & ~kept
            alpha = torch.where(torch.from_numpy(near) & ~dropped, alpha, 0.0)
        return torch.where(kept & ~mask, 1.0, alpha) if self.fill_holes else alpha
