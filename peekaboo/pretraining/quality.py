"""How good the embedded models are: ``python -m peekaboo.pretraining.quality [--folder FOLDER] [--output FILE.json]``.

Measured on the single-object scenes of the benchmark, and word by word on those of the validation's seed, which no training saw
either; the samples are recognised by the embedded CLIP.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.backgrounds import BACKGROUNDS
from ..data.benchmark import SEEDS
from ..data.scenes import Kind, Scene, compose, noun_phrase, vocabulary
from ..functional.diffusion import add_noise
from ..guides.depth import Depth
from ..teachers.base import ASSETS
from ..teachers.clip import CLIP
from ..teachers.diffusion import Diffusion
from .data import VALIDATION_SEED, to_tensor
from .depth import align

TIMESTEPS = (100, 300, 500, 700, 900)
MASK_TIMESTEPS = (100, 200, 300, 400)  # where the embedded variants ask the teacher
LEAST, MOST = 12, 3  # words that are listed


def scenes(kind: Kind, count: int) -> list[Scene]:
    """The first scenes of one kind of the benchmark."""
    return [compose(SEEDS["benchmark"], i, kind, backgrounds=BACKGROUNDS) for i in range(count)]


def stack(items: list[Scene]) -> Tensor:
    """(N, 3, H, W) in [0, 1]."""
    return torch.stack([to_tensor(scene) for scene in items])


@torch.no_grad()
def vae_psnr(teacher: Diffusion, items: list[Scene]) -> float:
    """Mean over images of the reconstruction's PSNR in dB."""
    image = stack(items)
    reconstruction = teacher.decode(teacher.encode(image)).clamp(0, 1)
    return float((-10 * (reconstruction - image).square().mean((1, 2, 3)).log10()).mean())


@torch.no_grad()
def clip_names(clip: CLIP, image: Tensor) -> Tensor:
    """Index of the best of the 122 names for each image, (N,)."""
    names = clip.embed_text([noun_phrase(name) for name in vocabulary()])
    return (clip.embed_image(image) @ names.T).argmax(1)


def clip_top1(clip: CLIP, items: list[Scene]) -> float:
    """Share of single-object scenes whose object CLIP names, of 122."""
    names = list(vocabulary())
    truth = torch.tensor([names.index(scene.names[0]) for scene in items])
    return float((clip_names(clip, stack(items)) == truth).float().mean())


@torch.no_grad()
def depth_errors(depth: Depth, items: list[Scene]) -> dict[str, float]:
    """Mean absolute error after alignment, and the share of pixels with a ratio of depths under 1.25 (delta 1)."""
    truth = torch.stack([torch.from_numpy(scene.depth) for scene in items])
    aligned = align(depth(stack(items))[:, 0], truth).clamp(0.02, 1)
    near = truth.clamp(0.02, 1)
    ratio = torch.maximum(aligned / near, near / aligned)
    constant = align(torch.zeros_like(truth), truth)
    return {
        "absolute_error": float((aligned - near).abs().mean()),
        "delta_1": float((ratio < 1.25).float().mean()),
        "absolute_error_of_a_constant": float((constant - near).abs().mean()),
    }


def _noise_errors(teacher: Diffusion, z: Tensor, t: Tensor, eps: Tensor, captions: list[str]) -> Tensor:
    """Squared error (N,) of the noise that the teacher finds in latents (N, C, h, w), at timesteps (N,), given N captions."""
    z_t = add_noise(z, eps, *teacher.signal_noise(t))
    return (teacher.predict_noise(z_t, t, teacher.embed(captions)) - eps).square().mean((1, 2, 3))


def _noise_error(teacher: Diffusion, z: Tensor, t: Tensor, eps: Tensor, captions: list[str]) -> float:
    """Mean of :func:`_noise_errors`."""
    return float(_noise_errors(teacher, z, t, eps, captions).mean())


@torch.no_grad()
def noise_errors(teacher: Diffusion, items: list[Scene]) -> list[dict[str, float]]:
    """Mean squared noise error by timestep, with the right caption, none, and a wrong one; same noise for all three."""
    z = teacher.encode(stack(items))
    eps = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    names = list(vocabulary())
    draw = np.random.default_rng(0).integers(1, len(names), len(items))
    wrong = [names[(names.index(s.names[0]) + k) % len(names)] for s, k in zip(items, draw, strict=True)]
    captions = {"right": [s.prompt for s in items], "none": [""] * len(items), "wrong": [noun_phrase(w) for w in wrong]}
    rows = []
    for step in TIMESTEPS:
        t = torch.full((len(items),), step)
        row = {key: _noise_error(teacher, z, t, eps, c) for key, c in captions.items()}
        rows.append({"t": step, **row, "gap": row["wrong"] / row["right"] - 1})
    return rows


