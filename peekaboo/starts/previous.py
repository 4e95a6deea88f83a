"""Begin at the alpha of the frame before."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing
from ..functional.random import Draws
from ..teachers.base import Teacher
from .base import Start, framed_map


class Previous(Start):
    """Makes of a folder of images the frames of a film: each begins at the alpha that the last one had for the same prompt.

    `test` and `predict` then do one frame after the other, all prompts of a frame side by side, with the same random numbers
    for every frame. The first frame begins at one half everywhere.

    Args:
        scale, noise: see :class:`Start`.
    """

    def __init__(self, scale: float = 2.0, noise: float = 0.1) -> None:
        super().__init__(scale, noise)
        self._alphas: dict[str, Tensor] = {}

    def begin(self, alphas: dict[str, Tensor]) -> None:
        """Forgets all frames.

        Args:
            alphas: (H, W) by prompt, of the frame before the first that is to come; empty if there is none.
        """
        self._alphas = {prompt: in_16_bit(alpha) for prompt, alpha in alphas.items()}

    def remember(self, prompt: str, alpha: Tensor) -> None:
        """Keeps the alpha (H, W) of a frame that is done, as its file has it: a run that goes on begins at the same."""
        self._alphas[prompt] = in_16_bit(alpha)

    def maps(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        side = images.shape[-1]
        nothing = torch.full((1, side, side), 0.5)
        found = [
            framed_map(self._alphas[pair.prompt], side, framing) if pair.prompt in self._alphas else nothing for pair in pairs
        ]
        return torch.stack(found).to(images.device)

    def scaled(self, maps: Tensor) -> Tensor:
        return maps.clamp(0, 1)


def in_16_bit(alpha: Tensor) -> Tensor:
    """Rounds an alpha to what a 16-bit picture holds of it."""
    return (alpha.double() * 65535).round().float() / 65535
