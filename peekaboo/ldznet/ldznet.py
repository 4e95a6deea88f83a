"""LD-ZNet: masks from latents and from what a frozen diffusion model knows of them."""

from __future__ import annotations

from ..teachers.diffusion import Diffusion
from .recipe import Recipe
from .training import Training


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
        template, seed, checkpointing, export_every, export_dtype, cache, shown: see :class:`Training`.
    """

    def __init__(
        self,
        teacher: Diffusion,
        output: str,
        recipe: Recipe = Recipe(),  # noqa: B008
        blocks: list[int] | None = None,
        timesteps: list[int] = [300, 499],  # noqa: B006
        zero_start: bool = False,
        channels: list[int] | None = None,
        head_width: int = 1,
        template: str = "{}.",
        seed: int = 0,
        checkpointing: bool = False,
        export_every: int = 500,
        export_dtype: str = "float32",
        cache: str | None = None,
        shown: int = 8,
    ) -> None:
        super().__init__(
            "LDZNet",
            teacher,
            output,
            recipe,
            {"channels": channels, "head_width": head_width, "zero_start": zero_start},
            fusion="attention",
            blocks=blocks,
            timesteps=timesteps,
            template=template,
            seed=seed,
            checkpointing=checkpointing,
            export_every=export_every,
            export_dtype=export_dtype,
            cache=cache,
            shown=shown,
        )
