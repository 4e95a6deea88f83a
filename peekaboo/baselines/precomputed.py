"""Masks that another system made, scored by the same protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.base import Sample
from ..data.images import open_image
from ..results.result import Threshold
from .base import Baseline, size_of


class Precomputed(Baseline):
    """Reads ``<folder>/<id>.png``: a mask (0 / 255), or a soft map in 8 or 16 bit, as large as its image.

    Args:
        folder: of the masks; the ids are in any run's samples.csv.
        suffix: of the files.
        threshold, seed: see :class:`Baseline`.
    """

    def __init__(self, folder: str, suffix: str = ".png", threshold: Threshold = 0.5, seed: int = 0) -> None:
        super().__init__(threshold, seed)
        self.folder, self.suffix = Path(folder).expanduser(), suffix
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
        alpha = read_grey(self.folder / f"{sample.id}{self.suffix}")
        size = size_of(sample)
        if tuple(alpha.shape) != size:
            raise ValueError(
                f"folder: expected the mask of {sample.id} to be {size[1]} x {size[0]}, got {alpha.shape[1]} x {alpha.shape[0]}"
            )
        return alpha


def read_grey(path: Path) -> Tensor:
    """Reads a mask or soft map as (H, W) in [0, 1]; 16 bits and 1 bit are known by the file, colours are averaged."""
    image = open_image(path, "folder")
    if image.mode.startswith("I"):
        return torch.from_numpy(np.array(image).astype(np.float32)) / 65535
    pixels = torch.from_numpy(np.array(image.convert("L") if image.mode in ("1", "L", "LA") else image.convert("RGB")))
    return (pixels.float() / 255) if pixels.ndim == 2 else (pixels.float() / 255).mean(-1)
