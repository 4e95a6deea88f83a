"""Masks that another system made, scored by the same protocol."""

from __future__ import annotations

from torch import Tensor

from ..data.base import Sample
from ..data.checks import user_path
from ..data.masks import Foreground, check_foreground, read_alpha
from ..results.result import Threshold
from .base import Baseline, size_of


class Precomputed(Baseline):
    """Reads ``<folder>/<id>.png``: a mask (0 / 255, 0 / 1, a palette, a cut-out), or a soft map in 8 or 16 bit, as large as its
    image; :func:`peekaboo.data.masks.read_alpha` says which is which.

    Args:
        folder: of the masks; the ids are in any run's samples.csv.
        suffix: of the files.
        threshold, seed: see :class:`Baseline`.
        foreground: what of the files is the object: an index, ``bright`` or ``opaque``; None where it is the only possibility.
    """

    def __init__(
        self, folder: str, suffix: str = ".png", threshold: Threshold = 0.5, seed: int = 0, foreground: Foreground = None
    ) -> None:
        super().__init__(threshold, seed)
        self.folder, self.suffix, self.foreground = user_path(folder), suffix, check_foreground(foreground)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"folder: expected a folder of masks named <id>{suffix}, got {folder!r}, which is none")

    @property
    def teacher_name(self) -> str:
        return str(self.folder)

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        return [self.read(sample) for sample in samples]

    def read(self, sample: Sample) -> Tensor:
        """Reads the mask of a sample, (H, W) in [0, 1].

        Raises:
            FileNotFoundError, ValueError: if there is none, or it has another size.
        """
        return read_alpha(self.folder / f"{sample.id}{self.suffix}", size_of(sample), "folder", self.foreground)
