"""How an optimised alpha becomes something that is used elsewhere: a cut-out, and the shape that is exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from scipy import ndimage
from torch import Tensor

from ..functional.matting import closed_form, filter_at_full_size, foreground_colours, levels
from ..functional.optional import extra
from ..functional.pieces import clean

Cutout = Literal["raw", "clean", "hard"]
Edges = Literal["enlarged", "filtered", "matting"]
SPECK = 0.001  # share of an image below which a piece of a mask is no object


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
        fill_holes: make all that the object encloses a part of it.
        min_area: drop pieces, and fill holes, of a smaller share of the image, in [0, 1); 0 keeps all. None for specks alone,
            those under :data:`SPECK`, and for none of a ``raw`` cut-out.

    Raises:
        ValueError: for a value that means nothing.
        ModuleNotFoundError: for ``matting`` without PyMatting.
    """

    cutout: Cutout = "clean"
    edges: Edges = "filtered"
    largest: bool = False
    fill_holes: bool = False
    min_area: float | None = None

    def __post_init__(self) -> None:
        for argument, values in (("cutout", get_args(Cutout)), ("edges", get_args(Edges))):
            if getattr(self, argument) not in values:
                raise ValueError(f"finish.{argument}: expected one of {', '.join(values)}, got {getattr(self, argument)!r}")
        if self.min_area is not None and not 0 <= self.min_area < 1:
            raise ValueError(f"finish.min_area: expected a share of the image, in [0, 1), got {self.min_area}")
        if self.edges == "matting":  # found out now, and not when the mask is there
            with extra("matting", "finish.edges: matting"):
                import pymatting  # noqa: F401

    def shape(self, mask: Tensor) -> Tensor:
        """Returns a mask, (H, W) bool, with its pieces dropped and its holes filled."""
        return self._cleaned(mask, SPECK if self.min_area is None else self.min_area)

    def pieces(self, alpha: Tensor, threshold: float) -> Tensor:
        """Returns an alpha, (H, W) in [0, 1], whose mask at a threshold is its shape: what is dropped is 0, with its soft edge,
        and what is filled is 1.
        """
        mask = alpha > threshold
        return _with_pieces(alpha, mask, self.shape(mask))

    def _cleaned(self, mask: Tensor, least: float) -> Tensor:
        if not (self.largest or self.fill_holes or least > 0):
            return mask
        return torch.from_numpy(clean(mask.cpu().numpy(), self.largest, self.fill_holes, least))

    def cut_out(self, image: Tensor, alpha: Tensor, threshold: float, scale: float = 1.0) -> Tensor:
        """Returns the cut-out, (4, H, W) in [0, 1]: colours and opacity, not multiplied with one another.

        Args:
            image: (3, H, W) in [0, 1].
            alpha: (H, W) in [0, 1].
            threshold: of the mask.
            scale: how many times as large as it was optimised the alpha is.
        """
        if self.cutout == "raw":
            mask = alpha > threshold
            return torch.cat([image, _with_pieces(alpha, mask, self._cleaned(mask, self.min_area or 0.0))[None]])
        if not (alpha > threshold).any():  # no piece of it would have an opacity, or colours
            return torch.cat([image, torch.zeros_like(alpha)[None]])
        found = self.pieces(levels(alpha, threshold), 0.5)  # before its edges: a filter would spread specks over the background
        if self.edges == "filtered":
            found = filter_at_full_size(image, found, scale)
        elif self.edges == "matting":
            found = closed_form(image, found, scale)
        found = self.pieces(found, 0.5)
        if self.cutout == "hard":
            found = (found > 0.5).to(found.dtype)
        return torch.cat([foreground_colours(image, found), found[None]])


def _with_pieces(alpha: Tensor, mask: Tensor, kept: Tensor) -> Tensor:
    """Gives an alpha the pieces of its mask that are kept: what is nearest to a dropped one, its soft edge, is 0 with it.

    Args:
        alpha: (H, W) in [0, 1].
        mask: (H, W) bool, what it shows.
        kept: (H, W) bool, the mask without some pieces, and with holes filled.
    """
    if (dropped := mask & ~kept).any():
        nearest = ndimage.distance_transform_edt(~mask.numpy(), return_distances=False, return_indices=True)
        alpha = torch.where(dropped[tuple(torch.from_numpy(nearest).long())], 0.0, alpha)
    return torch.where(kept & ~mask, 1.0, alpha)
