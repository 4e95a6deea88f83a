"""Forward diffusion, what networks predict, and guidance, in one convention for diffusion and flow models.

A noisy latent is z_t = a z_0 + b eps, with the signal a and the noise b from the teacher. Diffusion models (DDPM) have
a = sqrt(alpha_bar) and b = sqrt(1 - alpha_bar), flow models (rectified flow) a = 1 - s and b = s. Every output o of a network
becomes a prediction of eps, which is affine in o, so that guidance may act on either:

================  ==============================  ===========================
prediction        the network is trained towards  eps_hat
================  ==============================  ===========================
``epsilon``       eps                             o
``v_prediction``  a eps - b z_0                   a o + b z_t
``sample``        z_0                             (z_t - a o) / b
``flow``          eps - z_0                       z_t + a o
``reversed_flow`` z_0 - eps                       z_t - a o
================  ==============================  ===========================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "sample", "flow", "reversed_flow"]


def expand(values: Tensor) -> Tensor:
    """Shapes (N,) to (N, 1, 1, 1)."""
    return values[:, None, None, None]


def add_noise(z: Tensor, eps: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """Forward diffusion: z_t = signal z + noise eps (DDPM, eq. 4, with signal = sqrt(alpha_bar) and noise = sqrt(1 - alpha_bar)).

    Args:
        z, eps: (N, C, h, w).
        signal, noise: (N,) factors at each sample's t.
    """
    return expand(signal) * z + expand(noise) * eps


def equal_alpha_bar(signal: Tensor, noise: Tensor) -> Tensor:
    """The alpha_bar (N,) of the diffusion model whose signal-to-noise ratio is that of ``signal`` and ``noise``, (N,) each."""
    return signal.square() / (signal.square() + noise.square())


def eps_from_eps(output: Tensor, z_t: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """Returns a prediction of eps as it is."""
    return output


def eps_from_v(output: Tensor, z_t: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """Turns a v-prediction into eps (Salimans & Ho 2022, appendix D); v is defined for signal² + noise² = 1."""
    return expand(signal) * output + expand(noise) * z_t


def eps_from_sample(output: Tensor, z_t: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """Turns a prediction of the clean latent into eps."""
    return (z_t - expand(signal) * output) / expand(noise)


def eps_from_flow(output: Tensor, z_t: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """Turns a velocity eps - z_0 into eps (Liu et al. 2022, rectified flow); it is defined for signal + noise = 1."""
    return z_t + expand(signal) * output


def eps_from_reversed_flow(output: Tensor, z_t: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """Turns a velocity z_0 - eps, of a model whose time runs from noise to image, into eps."""
    return z_t - expand(signal) * output


#: What turns each kind of output (N, C, h, w) into eps, given z_t (N, C, h, w), signal and noise (N,).
TO_EPS: dict[Prediction, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": eps_from_eps,
    "v_prediction": eps_from_v,
    "sample": eps_from_sample,
    "flow": eps_from_flow,
    "reversed_flow": eps_from_reversed_flow,
}


def guide(eps_uncond: Tensor, eps_text: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance, "uncond base": eps_uncond + scale (eps_text - eps_uncond).

    0 ignores the text and 1 is the text-conditional prediction. Frameworks that write eps_text + s (eps_text - eps_uncond)
    mean by s what is scale s + 1 here.
    """
    return eps_uncond + scale * (eps_text - eps_uncond)
