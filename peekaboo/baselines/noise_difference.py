"""Where the prompt changes the predicted noise: LD-ZNet's figure 1."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.diffusion import add_noise
from ..functional.framing import Framing, frame, unframe
from ..functional.random import Draws
from ..results.result import Threshold
from ..teachers.base import Teacher
from ..teachers.text import Text
from .base import Baseline, rescale, size_of


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
        images = [frame(sample.image.to(self.device), self.teacher.resolution, self.framing) for sample in samples]
        maps = rescale(self.differences(torch.stack(images), samples))
        return [unframe(own, size_of(sample), self.framing) for own, sample in zip(maps, samples, strict=True)]

    def differences(self, images: Tensor, samples: list[Sample]) -> Tensor:
        """Returns the mean norm over the latent's channels, (N, h, w), of framed images (N, 3, H, W)."""
        z = self.teacher.encode(images)
        text = self.teacher.embed([sample.prompt for sample in samples])
        uncond = self.teacher.embed([""] * len(samples))
        total = torch.zeros(len(z), *z.shape[2:], device=z.device)
        steps = [t for t in self.timesteps for _ in range(self.draws)]
        for number, step in enumerate(steps):
            draws = Draws([self.sample_seed(sample.id) for sample in samples], number, len(steps), device=z.device)
            t = torch.full((len(z),), step, dtype=torch.int64, device=z.device)
            z_t = add_noise(z, draws.normal(*z.shape[1:]), *self.teacher.signal_noise(t))
            both = self.teacher.predict_noise(torch.cat([z_t, z_t]), torch.cat([t, t]), Text.cat([uncond, text]))
            eps_uncond, eps_text = both.chunk(2)
            total += (eps_text - eps_uncond).norm(dim=1)
            if self.report is not None:
                self.report(number + 1)
        return total / len(steps)
