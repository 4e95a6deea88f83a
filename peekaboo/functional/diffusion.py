"""Forward diffusion, the two prediction types, and classifier-free guidance."""

from __future__ import annotations

from torch import Tensor


def expand(values: Tensor) -> Tensor:
    """Shapes (N,) to (N, 1, 1, 1)."""
    return values[:, None, None, None]


def add_noise(z: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """Forward diffusion: z_t = sqrt(alpha_bar) z + sqrt(1 - alpha_bar) eps (DDPM, eq. 4).

    Args:
        z, eps: (N, C, h, w).
        alpha_bar: (N,) cumulative product of the schedule at each sample's t.
    """
    return expand(alpha_bar.sqrt()) * z + expand((1 - alpha_bar).sqrt()) * eps


def eps_from_v(v: Tensor, z_t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Turns a v-prediction into eps: eps = sqrt(alpha_bar) v + sqrt(1 - alpha_bar) z_t (Salimans & Ho 2022, appendix D)."""
    return expand(alpha_bar.sqrt()) * v + expand((1 - alpha_bar).sqrt()) * z_t


def eps_from_sample(z: Tensor, z_t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Turns a prediction of the clean latent into eps."""
    return (z_t - expand(alpha_bar.sqrt()) * z) / expand((1 - alpha_bar).sqrt())


def guide(eps_uncond: Tensor, eps_text: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance, "uncond base": eps_uncond + scale (eps_text - eps_uncond).

    0 ignores the text and 1 is the text-conditional prediction. Frameworks that write eps_text + s (eps_text - eps_uncond)
    mean by s what is scale s + 1 here.
    """
    return eps_uncond + scale * (eps_text - eps_uncond)
