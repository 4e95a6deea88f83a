"""Begin at maps that are at hand: the masks of a frame before, say."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing
from ..functional.random import Draws
from ..teachers.base import Teacher
from .base import Start, framed_map


class Given(Start):
    """Maps from Python, one a pair.

    Args:
        values: (H, W) in [0, 1] each, of the whole image, at any size.
        scale, noise: see :class:`Start`.
    """

    def __init__(self, values: list[Tensor], scale: float = 2.0, noise: float = 0.1) -> None:
        super().__init__(scale, noise)
        for one in values:
            if one.ndim != 2 or not one.is_floating_point():
                raise ValueError(f"start: expected float maps (H, W) in [0, 1], got {one.dtype} {tuple(one.shape)}")
        self.values = values

    def maps(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        if len(self.values) != len(pairs):
            raise ValueError(f"start: expected a map for each of {len(pairs)} pairs, got {len(self.values)}")
        return torch.stack([framed_map(own, images.shape[-1], framing) for own in self.values]).to(images.device)

    def scaled(self, maps: Tensor) -> Tensor:
        return maps.clamp(0, 1)
