"""Always the same colour."""

from __future__ import annotations

import torch
from torch import Tensor

from ..functional.random import Draws
from .base import Background


class FixedColour(Background):
    """Always the same colour.

    Args:
        colour: red, green and blue in [0, 1].
    """

    colour: Tensor

    def __init__(self, colour: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> None:
        super().__init__()
        if not all(0 <= value <= 1 for value in colour):
            raise ValueError(f"colour: expected three numbers in [0, 1], got {colour}")
        self.register_buffer("colour", torch.tensor(colour)[:, None, None], persistent=False)

    def forward(self, image: Tensor, draws: Draws) -> Tensor:
        return self.colour.expand(len(image), 3, 1, 1)
