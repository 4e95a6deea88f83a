"""LD-ZNet: masks from latents and from what a frozen diffusion model knows of them."""

from __future__ import annotations

from typing import Any

from ..teachers.diffusion import Diffusion
from .folder import Kind
from .fusion import Fusion
from .recipe import Recipe
from .training import PUBLISHED_TIMESTEPS, Training


class LDZNet(Training):
    """ZNet with a third attention, to the frozen teacher's features at the same places (section 3.2).

    Args:
        teacher: whose autoencoder, text and features it reads, and whose U-Net it starts from.
        output: folder of the trained network.
        recipe: see :class:`Recipe`.
        blocks: of the teacher's U-Net whose features are read, numbered from 1 in the order of the forward pass; each comes into
            the block at the same place. None for the published ones, 6 to 10 of Stable Diffusion 1.x.
        timesteps: first and last of those that the features are read at, drawn anew for each example.
        zero_start: begin with new attentions whose output is zero, as a ZNet; published is a random start.
        channels, head_width: see :class:`ZNet`.
        shared: see :class:`Training`.
    """

    kind: Kind = "LDZNet"
    fusion: Fusion | None = "attention"

    def __init__(
        self,
        teacher: Diffusion,
        output: str,
        recipe: Recipe = Recipe(),  # noqa: B008
        blocks: list[int] | None = None,
        timesteps: list[int] = list(PUBLISHED_TIMESTEPS),  # noqa: B006
        zero_start: bool = False,
        channels: list[int] | None = None,
        head_width: int = 1,
        **shared: Any,
    ) -> None:
        network = {"channels": channels, "head_width": head_width, "zero_start": zero_start}
        super().__init__(teacher, output, recipe, network, blocks, timesteps, **shared)
