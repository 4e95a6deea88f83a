"""RGBNet: masks from pixels, as what latents are measured against."""

from __future__ import annotations

from typing import Any

from ..teachers.diffusion import Diffusion
from .recipe import Recipe
from .training import PUBLISHED_TIMESTEPS, Training


class RGBNet(Training):
    """ZNet's network on the image itself, behind learnable layers that bring it to the latent's size (section 4).

    The paper does not say how many layers and how wide; here they are those of :class:`peekaboo.ldznet.network.Stem`. Start,
    budget and everything else are ZNet's, so that the two differ by their input alone.

    Args:
        teacher: whose text it reads, and whose U-Net it starts from.
        output: folder of the trained network.
        recipe: see :class:`Recipe`.
        stem_width: channels of the layers in front.
        channels, head_width: see :class:`ZNet`.
        shared: see :class:`Training`; there is no ``cache`` for what no teacher makes.
    """

    kind = "RGBNet"

    def __init__(
        self,
        teacher: Diffusion,
        output: str,
        recipe: Recipe = Recipe(),  # noqa: B008
        stem_width: int = 64,
        channels: list[int] | None = None,
        head_width: int = 1,
        **shared: Any,
    ) -> None:
        network = {"channels": channels, "head_width": head_width, "stem_width": stem_width}
        super().__init__(teacher, output, recipe, network, None, PUBLISHED_TIMESTEPS, cache=None, **shared)
