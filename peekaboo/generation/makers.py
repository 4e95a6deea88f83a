"""Where the pictures come from: generated, the controls, and the rival that samples and then cuts out."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.base import Sample
from ..data.looks import sprite
from ..data.scenes import noun_phrase
from ..functional.framing import resize
from ..optimisation.segmenter import Segmenter
from ..teachers.base import locate

Key = tuple[str, int]  # a word and a seed
SPRITE_SHARE = 0.7  # of the side that a control's sprite has
SAMPLER_GUIDANCE, SAMPLER_STEPS = 5.0, 25


def true_sprite(word: str, side: int) -> Tensor:
    """Returns the drawing of a word with its own alpha, centred: (4, side, side). The ceiling."""
    drawn = sprite(word)
    scale = SPRITE_SHARE * side / max(drawn.size)
    drawn = drawn.resize((max(round(drawn.width * scale), 1), max(round(drawn.height * scale), 1)), Image.Resampling.BOX)
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return torch.from_numpy(np.asarray(canvas).copy()).permute(2, 0, 1) / 255


def full_sprite(word: str, side: int) -> Tensor:
    """The same over grey with an alpha of 1: a clean picture that hides nothing."""
    found = true_sprite(word, side)
    return torch.cat([torch.lerp(torch.full_like(found[:3], 0.5), found[:3], found[3:]), torch.ones(1, side, side)])


def blob_sprite(word: str, side: int, seed: int) -> Tensor:
    """The same with a random smooth blob as its alpha, of the true one's area: an alpha of something else."""
    found = full_sprite(word, side)
    area = float((true_sprite(word, side)[3] > 0.5).float().mean())
    generator = torch.Generator().manual_seed(zlib.crc32(f"{word}/{seed}".encode()))
    field = resize(torch.randn(1, 1, 4, 4, generator=generator), (side, side), "bicubic")[0, 0]
    window = 1 - torch.linspace(-1, 1, side).abs().pow(4)
    field = field + 3 * (window[:, None] * window[None])
    found[3] = (field > field.flatten().quantile(1 - area)).float()
    return found


@torch.no_grad()
def samples(path: str, keys: list[Key]) -> Tensor:
    """Samples the teacher by its own sampler, (N, 3, H, W) in [0, 1]: guidance 5, 25 steps.

    Args:
        path: of a Stable Diffusion pipeline, or ``embedded``.
        keys: words and seeds.
    """
    from diffusers import StableDiffusionPipeline

    folder = locate(path, "teacher", "model_index.json")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, low_cpu_mem_usage=False, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for _, seed in keys]
    options = {"num_inference_steps": SAMPLER_STEPS, "guidance_scale": SAMPLER_GUIDANCE, "output_type": "pt"}
    found: Tensor = pipeline([noun_phrase(word) for word, _ in keys], generator=generators, **options).images
    return found.float()


def cut_out(segmenter: Segmenter, images: Tensor, keys: list[Key]) -> Tensor:
    """Cuts what their words name out of pictures: (N, 4, H, W) from (N, 3, H, W)."""
    pairs = [Sample(f"{word}/{seed}", image, noun_phrase(word)) for image, (word, seed) in zip(images, keys, strict=True)]
    results = segmenter.segment(pairs, [seed for _, seed in keys], timelapse=False)
    return torch.stack([torch.cat([result.image, result.alpha[None]]) for result in results])
