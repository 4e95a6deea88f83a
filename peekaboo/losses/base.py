"""The contract of what judges a composite."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ..functional.random import Draws
from ..identity import Configured
from ..teachers.base import Teacher


class Loss(Configured, nn.Module):
    """Judges composites: low where the image fits its prompt. A loss owns the frozen networks that it needs."""

    @abstractmethod
    def forward(self, composite: Tensor, prompts: list[str], draws: Draws) -> Tensor:
        """Returns one value a sample (N,), differentiable in the composite.

        Args:
            composite: (N, 3, H, W) in [0, 1].
            prompts: N of them.
            draws: the only source of randomness, so that a sample does not depend on its neighbours.
        """

    @property
    def resolution(self) -> int | None:
        """Side in pixels that the loss looks at, or None where it has no preference."""
        return None

    @property
    def diffusion(self) -> Teacher | None:
        """The diffusion model that judges, for what begins with what it sees; None for a loss without one."""
        return None

    @property
    def teacher_name(self) -> str | None:
        """Where the networks that judge came from, for the records."""
        return None
