"""A transparent border around any alpha, and a pull to the middle."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Alpha


class Margin(Alpha):
    """Keeps the border of a map transparent, so that an object which is generated is whole.

    An object that reaches over the edge of a picture is as good as a whole one to a teacher, which has seen many. With a border
    that nothing can fill it would end in a straight cut in the midst of the picture, which the teacher has not seen. A pull lets
    it begin in the middle, away from there.

    Args:
        field: any other alpha.
        pixels: that are transparent along each side.
        pull: how much lower the logits are in the middle of each side than in the centre; it grows with the distance squared.
        lift: what is added to all logits, so that the centre begins opaque.
    """

    inside: Tensor
    slope: Tensor

    def __init__(self, field: Alpha, pixels: int = 8, pull: float = 0.0, lift: float = 0.0) -> None:
        super().__init__()
        if pixels < 0 or pull < 0:
            raise ValueError(f"pixels, pull: expected 0 or more, got {pixels}, {pull}")
        if field.coupled:
            raise ValueError(f"field: expected an alpha of its own, got {type(field).__name__}; it may be around Margin instead")
        self.field, self.pixels, self.pull, self.lift = field, pixels, pull, lift

    def reset(self, image: Tensor, seeds: list[int]) -> None:
        height, width = image.shape[-2:]
        if 2 * self.pixels >= min(height, width):
            raise ValueError(f"pixels: expected less than half a map of {height} x {width}, got {self.pixels}")
        self.field.reset(image, seeds)
        inside = torch.zeros(height, width, device=image.device)
        inside[self.pixels : height - self.pixels, self.pixels : width - self.pixels] = 1
        self.register_buffer("inside", inside, persistent=False)
        y, x = torch.linspace(-1, 1, height, device=image.device), torch.linspace(-1, 1, width, device=image.device)
        self.register_buffer("slope", self.lift - self.pull * (y[:, None].square() + x.square()), persistent=False)

    def begin_at(self, logits: Tensor) -> None:
        self.field.begin_at(logits - self.slope)

    def logits(self) -> Tensor:
        return self.field.logits() + self.slope

    def forward(self) -> Tensor:
        return self.logits().sigmoid() * self.inside
