"""Begin at a map from a file."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from ..data.masks import read_alpha
from ..functional.framing import Framing
from ..functional.random import Draws
from ..teachers.base import Teacher
from .base import Start, framed_map


class File(Start):
    """A grey picture that is bright where the object is, as large as the image; of one image, for `fit` and Python.

    Args:
        path: of the picture; several prompts take a list, a file each.
        scale, noise: see :class:`Start`.
    """

    def __init__(self, path: str | list[str], scale: float = 2.0, noise: float = 0.1) -> None:
        super().__init__(scale, noise)
        self.paths = [path] if isinstance(path, str) else list(path)

    def maps(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        if len(self.paths) != len(pairs):
            raise ValueError(f"start.path: expected a file for each of {len(pairs)} prompts, got {len(self.paths)}")
        found = []
        for path, pair in zip(self.paths, pairs, strict=True):
            values = read_alpha(path, (pair.image.shape[-2], pair.image.shape[-1]), "start.path")
            found.append(framed_map(values, images.shape[-1], framing))
        return torch.stack(found).to(images.device)

    def scaled(self, maps: Tensor) -> Tensor:
        return maps.clamp(0, 1)
