"""The contract of where an optimisation begins."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from ..data.base import Sample
from ..functional.framing import Framing, frame, resize
from ..functional.maps import stretch
from ..functional.random import Draws
from ..identity import Configured
from ..teachers.base import Teacher


class Start(Configured, nn.Module):
    """Gives every pair a map m in [0, 1], high where its object probably is; logits begin at scale (2 m - 1) plus noise.

    To add one, subclass this, implement :meth:`maps`, and name the class in YAML as the segmenter's ``start``.

    Args:
        scale: of the logits: at 2, opacity begins between .12 and .88.
        noise: standard deviation of what is added to them; it tells seeds apart.
    """

    cost = 0.0  #: about how many iterations it takes the time of

    def __init__(self, scale: float = 2.0, noise: float = 0.1) -> None:
        super().__init__()
        if not 0 < scale < float("inf"):
            raise ValueError(f"start.scale: expected a number above 0, got {scale}")
        if not 0 <= noise < float("inf"):
            raise ValueError(f"start.noise: expected 0 or more, got {noise}")
        self.scale, self.noise = scale, noise

    @abstractmethod
    def maps(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        """Returns maps (N, 1, h, w) of any range and size, high where the object is.

        Args:
            images: (N, 3, H, W) in [0, 1], framed.
            pairs: what they are of, with prompts and ids.
            framing: how they were framed, for maps that are of the whole image.
            draws: the only source of randomness, so that a map does not depend on its neighbours.
            teacher: of the loss; None where it has none.

        Raises:
            ValueError: in one line, for what cannot be had.
        """

    @torch.no_grad()
    def forward(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        """Returns the logits to begin with, (N, 1, H, W) float32; arguments as of :meth:`maps`."""
        found = self.maps(images, pairs, framing, draws.of("maps"), teacher).float()
        size = (images.shape[-2], images.shape[-1])
        return self.scale * (2 * self.scaled(resize(found, size)) - 1) + self.noise * draws.of("noise").normal(1, *size)

    def scaled(self, maps: Tensor) -> Tensor:
        """Brings raw maps to [0, 1]; those that already have a meaning there may only be clamped."""
        return stretch(maps)


def need(teacher: Teacher | None, start: Start) -> Teacher:
    """Returns the teacher.

    Raises:
        ValueError: if the loss has none.
    """
    if teacher is None:
        raise ValueError(f"start: expected a loss with a diffusion model for {type(start).__name__}, got one without")
    return teacher


def framed_map(values: Tensor, side: int, framing: Framing) -> Tensor:
    """Frames a map of a whole image as the image was: (H, W) to (1, side, side)."""
    return frame(values[None].float(), side, framing)
