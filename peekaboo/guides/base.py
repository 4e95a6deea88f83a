"""The contract of what a filter respects."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ..functional.framing import Framing
from ..identity import Configured


class Guide(Configured, nn.Module):
    """Maps an image to the features whose edges a filter keeps. Frozen: it is called once an image, without gradient."""

    def begin(self, framing: Framing) -> None:
        """Hears, before new images come, how they were made squares; for guides that read maps of their own.

        Args:
            framing: see :func:`peekaboo.functional.framing.frame`.
        """

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Maps (N, 3, H, W) in [0, 1] to (N, G, H, W), any number of channels G."""
