"""What a module must offer so that its fit can be watched and kept."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from .result import Result


@runtime_checkable
class Shown(Protocol):
    """A LightningModule whose fit makes results; :class:`MaskBoard` and :class:`SaveResults` know it by this alone."""

    iterations: int

    def scalars(self) -> dict[str, float]:
        """Numbers of the last step, by the name of their curve."""

    def pictures(self) -> dict[str, Tensor]:
        """What there is to see now, by name: each (N, 1 or 3, H, W) in [0, 1]."""

    def results(self, iterations: int) -> list[Result]:
        """What has come of it after some iterations."""