@torch.no_grad()
def prefers_named(teacher: Diffusion, items: list[Scene]) -> float:
    """Share of scenes whose caption speaks for the object that it names: what a mask can at best go by.

    Both what is named and what is not are shown alone on grey. The caption speaks for the one whose noise error it lowers more,
    as a share of the error without a caption, in the mean over ``MASK_TIMESTEPS`` and with the same noise. A coin comes to .5.

    Args:
        teacher: the denoiser.
        items: scenes of several objects of which one is named: pairs, or two of a kind.
    """
    image = stack(items)
    named = torch.stack([torch.from_numpy(scene.target) for scene in items])[:, None]
    others = torch.stack([torch.from_numpy(scene.masks.any(0)) for scene in items])[:, None] & ~named
    captions, none = [scene.prompt for scene in items], [""] * len(items)
    generator = torch.Generator().manual_seed(0)
    latents = [teacher.encode(torch.where(shown, image, 0.5)) for shown in (named, others)]
    gains = torch.zeros(2, len(items))
    for step in MASK_TIMESTEPS:
        t, eps = torch.full((len(items),), step), torch.randn(latents[0].shape, generator=generator)
        for gain, z in zip(gains, latents, strict=True):
            gain += 1 - _noise_errors(teacher, z, t, eps, captions) / _noise_errors(teacher, z, t, eps, none)
    return float((gains[0] > gains[1]).float().mean())


@torch.no_grad()
def word_gaps(teacher: Diffusion, names: list[str], each: int = 5) -> dict[str, float]:
    """How much each name tells the teacher: the noise error without a caption over that with the right one, minus 1.

    Args:
        teacher: the denoiser.
        names: of the vocabulary.
        each: single-object scenes of each name, of the validation's seed; t in ``MASK_TIMESTEPS``.

    Returns:
        The gap of each name, least first. Near 0, a prompt of that name finds nothing.
    """
    items: dict[str, list[Scene]] = {name: [] for name in names}
    index = 0
    while any(len(found) < each for found in items.values()):
        scene = compose(VALIDATION_SEED, index)
        index += 1
        (name,) = scene.names
        if name in items and len(items[name]) < each:
            items[name].append(scene)
    generator = torch.Generator().manual_seed(0)
    gaps = {}
    for name, found in items.items():
        z = teacher.encode(stack(found)).repeat(len(MASK_TIMESTEPS), 1, 1, 1)
        t = torch.tensor(MASK_TIMESTEPS).repeat_interleave(each)
        eps = torch.randn(z.shape, generator=generator)
        right, none = (_noise_error(teacher, z, t, eps, [caption] * len(z)) for caption in (noun_phrase(name), ""))
        gaps[name] = none / right - 1
    return dict(sorted(gaps.items(), key=lambda item: item[1]))


@torch.no_grad()
def sample_recognition(folder: Path, clip: CLIP, each: int, guidance: float = 5.0, steps: int = 25) -> dict[str, Any]:
    """Share of sampled images whose name CLIP finds among 122, and the pictures of the first of each name."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, low_cpu_mem_usage=False, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    prompts = [noun_phrase(name) for name in vocabulary()]
    hits: list[Tensor] = []
    first: list[Tensor] = []
    for k in range(each):
        generator = torch.Generator().manual_seed(k)
        options = {"num_inference_steps": steps, "guidance_scale": guidance, "generator": generator, "output_type": "pt"}
        images = torch.cat([pipeline(prompts[i : i + 32], **options).images for i in range(0, len(prompts), 32)]).float()
        hits.append(clip_names(clip, images) == torch.arange(len(prompts)))
        first = first or list(images)
    return {"share": float(torch.stack(hits).float().mean()), "images": torch.stack(first)}


def measure(folder: Path, count: int, each: int, pictures: Path | None) -> dict[str, Any]:
    """Measures everything; see the module's docstring."""
    teacher, clip, depth = (
        Diffusion(str(folder / "teacher"), decoder=True),
        CLIP(str(folder / "clip")),
        Depth(str(folder / "depth")),
    )
    singles = scenes("single", count)
    result: dict[str, Any] = {
        "scenes": count,
        "vae_psnr_db": vae_psnr(teacher, singles + scenes("pair", count)),
        "clip_top1_of_122": clip_top1(clip, singles),
        "depth": depth_errors(depth, singles + scenes("pair", count)),
        "noise_error": noise_errors(teacher, singles),
    }
    gaps = word_gaps(teacher, list(vocabulary()))
    ranked = list(gaps.items())
    least, most = dict(ranked[:LEAST]), dict(ranked[-MOST:])
    result["word_gap"] = {"median": statistics.median(gaps.values()), "least": least, "most": most}
    if each:
        samples = sample_recognition(folder / "teacher", clip, each)
        result["samples_recognised"] = samples["share"]
        result["samples"] = each * len(vocabulary())
        if pictures is not None:
            from torchvision.utils import save_image

            save_image(samples["images"], pictures, nrow=14)
    return result


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ASSETS, help="folder with teacher, clip and depth")
    parser.add_argument("--count", type=int, default=100, help="benchmark scenes of each kind")
    parser.add_argument("--each", type=int, default=4, help="samples of each of the 122 names; 0 for none")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--pictures", type=Path, help="picture file for one sample of each name")
    options = parser.parse_args()
    try:
        missing = [name for name in ("teacher", "clip", "depth") if not (options.folder / name).is_dir()]
        if missing:
            raise FileNotFoundError(f"folder: expected teacher, clip and depth in {str(options.folder)!r}, got none of {missing}")
        text = json.dumps(measure(options.folder, options.count, options.each, options.pictures), indent=2)
        if options.output:
            options.output.write_text(text + "\n")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
