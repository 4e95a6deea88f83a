"""The image's colours and its depth together as the guide: an edge of either stops the filter."""

from __future__ import annotations

import torch
from torch import Tensor

from ..functional.framing import Framing
from .base import Guide
from .depth import Depth


class RGBDepth(Guide):
    """Pixels that are alike in colour and in depth get a similar alpha.

    A filter's tolerance is in the units of its guide, so that of the depth is ``tolerance / depth_weight``.

    Args:
        depth_weight: what the depth, scaled to [0, 1] in each image, is multiplied by beside the colours.
        path, map, revision: of the depth, see :class:`peekaboo.guides.Depth`.

    Raises:
        ValueError: for a weight that is not positive.
    """

    def __init__(
        self, depth_weight: float = 1.0, path: str = "embedded", map: str | None = None, revision: str | None = None
    ) -> None:
        super().__init__()
        if depth_weight <= 0:
            raise ValueError(f"depth_weight: expected a positive number, got {depth_weight}")
        self.depth_weight, self.depth = depth_weight, Depth(path, map, revision)

    def begin(self, framing: Framing) -> None:
        self.depth.begin(framing)

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat((image, self.depth_weight * self.depth(image)), dim=1)
