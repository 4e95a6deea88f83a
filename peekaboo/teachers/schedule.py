"""Noise schedules as tables over the 1000 timesteps: how much signal, how much noise, and at what time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..functional.diffusion import Prediction

TIMESTEPS = 1000
_DIFFUSION: tuple[Prediction, ...] = ("epsilon", "v_prediction", "sample")
#: Schedulers with another idea of noise than z_t = a z_0 + b eps of these two kinds.
_OTHERS = ("EDM", "SCM", "Karras", "CMStochastic", "VQDiffusion", "ScoreSde", "Unclip", "DDPMWuerstchen", "IPNDM")


class Schedule(nn.Module):
    """Signal and noise at t = 0..999, ascending in noise.

    Args:
        signal, noise: (1000,) each.
        prediction: of a network trained on it.

    Attributes:
        flow: whether it is that of a flow model, with signal 1 - s and noise s.
    """

    signal: Tensor
    noise: Tensor

    def __init__(self, signal: Tensor, noise: Tensor, prediction: Prediction) -> None:
        super().__init__()
        self.register_buffer("signal", signal.float(), persistent=False)
        self.register_buffer("noise", noise.float(), persistent=False)
        self.prediction = prediction
        self.flow = prediction not in _DIFFUSION

    def forward(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns signal and noise, (N,) float32 each, at t (N,) int64."""
        return self.signal[t], self.noise[t]


def read_schedule(config: dict[str, Any], tokens: int) -> Schedule:
    """Makes the schedule of a scheduler's configuration. Its class decides: others' keys are believed by no one.

    Args:
        config: scheduler_config.json.
        tokens: of an image in the denoiser, for flow models whose shift depends on them.

    Raises:
        ValueError: for a schedule that is neither a diffusion of 1000 timesteps nor a rectified flow.
    """
    name = str(config.get("_class_name"))
    prediction = str(config.get("prediction_type", "epsilon"))
    if name.startswith(_OTHERS):
        raise ValueError(f"scheduler: expected a diffusion or a rectified flow, got {name}")
    if config.get("num_train_timesteps", TIMESTEPS) != TIMESTEPS:
        raise ValueError(f"scheduler: expected {TIMESTEPS} timesteps, got {config['num_train_timesteps']}")
    if name.startswith("FlowMatch"):
        return flow_schedule(_shift(config, tokens))
    if prediction == "flow_prediction" or config.get("use_flow_sigmas"):
        return flow_schedule(float(config.get("flow_shift") or 1.0))
    if prediction not in _DIFFUSION:
        raise ValueError(f"scheduler: expected epsilon, v_prediction, sample or flow_prediction, got {prediction!r}")
    return _diffusion_schedule(config, prediction)  # type: ignore[arg-type]


def _diffusion_schedule(config: dict[str, Any], prediction: Prediction) -> Schedule:
    from diffusers import DDIMScheduler

    alpha_bar = DDIMScheduler.from_config(config).alphas_cumprod.float()
    return Schedule(alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), prediction)


def flow_schedule(shift: float) -> Schedule:
    """The rectified flow's s = k u / (1 + (k - 1) u) at u = (t + 1) / 1000, with the shift k (Esser et al. 2024, eq. 23)."""
    u = torch.arange(1, TIMESTEPS + 1, dtype=torch.float64) / TIMESTEPS
    s = shift * u / (1 + (shift - 1) * u)
    return Schedule(1 - s, s, "flow")


def _shift(config: dict[str, Any], tokens: int) -> float:
    """The shift k of a FlowMatch scheduler; the dynamic one is linear in the tokens of the image, in its exponent or itself."""
    if not config.get("use_dynamic_shifting"):
        return float(config.get("shift", 1.0))
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    mu = base + (top - base) * (tokens - low) / (high - low)
    return float(mu) if config.get("time_shift_type") == "linear" else math.exp(mu)


class TimestepTable(nn.Module):
    """A denoiser's sinusoidal embedding of its times, looked up by t = 0..999.

    It stays exact where the network or a compiler would round the time itself to bfloat16: 889 to 888 in a U-Net, .889 of
    Flux to .892.

    Args:
        embedding: diffusers' ``Timesteps``.
        times: (1000,), what the network was trained to read at each t.
    """

    table: Tensor

    def __init__(self, embedding: nn.Module, times: Tensor) -> None:
        super().__init__()
        self.embedding = embedding
        self.register_buffer("table", embedding(times), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Maps (N,) int64, or what :func:`as_digits` makes of it, to (N, D).

        Flux embeds its guidance, (N,) floating, by the same module: that goes through the embedding itself.
        """
        if t.ndim == 1 and t.is_floating_point():
            embedded: Tensor = self.embedding(t)
            return embedded
        if t.ndim == 2:
            high, low = t.round().long().unbind(1)
            t = 32 * high + low
        return self.table[t]


def as_digits(t: Tensor) -> Tensor:
    """Writes t (N,) int64 as two digits (N, 2) of base 32, small enough to survive networks that round their time to bfloat16."""
    return torch.stack([t // 32, t % 32], 1).float()
