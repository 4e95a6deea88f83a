"""ZNet: masks from latents."""

from __future__ import annotations

from typing import Any

from ..teachers.diffusion import Diffusion
from .recipe import Recipe
from .training import PUBLISHED_TIMESTEPS, Training


class ZNet(Training):
    """The teacher's own U-Net on a sample z of the posterior, without noise and at t = 0, with a head of logits (section 3.1).

    Args:
        teacher: whose autoencoder and text it reads, and whose U-Net it starts from.
        output: folder of the trained network.
        recipe: see :class:`Recipe`.
        channels: widths of the U-Net's levels; None for the teacher's, whose weights only then fit.
        head_width: of the head; 1 as published.
        shared: see :class:`Training`.
    """

    kind = "ZNet"

    def __init__(
        self,
        teacher: Diffusion,
        output: str,
        recipe: Recipe = Recipe(),  # noqa: B008
        channels: list[int] | None = None,
        head_width: int = 1,
        **shared: Any,
    ) -> None:
        network = {"channels": channels, "head_width": head_width}
        super().__init__(teacher, output, recipe, network, None, PUBLISHED_TIMESTEPS, **shared)
