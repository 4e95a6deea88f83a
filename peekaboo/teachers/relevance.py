"""Where a prompt is in an image, as a diffusion teacher sees it in a few looks: its attention, and what the prompt changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..functional.diffusion import add_noise
from ..functional.random import Draws
from .attention import Words, prompt_map
from .base import Teacher
from .diffusion import Diffusion
from .text import Text

Report = Callable[[int], None]


@torch.no_grad()
def attention_relevance(
    teacher: Diffusion,
    images: Tensor,
    prompts: list[str],
    draws: Draws,
    timesteps: Sequence[int],
    words: Words = "content",
    finest: float = 1.0,
    blocks: Sequence[int] | None = None,
    report: Report | None = None,
) -> Tensor:
    """Returns the attention of each place of the latent to its prompt, (N, h, w), the mean over noise levels.

    Args:
        teacher: compiled or not; these passes are not.
        images: (N, 3, H, W) in [0, 1], framed.
        prompts: one for each.
        draws: of the noise.
        timesteps: of 1000, at which the image is noised.
        words, finest, blocks: see :func:`peekaboo.teachers.attention.prompt_map`.
        report: is told the number of each finished timestep.

    Raises:
        AttentionError: see :func:`peekaboo.teachers.attention.prompt_map`.
    """
    z = teacher.encode(images)
    total = torch.zeros(len(z), *z.shape[2:], device=z.device)
    for number, step in enumerate(timesteps):
        t, z_t = _noised(teacher, z, step, draws.of(str(number)))
        total += prompt_map(teacher, z_t, t, prompts, words, blocks, finest)
        if report is not None:
            report(number + 1)
    return total / len(timesteps)


@torch.no_grad()
def noise_difference(
    teacher: Teacher,
    images: Tensor,
    prompts: list[str],
    draws: Draws,
    timesteps: Sequence[int],
    repeats: int = 1,
    report: Report | None = None,
) -> Tensor:
    """Returns |eps_text - eps_uncond| over the latent's channels, (N, h, w), the mean over noise levels (LD-ZNet, figure 1).

    Args:
        teacher: any, compiled or not.
        images, prompts, draws, timesteps: see :func:`attention_relevance`.
        repeats: draws of the noise at each level.
        report: is told the number of each finished draw.
    """
    z = teacher.encode(images)
    text = Text.cat([teacher.embed([""] * len(prompts)), teacher.embed(prompts)])
    total = torch.zeros(len(z), *z.shape[2:], device=z.device)
    steps = [t for t in timesteps for _ in range(repeats)]
    for number, step in enumerate(steps):
        t, z_t = _noised(teacher, z, step, draws.of(str(number)))
        eps_uncond, eps_text = teacher.predict_noise(torch.cat([z_t, z_t]), torch.cat([t, t]), text).chunk(2)
        total += (eps_text - eps_uncond).norm(dim=1)
        if report is not None:
            report(number + 1)
    return total / len(steps)


def _noised(teacher: Teacher, z: Tensor, step: int, draws: Draws) -> tuple[Tensor, Tensor]:
    t = torch.full((len(z),), step, dtype=torch.int64, device=z.device)
    return t, add_noise(z, draws.normal(*z.shape[1:]), *teacher.signal_noise(t))
