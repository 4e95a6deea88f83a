"""What a segmentation network reads of a picture and a phrase, as the frozen teacher makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..functional.diffusion import add_noise
from ..functional.random import Draws
from ..teachers.diffusion import Diffusion
from ..teachers.text import Text
from .features import FeatureReader
from .places import Place, places_of

#: Of the phrases of a training, validation and inference as published.
TEMPLATES = (
    "a photo of a {}.",
    "a photograph of a {}.",
    "an image of a {}.",
    "{}.",
    "a cropped photo of a {}.",
    "a good photo of a {}.",
    "a photo of one {}.",
    "a bad photo of a {}.",
    "a photo of the {}.",
)


def check_templates(templates: Sequence[str], argument: str = "templates") -> list[str]:
    """Returns templates that each have one place for the phrase.

    Raises:
        ValueError: for another one, or none.
    """
    if not templates or any(template.count("{}") != 1 for template in templates):
        raise ValueError(f"{argument}: expected texts with one {{}} each, such as 'a photo of a {{}}.', got {list(templates)}")
    return list(templates)


def check_timesteps(timesteps: Sequence[int]) -> tuple[int, int]:
    """Returns the first and the last timestep of a range.

    Raises:
        ValueError: for another one.
    """
    if len(timesteps) != 2 or not 0 <= timesteps[0] <= timesteps[1] <= 999:
        raise ValueError(f"timesteps: expected the first and the last one, 0 <= first <= last <= 999, got {list(timesteps)}")
    return timesteps[0], timesteps[1]


@dataclass(frozen=True)
class Inputs:
    """What a :class:`SegmentationNetwork` reads of N pictures.

    Attributes:
        x: (N, C, h, w) latents, or (N, 3, H, W) images in [-1, 1].
        text: of the prompts.
        features: one map a place, of the teacher; none for a network without.
    """

    x: Tensor
    text: Text
    features: tuple[Tensor, ...] = ()

    def arguments(self) -> tuple[Tensor, Tensor, Tensor | None, tuple[Tensor, ...]]:
        """As the network takes them."""
        return self.x, self.text.embeddings, self.text.pooled, self.features


class Conditions:
    """Makes inputs with a frozen teacher.

    Args:
        teacher: around a U-Net.
        latent: whether the network reads latents, else the images themselves.
        places: numbers of the blocks whose features it reads; none for a network without.

    Raises:
        ValueError: for a teacher without such blocks.
    """

    def __init__(self, teacher: Diffusion, latent: bool, places: Sequence[int] = ()) -> None:
        self.teacher, self.latent = teacher, latent
        found: dict[int, Place] = {place.number: place for place in places_of(teacher.denoiser)} if places else {}
        if unknown := [number for number in places if number not in found]:
            raise ValueError(f"blocks: expected some of the blocks 1..{len(found)} of {teacher.name!r}, got {unknown}")
        self.reader = FeatureReader(teacher, [found[number] for number in places]) if places else None

    @torch.no_grad()
    def __call__(
        self, images: Tensor, prompts: list[str], draws: Draws, timesteps: Tensor | None = None, posterior: bool = True
    ) -> Inputs:
        """Returns the inputs of N pictures.

        Args:
            images: (N, 3, H, W) in [0, 1], squares.
            prompts: whole, templates and all.
            draws: of the posterior's sample and of the noise on it.
            timesteps: (N,) int64, where the features are read; without features they do not count.
            posterior: sample the autoencoder's posterior, as published; else its mean.
        """
        text = self.teacher.embed(prompts)
        if not self.latent:
            return Inputs(2 * images - 1, text)
        shape = self.teacher.latent_shape()
        z = self.teacher.encode(images, draws.of("posterior").normal(*shape) if posterior else None).detach()
        if self.reader is None:
            return Inputs(z, text)
        if timesteps is None:
            raise ValueError("timesteps: expected some, since features are read at them, got none")
        z_t = add_noise(z, draws.of("noise").normal(*shape), *self.teacher.signal_noise(timesteps))
        return Inputs(z, text, tuple(self.reader(z_t, timesteps, text)))
