"""What a composite is laid over."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from .functional.random import Draws


class Background(nn.Module):
    """Gives a background for every sample and step."""

    @abstractmethod
    def forward(self, image: Tensor, draws: Draws) -> Tensor:
        """Returns a background in [0, 1] that broadcasts to the image (N, 3, H, W)."""


class RandomColour(Background):
    """One uniform random RGB colour a sample and step, as published."""

    def forward(self, image: Tensor, draws: Draws) -> Tensor:
        return draws.uniform(3, 1, 1)


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


class FadingImage(RandomColour):
    """The image itself, shining through a random colour, for the first part of an optimisation; then the colour alone.

    Over a plain colour an opacity of one half shows ghosts, and of ghosts a teacher judges by colour more than by shape: of
    two alike objects it lets both grow. Over ``visible * image + (1 - visible) * colour`` the composite is the image at an
    opacity of ``visible + (1 - visible) * alpha``: no object can vanish before the teacher has said which one is meant.
    Not published; it was found on the embedded teacher (docs/performance.md).

    Args:
        visible: share of the image in the background, in [0, 1).
        until: share of the iterations after which the image is gone, in [0, 1].
    """

    def __init__(self, visible: float = 0.8, until: float = 0.2) -> None:
        super().__init__()
        if not 0 <= visible < 1:
            raise ValueError(f"visible: expected a number in [0, 1), got {visible}")
        if not 0 <= until <= 1:
            raise ValueError(f"until: expected a number in [0, 1], got {until}")
        self.visible, self.until = visible, until

    def forward(self, image: Tensor, draws: Draws) -> Tensor:
        colour = super().forward(image, draws)
        return torch.lerp(colour.expand_as(image), image, self.visible) if draws.progress < self.until else colour
