"""How a segmentation network is trained, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

Schedule = Literal["constant", "plateau", "linear"]


@dataclass(frozen=True)
class Recipe:
    """The optimiser and what goes with it; the defaults are the published ones (LD-ZNet's code).

    Attributes:
        learning_rate: of AdamW (the paper says Adam); a sample's and device's where ``per_sample``.
        per_sample: multiply it by the examples a step, over all devices: 5e-7 times 8 x 4 is 1.6e-5.
        weight_decay: PyTorch's default, as published.
        schedule: ``plateau`` halves the rate when the loss of an epoch has not fallen for two; ``linear`` warms up and then falls
            to zero with ``trainer.max_steps``; ``constant`` warms up and stays.
        warmup: steps of linear warm-up, of ``linear`` and ``constant``.
        ema: decay of the average of the weights, which begins at min(ema, (1 + n) / (10 + n)).

    Raises:
        ValueError: for a value out of its range.
    """

    learning_rate: float = 5e-7
    per_sample: bool = True
    weight_decay: float = 0.01
    schedule: Schedule = "plateau"
    warmup: int = 0
    ema: float = 0.9999

    def __post_init__(self) -> None:
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"recipe.schedule: expected one of {', '.join(get_args(Schedule))}, got {self.schedule!r}")
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.warmup < 0 or not 0 <= self.ema < 1:
            raise ValueError(
                "recipe: expected learning_rate over 0, weight_decay and warmup of at least 0 and ema in [0, 1), got "
                f"{self.learning_rate}, {self.weight_decay}, {self.warmup}, {self.ema}"
            )
        if self.schedule == "plateau" and self.warmup:
            raise ValueError(f"recipe.warmup: expected 0 with the plateau schedule, got {self.warmup}")

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at a step of ``linear`` or ``constant``."""
        falling = 1 - step / steps if self.schedule == "linear" else 1.0
        return max(min((step + 1) / (self.warmup + 1), 1.0) * falling, 0.0)


def cross_entropy(logits: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over the pixels that count (LD-ZNet, section 4); all arguments of one shape."""
    each = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    return (each * counts).sum() / counts.sum().clamp(min=1)


def averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """Returns what moves an `AveragedModel`: by decay min(decay, (1 + n) / (10 + n)) behind n updates."""

    def move(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        n = int(updates)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, torch.tensor(n))

    return move
