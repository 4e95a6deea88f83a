"""The contract of what a composite is laid over."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ..functional.random import Draws
from ..identity import Configured


class Background(Configured, nn.Module):
    """Gives a background for every sample and step."""

    @abstractmethod
    def forward(self, image: Tensor, draws: Draws) -> Tensor:
        """Returns a background in [0, 1] that broadcasts to the image (N, 3, H, W)."""
