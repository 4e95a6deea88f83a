"""The whole image as the mask: what knowing nothing scores."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from .base import Baseline


class WholeImage(Baseline):
    """Marks every pixel (the row "Random" of Peekaboo's tables)."""

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        return [torch.ones(sample.image.shape[-2:]) for sample in samples]
