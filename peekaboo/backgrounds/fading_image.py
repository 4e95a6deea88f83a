"""The image itself, shining through at first."""

from __future__ import annotations

import torch
from torch import Tensor

from ..functional.random import Draws
from .random_colour import RandomColour


class FadingImage(RandomColour):
    """The image itself, shining through a random colour, for the first part of an optimisation; then the colour alone.

    Over a plain colour an opacity of one half shows ghosts, and of ghosts a teacher judges by colour more than by shape: of
    two alike objects it lets both grow. Over ``visible * image + (1 - visible) * colour`` the composite is the image at an
    opacity of ``visible + (1 - visible) * alpha``: no object can vanish before the teacher has said which one is meant.
    Not published; it was found on the embedded teacher (docs/notebook.md).

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
