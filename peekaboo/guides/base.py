"""The contract of what a filter respects."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ..functional.framing import Framing


class Guide(nn.Module):
    """Maps an image to the features whose edges a filter keeps. Frozen: it is called once an image, without gradient.

    Attributes:
        framing: how the images were made squares; the segmenter says so.
    """

    framing: Framing = "stretch"

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Maps (N, 3, H, W) in [0, 1] to (N, G, H, W), any number of channels G."""
