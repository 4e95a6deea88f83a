"""The families of models that can be teachers, one file each: who they are, and what they predict.

========================  =========================================  ================  ====================================
file                      pipelines                                  predicts          reads
========================  =========================================  ================  ====================================
``stable_diffusion``      Stable Diffusion 1.x, 2.x, Turbo, LCM      epsilon or v      CLIP
``stable_diffusion_xl``   SDXL, SDXL Turbo                           epsilon or v      two CLIPs, pooled text, size
``stable_diffusion_3``    Stable Diffusion 3, 3.5                    flow              two CLIPs and T5, pooled text
``flux``                  FLUX.1 dev, schnell                        flow              T5, CLIP's pooled text, guidance
``sana``                  Sana                                       flow              Gemma 2 and a mask
``pixart``                PixArt-alpha, PixArt-Sigma                 epsilon           T5 and a mask
``lumina2``               Lumina-Image 2.0                           reversed flow     Gemma 2 and a mask
``aura_flow``             AuraFlow                                   flow              UMT5
``z_image``               Z-Image, Z-Image Turbo                     reversed flow     Qwen 3 and a mask
``qwen_image``            Qwen-Image                                 flow              Qwen 2.5 VL and a mask
========================  =========================================  ================  ====================================

Epsilon or v: as the scheduler's configuration says; so is ``sample`` taken.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from .base import Choices, Family, TextPart

__all__ = ["REFUSED", "Choices", "Family", "TextPart", "families", "family_of"]

#: Pipelines that look alike and are not the same, and why.
REFUSED = {
    "StableDiffusionInpaintPipeline": "its U-Net reads a mask and an image beside the latent",
    "StableDiffusionXLInpaintPipeline": "its U-Net reads a mask and an image beside the latent",
    "StableDiffusionXLImg2ImgPipeline": "a refiner was trained on the last timesteps alone",
    "StableCascadePriorPipeline": "the encoder of its latents is no part of the pipeline",
    "StableCascadeDecoderPipeline": "the encoder of its latents is no part of the pipeline",
    "StableCascadeCombinedPipeline": "the encoder of its latents is no part of the pipeline",
    "KandinskyV22Pipeline": "it reads an image embedding that a prior must draw for each prompt",
    "KandinskyV22CombinedPipeline": "it reads an image embedding that a prior must draw for each prompt",
    "KandinskyPipeline": "it reads an image embedding that a prior must draw for each prompt",
    "Flux2Pipeline": "FLUX.2 is of another architecture",
    "Flux2KleinPipeline": "FLUX.2 is of another architecture",
    "FluxFillPipeline": "it reads a mask and an image beside the latent",
    "FluxKontextPipeline": "it reads an image beside the latent",
    "SanaSprintPipeline": "its trigonometric flow is another parametrisation",
}


@cache
def families() -> dict[str, type[Family]]:
    """The adapter of each class of pipeline."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    found = _subclasses(Family)  # type: ignore[type-abstract]
    return {name: family for family in found for name in family.__dict__.get("pipelines", ())}


def family_of(pipeline: str, source: str) -> type[Family]:
    """Returns the adapter of a pipeline's class.

    Raises:
        ValueError: if there is none, with those that there are.
    """
    known = families()
    if pipeline in known:
        return known[pipeline]
    why = f" ({REFUSED[pipeline]})" if pipeline in REFUSED else ""
    raise ValueError(f"teacher: expected one of {', '.join(known)}, got a {pipeline}{why} in {source!r}")


def _subclasses(kind: type[Family]) -> list[type[Family]]:
    return [own for direct in kind.__subclasses__() for own in (direct, *_subclasses(direct))]
