"""The raster image: three free numbers a pixel."""

from __future__ import annotations

from torch import Tensor, nn

from ..functional.random import Draws
from ..teachers.base import Teacher
from .base import Image


class Raster(Image):
    """A learnable colour for every pixel, behind a sigmoid (Peekaboo, appendix B.2, "pixel-level representation").

    Args:
        scale: standard deviation of the initial values, before the sigmoid.
    """

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.scale = scale

    def reset(self, draws: Draws, size: tuple[int, int], teacher: Teacher | None) -> None:
        self.field = nn.Parameter(self.scale * draws.normal(3, *size))

    def forward(self) -> Tensor:
        return self.field.sigmoid()
