"""ZNet: masks from latents."""

from __future__ import annotations

from ..teachers.diffusion import Diffusion
from .recipe import Recipe
from .training import Training


class ZNet(Training):
    """The teacher's own U-Net on a sample z of the posterior, without noise and at t = 0, with a head of logits (section 3.1).

    Args:
        teacher: whose autoencoder and text it reads, and whose U-Net it starts from.
        output: folder of the trained network.
        recipe: see :class:`Recipe`.
        channels: widths of the U-Net's levels; None for the teacher's, whose weights only then fit.
        head_width: of the head; 1 as published.
        template, seed, checkpointing, export_every, export_dtype, cache, shown: see :class:`Training`.
    """

    def __init__(
        self,
        teacher: Diffusion,
        output: str,
        recipe: Recipe = Recipe(),  # noqa: B008
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
            "ZNet",
            teacher,
            output,
            recipe,
            {"channels": channels, "head_width": head_width},
            template=template,
            seed=seed,
            checkpointing=checkpointing,
            export_every=export_every,
            export_dtype=export_dtype,
            cache=cache,
            shown=shown,
        )
