"""An image's own opacity as an alpha."""

from __future__ import annotations

from torch import Tensor

from ..alphas.base import Alpha
from .base import Image


class Channel(Alpha):
    """The fourth channel of an image that has one: colour and opacity of one network, as published.

    It has no parameters of its own; the image that it is of is started and trained by whoever has it.

    Args:
        image: whose opacity it is.
    """

    def __init__(self, image: Image) -> None:
        super().__init__()
        self._image = [image]  # in a list, so that its parameters are not found twice

    def reset(self, image: Tensor, seeds: list[int]) -> None:
        """Does nothing: the image is reset by its own name."""

    def logits(self) -> Tensor:
        return self._image[0].opacity_logits()
