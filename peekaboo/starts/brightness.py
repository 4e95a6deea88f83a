"""Begin at the image's own brightness."""

from __future__ import annotations

from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing
from ..functional.random import Draws
from ..teachers.base import Teacher
from .base import Start


class Brightness(Start):
    """The mean of the image's channels: what a filter makes of a picture can be looked at, with no teacher in it.

    Args:
        scale, noise: see :class:`Start`.
    """

    def maps(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        return images.mean(1, keepdim=True)

    def scaled(self, maps: Tensor) -> Tensor:
        return maps.clamp(0, 1)
