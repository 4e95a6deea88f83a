"""A random colour: the published background."""

from __future__ import annotations

from torch import Tensor

from ..functional.random import Draws
from .base import Background


class RandomColour(Background):
    """One uniform random RGB colour a sample and step, as published."""

    def forward(self, image: Tensor, draws: Draws) -> Tensor:
        return draws.uniform(3, 1, 1)
