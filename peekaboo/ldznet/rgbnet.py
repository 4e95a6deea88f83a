"""RGBNet: masks from pixels, as what latents are measured against."""

from __future__ import annotations

from ..teachers.diffusion import Diffusion
from .recipe import Recipe
from .training import Training


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
        template, seed, checkpointing, export_every, export_dtype, shown: see :class:`Training`.
    """

    def __init__(
        self,
        teacher: Diffusion,
        output: str,
        recipe: Recipe = Recipe(),  # noqa: B008
        stem_width: int = 64,
        channels: list[int] | None = None,
        head_width: int = 1,
        template: str = "{}.",
        seed: int = 0,
        checkpointing: bool = False,
        export_every: int = 500,
        export_dtype: str = "float32",
        shown: int = 8,
    ) -> None:
        super().__init__(
            "RGBNet",
            teacher,
            output,
            recipe,
            {"channels": channels, "head_width": head_width, "stem_width": stem_width},
            template=template,
            seed=seed,
            checkpointing=checkpointing,
            export_every=export_every,
            export_dtype=export_dtype,
            shown=shown,
        )
