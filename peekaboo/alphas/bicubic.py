"""The bicubic field: a coarse grid of numbers, and a smooth surface through it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..functional.framing import resize
from ..functional.random import Draws
from .base import Alpha


class Bicubic(Alpha):
    """A grid of learnable values, interpolated to every pixel by cubic convolution (Keys 1981), N(0, 1) at first.

    A pixel hears of its neighbours in every step, since four by four values of the grid decide it: there are no specks, and no
    holes smaller than a cell. What is thinner than a cell can only be found with a filter around the field.

    Args:
        cells: values along each side of the image.
        scale: standard deviation of the initial values.
    """

    def __init__(self, cells: int = 16, scale: float = 1.0) -> None:
        super().__init__()
        if cells < 1:
            raise ValueError(f"cells: expected at least 1, got {cells}")
        self.cells, self.scale = cells, scale

    def reset(self, image: Tensor, seeds: list[int]) -> None:
        self.size = (image.shape[-2], image.shape[-1])
        self.grid = nn.Parameter(self.scale * Draws(seeds, device=image.device).normal(1, self.cells, self.cells))

    def begin_at(self, logits: Tensor) -> None:
        """Takes the logits' means over cells, weighted bilinearly."""
        with torch.no_grad():
            self.grid.copy_(resize(logits, (self.cells, self.cells)))

    def logits(self) -> Tensor:
        return F.interpolate(self.grid, self.size, mode="bicubic", align_corners=False)
