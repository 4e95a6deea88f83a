"""The raster field: one free number a pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..functional.random import Draws
from .base import Alpha


class Raster(Alpha):
    """A learnable value for every pixel, N(0, 1) at first (Peekaboo, section 3.4).

    Args:
        scale: standard deviation of the initial values.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def reset(self, image: Tensor, seeds: list[int]) -> None:
        self.field = nn.Parameter(self.scale * Draws(seeds, device=image.device).normal(1, *image.shape[-2:]))

    def begin_at(self, logits: Tensor) -> None:
        with torch.no_grad():
            self.field.copy_(logits)

    def logits(self) -> Tensor:
        return self.field
