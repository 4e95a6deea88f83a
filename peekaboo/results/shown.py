"""What a module must offer so that its fit can be checked, watched and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


class Kept(Protocol):
    """What a fit has made, and can write: a mask (:class:`Result`) or an image (:class:`Generated`)."""

    @property
    def record(self) -> dict[str, Any]:
        """What is known of the run, for ``result.json``."""

    @property
    def prompt(self) -> str:
        """What it is of."""

    @property
    def area(self) -> float:
        """Share of the image that it covers, in [0, 1]."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""

    def summary(self, folder: Path, iterations: int) -> list[str]:
        """Returns the lines that end a run: what it is, how good, and which file to open.

        Args:
            folder: where it was saved.
            iterations: that the run could have had.
        """

    def save(self, folder: str | Path) -> Path:
        """Writes its files and returns the folder."""


@runtime_checkable
class Shown(Protocol):
    """A LightningModule whose fit makes results; :class:`MaskBoard` and :class:`SaveResults` know it by this alone."""

    iterations: int

    def scalars(self) -> dict[str, float]:
        """Numbers of the last step, by the name of their curve."""

    def pictures(self) -> dict[str, Tensor]:
        """What there is to see now, by name: each (N, 1 or 3, H, W) in [0, 1]."""

    def results(self, iterations: int) -> Sequence[Kept]:
        """What has come of it after some iterations."""


@runtime_checkable
class Checked(Protocol):
    """A LightningModule that says what is wrong with a fit before it has a folder."""

    def check_fit(self, data: Any, trainer: Any) -> None:
        """Finds out what does not fit together.

        Args:
            data: the data module, or None.
            trainer: of the fit.

        Raises:
            ValueError, FileNotFoundError: in one line.
        """
