"""Several losses at once."""

from __future__ import annotations

from torch import Tensor, nn

from ..functional.random import Draws
from ..teachers.base import Teacher
from .base import Loss


class WeightedSum(Loss):
    """The weighted sum of other losses: distillation and CLIP together, say.

    Args:
        losses: at least one.
        weights: one for each; None for all 1.
    """

    def __init__(self, losses: list[Loss], weights: list[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(losses) if weights is None else weights
        if not losses or len(weights) != len(losses):
            raise ValueError(f"weights: expected one for each of at least one loss, got {len(weights)} for {len(losses)} losses")
        self.losses, self.weights = nn.ModuleList(losses), weights

    @property
    def resolution(self) -> int | None:
        sides = [loss.resolution for loss in self.losses if isinstance(loss, Loss) and loss.resolution]
        return max(sides, default=None)

    @property
    def diffusion(self) -> Teacher | None:
        found = (loss.diffusion for loss in self.losses if isinstance(loss, Loss))
        return next((teacher for teacher in found if teacher is not None), None)

    @property
    def teacher_name(self) -> str:
        return " + ".join(str(loss.teacher_name) for loss in self.losses)

    def forward(self, composite: Tensor, prompts: list[str], draws: Draws) -> Tensor:
        parts = enumerate(zip(self.weights, self.losses, strict=True))
        values = [weight * loss(composite, prompts, draws.of(str(number))) for number, (weight, loss) in parts]
        return sum(values[1:], values[0])
