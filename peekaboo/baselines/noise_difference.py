"""Where the prompt changes the predicted noise: LD-ZNet's figure 1."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing, frame, unframe
from ..functional.maps import rescale
from ..functional.random import Draws
from ..results.result import Threshold
from ..teachers.base import Teacher
from ..teachers.relevance import noise_difference
from .base import Baseline, size_of


class NoiseDifference(Baseline):
    """|eps_text - eps_uncond| of each pixel of the latent, averaged over timesteps and draws of noise (LD-ZNet, figure 1).

    Args:
        teacher: the frozen diffusion model.
        timesteps: of 1000, at which the image is noised.
        draws: of the noise at each of them.
        framing: see :class:`Segmenter`.
        threshold, seed: see :class:`Baseline`.
    """

    def __init__(
        self,
        teacher: Teacher,
        timesteps: list[int] | None = None,
        draws: int = 4,
        framing: Framing = "stretch",
        threshold: Threshold = "otsu",
        seed: int = 0,
    ) -> None:
        super().__init__(threshold, seed)
        timesteps = [200, 300, 400, 500, 600] if timesteps is None else timesteps
        if not timesteps or min(timesteps) < 0 or max(timesteps) > 999 or draws < 1:
            raise ValueError(f"timesteps, draws: expected timesteps in 0..999 and at least one draw, got {timesteps}, {draws}")
        self.teacher, self.timesteps, self.draws, self.framing = teacher, timesteps, draws, framing
        self.iterations = len(timesteps) * draws

    @property
    def teacher_name(self) -> str:
        return self.teacher.name

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        images = torch.stack([frame(sample.image.to(self.device), self.teacher.resolution, self.framing) for sample in samples])
        draws = Draws([self.sample_seed(sample.id) for sample in samples], device=self.device, purpose="relevance")
        prompts = [sample.prompt for sample in samples]
        maps = noise_difference(self.teacher, images, prompts, draws, self.timesteps, self.draws, self.report)
        return [unframe(own, size_of(sample), self.framing) for own, sample in zip(rescale(maps), samples, strict=True)]
