"""The Fourier image: a network from pixel coordinates to colour, the paper's "neural neural texture"."""

from __future__ import annotations

import torch
from torch import Tensor

from ..alphas.fourier import Fourier as Field
from ..functional.random import Draws
from ..teachers.base import Teacher
from .base import Image


class Fourier(Image):
    """Fourier features of (x, y) and a per-pixel network with a sigmoid at its end; see :class:`peekaboo.alphas.Fourier`.

    Args:
        features: number of frequencies.
        scale: standard deviation of the frequencies, in cycles an image side: larger for finer detail.
        width: channels of the hidden layers.
        depth: number of hidden layers.
        opacity: whether the network has a fourth output, the logit of the image's own opacity, as published; then the
            generator's ``alpha`` is null.
    """

    def __init__(self, features: int = 128, scale: float = 10.0, width: int = 256, depth: int = 3, opacity: bool = False) -> None:
        super().__init__()
        self.opacity = opacity
        self.field = Field(features, scale, width, depth, channels=4 if opacity else 3)

    def reset(self, draws: Draws, size: tuple[int, int], teacher: Teacher | None) -> None:
        self.field.start(draws, size)

    def forward(self) -> Tensor:
        with torch.autocast(self.field.frequencies.device.type, enabled=False):  # a half precision is for the frozen networks
            return self.field.logits()[:, :3].sigmoid()

    def opacity_logits(self) -> Tensor:
        return self.field.logits()[:, 3:] if self.opacity else super().opacity_logits()
