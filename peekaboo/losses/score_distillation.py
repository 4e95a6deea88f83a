"""Latent score distillation: how well a frozen diffusion model predicts the noise on a composite, given the prompt."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..functional.diffusion import add_noise, equal_alpha_bar, expand, guide
from ..functional.random import Draws
from ..teachers.base import Teacher
from ..teachers.text import Text
from .base import Loss

Weighting = Literal["sigma_squared", "one", "sigma_squared_sqrt_alpha", "rfds"]
Schedule = Literal["uniform", "annealed"]


class ScoreDistillation(Loss):
    """Score distillation in latent space (Peekaboo, eq. 2 and algorithm 1; DreamFusion, eq. 3).

    With z = E(composite) and z_t = a z + b eps, where the teacher's schedule says a and b::

        eps_hat  = eps_uncond + guidance * (eps_text - eps_uncond)
        gradient = w(t) * (eps_hat - eps)          on z, with no gradient through the denoiser

    No family of models is known here: diffusion and flow teachers alike predict eps, and the weighting depends on the
    signal-to-noise ratio alone. With alpha_bar = a² / (a² + b²), which is a diffusion model's own, it means the same for all.

    The value is |gradient|^2 / 2 and its gradient with respect to z is exactly ``gradient``, so that it is a loss like any
    other to the trainer: precision, accumulation, clipping and DDP work.

    Args:
        teacher: the frozen diffusion model.
        guidance: scale of classifier-free guidance in the uncond-base convention, see :func:`functional.diffusion.guide`.
        guidance_start: scale at the first step, from where it goes linearly to ``guidance`` over the optimisation; None for
            ``guidance`` throughout.
        t_min, t_max: both ends, included, of the uniform timestep.
        schedule: ``uniform``; or ``annealed``: the upper end falls linearly from t_max to t_min over the optimisation.
        weighting: w(t): ``sigma_squared`` is 1 - alpha_bar (published); ``one``; ``sigma_squared_sqrt_alpha`` is
            (1 - alpha_bar) sqrt(alpha_bar), which prefers the middle of the schedule; ``rfds`` is (a + b) / a = 1 / (1 - s),
            which is the difference of velocities of rectified flow distillation (RFDS, Yang et al., ICLR 2025, without the
            random factor and the 2 of the square): 50 times as much at s = .98.
        negative_prompt: what the guidance leads away from; empty for plain classifier-free guidance.
        noise_samples: draws of (t, eps) whose gradients are averaged in each step.
        classifier_only: use guidance * (eps_text - eps_uncond) alone, without the term that pulls to the prior
            (classifier score distillation, Yu et al. 2023).
        sample_posterior: encode to a sample of the autoencoder's posterior (published) instead of its mean.
        bank: number of fixed (t, eps) that each mask has, visited in rounds; None for new ones in every step.
        antithetic: draw ``noise_samples`` in twos that share t and have eps and -eps.
        subtracted: coefficient c of the noise in eps_hat - c eps; 1 is published.
    """

    def __init__(
        self,
        teacher: Teacher,
        guidance: float = 100.0,
        guidance_start: float | None = None,
        t_min: int = 20,
        t_max: int = 980,
        schedule: Schedule = "uniform",
        weighting: Weighting = "sigma_squared",
        negative_prompt: str = "",
        noise_samples: int = 1,
        classifier_only: bool = False,
        sample_posterior: bool = True,
        bank: int | None = None,
        antithetic: bool = False,
        subtracted: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= t_min <= t_max <= 999:
            raise ValueError(f"t_min, t_max: expected 0 <= t_min <= t_max <= 999, got {t_min}, {t_max}")
        if noise_samples < 1:
            raise ValueError(f"noise_samples: expected at least 1, got {noise_samples}")
        if antithetic and noise_samples % 2:
            raise ValueError(f"noise_samples: expected an even number with antithetic noise, got {noise_samples}")
        if bank is not None and bank < 1:
            raise ValueError(f"bank: expected at least 1 or null, got {bank}")
        if schedule not in get_args(Schedule):
            raise ValueError(f"schedule: expected one of {', '.join(get_args(Schedule))}, got {schedule!r}")
        if weighting not in get_args(Weighting):
            raise ValueError(f"weighting: expected one of {', '.join(get_args(Weighting))}, got {weighting!r}")
        if teacher.timesteps is not None and not any(t_min <= t <= t_max for t in teacher.timesteps):
            raise ValueError(f"t_min, t_max: expected some of the teacher's timesteps {teacher.timesteps}, got {t_min}, {t_max}")
        for scale in dict.fromkeys((guidance, guidance if guidance_start is None else guidance_start)):
            teacher.check_guidance(scale)
        if classifier_only:
            teacher.check_guidance(0.0)
        self.teacher = teacher
        self.guidance, self.guidance_start = guidance, guidance if guidance_start is None else guidance_start
        self.t_min, self.t_max, self.schedule, self.weighting = t_min, t_max, schedule, weighting
        self.negative_prompt, self.noise_samples = negative_prompt, noise_samples
        self.classifier_only, self.sample_posterior = classifier_only, sample_posterior
        self.bank, self.antithetic, self.subtracted = bank, antithetic, subtracted

    @property
    def resolution(self) -> int:
        return self.teacher.resolution

    @property
    def diffusion(self) -> Teacher:
        return self.teacher

    @property
    def teacher_name(self) -> str:
        return self.teacher.name

    def forward(self, composite: Tensor, prompts: list[str], draws: Draws) -> Tensor:
        posterior_noise = draws.of("posterior").normal(*self.teacher.latent_shape()) if self.sample_posterior else None
        z = self.teacher.encode(composite, posterior_noise)
        gradient = self.gradient(z.detach(), prompts, draws)
        # The value of |gradient|^2 / 2, the gradient of <gradient, z>: exactly `gradient`, without the rounding of z - (z - g).
        value = 0.5 * gradient.square().sum((1, 2, 3))
        return value + ((z - z.detach()) * gradient).sum((1, 2, 3))

    @torch.no_grad()
    def gradient(self, z: Tensor, prompts: list[str], draws: Draws) -> Tensor:
        """Returns the gradient on the latents, (N, C, h, w): w(t) (eps_hat - eps), averaged over the noise samples."""
        n, k = len(z), self.noise_samples
        t, eps = self._noise(draws, tuple(z.shape[1:]))
        signal, noise = self.teacher.signal_noise(t)
        z_t = add_noise(z.repeat_interleave(k, 0), eps, signal, noise)
        scale = self.guidance_start + draws.progress * (self.guidance - self.guidance_start)
        eps_hat, baseline = self._predict(z_t, t, [p for p in prompts for _ in range(k)], eps, scale)
        gradient = expand(self._weight(signal, noise)) * (eps_hat - baseline)
        return gradient.unflatten(0, (n, k)).mean(1)

    def _predict(self, z_t: Tensor, t: Tensor, prompts: list[str], eps: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """The guided prediction and what is subtracted from it."""
        text = self.teacher.embed(prompts)
        if scale == 1 and not self.classifier_only:  # the unconditional half would not count
            return self.teacher.predict_noise(z_t, t, text), self.subtracted * eps
        uncond = self.teacher.embed([self.negative_prompt] * len(prompts))
        both = self.teacher.predict_noise(torch.cat([z_t, z_t]), torch.cat([t, t]), Text.cat([uncond, text]))
        eps_uncond, eps_text = both.chunk(2)
        if self.classifier_only:
            return scale * eps_text, scale * eps_uncond
        return guide(eps_uncond, eps_text, scale), self.subtracted * eps

    def _noise(self, draws: Draws, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draws timesteps (N k,) and noise (N k, C, h, w) for the k samples of each of N latents."""
        t_max = self.t_max
        if self.schedule == "annealed":
            t_max = round(self.t_max + draws.progress * (self.t_min - self.t_max))
        if self.bank is not None:
            draws = draws.at(draws.step % self.bank)
        if not self.antithetic:
            k = self.noise_samples
            return self._timesteps(draws, k, t_max), draws.of("noise").normal(k, *shape).flatten(0, 1)
        k = self.noise_samples // 2
        eps = draws.of("noise").normal(k, *shape)
        return self._timesteps(draws, k, t_max).repeat_interleave(2), torch.stack([eps, -eps], 2).flatten(0, 2)

    def _timesteps(self, draws: Draws, count: int, t_max: int) -> Tensor:
        """Draws ``count`` timesteps from t_min to ``t_max`` for each sample, (N count,) int64."""
        draws, known = draws.of("timestep"), self.teacher.timesteps
        if known is None:
            return draws.integers(self.t_min, t_max, count).flatten()
        known = tuple(t for t in known if self.t_min <= t <= self.t_max)
        allowed = [t for t in known if t <= t_max] or known[:1]
        chosen = draws.integers(0, len(allowed) - 1, count).flatten()
        return torch.tensor(allowed, device=chosen.device)[chosen]

    def _weight(self, signal: Tensor, noise: Tensor) -> Tensor:
        if self.weighting == "one":
            return torch.ones_like(signal)
        if self.weighting == "rfds":
            return (signal + noise) / signal
        sigma_squared = equal_alpha_bar(noise, signal)  # 1 - alpha_bar, without the rounding of the difference
        if self.weighting == "sigma_squared":
            return sigma_squared
        return sigma_squared * equal_alpha_bar(signal, noise).sqrt()
