"""Begin at the alphas of another run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..data.base import Sample
from ..data.masks import read_alpha
from ..data.names import labels
from ..functional.framing import Framing
from ..functional.random import Draws
from ..teachers.base import Teacher
from .base import Start, framed_map


class Run(Start):
    """The alphas that another run left: a fit's ``alpha.png``, or ``alphas/`` of a data set (``--evaluation.save_alphas true``).

    Args:
        folder: of that run, of the same images and prompts.
        scale, noise: see :class:`Start`.
    """

    def __init__(self, folder: str, scale: float = 2.0, noise: float = 0.1) -> None:
        super().__init__(scale, noise)
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise FileNotFoundError(f"start.folder: expected the folder of a run, got {folder!r}, which is none")

    def maps(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        found = []
        for label, pair in zip(labels([pair.prompt for pair in pairs]), pairs, strict=True):
            size = (pair.image.shape[-2], pair.image.shape[-1])
            values = read_alpha(self._file(label, pair), size, "start.folder")
            found.append(framed_map(values, images.shape[-1], framing))
        return torch.stack(found).to(images.device)

    def _file(self, label: str, pair: Sample) -> Path:
        """The alpha of a pair: a data set's by its id, a fit's by its place and prompt."""
        places = (
            self.folder / "alphas" / f"{pair.id}.png",
            self.folder / label / "alpha.png",
            self.folder / "alpha.png",
        )
        for place in places:
            if place.is_file():
                return place
        raise FileNotFoundError(
            f"start.folder: expected an alpha of {pair.prompt!r} in {str(self.folder)!r} (alpha.png of a fit, or "
            f"alphas/{pair.id}.png of a `test` or `predict` with --evaluation.save_alphas true), got none"
        )

    def scaled(self, maps: Tensor) -> Tensor:
        return maps.clamp(0, 1)
