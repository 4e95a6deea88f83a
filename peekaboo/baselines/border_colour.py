"""Colour distance to the image's border: what needs neither words nor a network."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.maps import rescale
from ..results.result import Threshold
from .base import Baseline


class BorderColour(Baseline):
    """The distance of each pixel's colour from the median colour of the border, scaled to [0, 1].

    Args:
        border: width of the border as a fraction of the image's shorter side.
        threshold, seed: see :class:`Baseline`.
    """

    def __init__(self, border: float = 0.04, threshold: Threshold = "otsu", seed: int = 0) -> None:
        super().__init__(threshold, seed)
        if not 0 < border < 0.5:
            raise ValueError(f"border: expected a fraction between 0 and 0.5, got {border}")
        self.border = border

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        return [rescale(self.distance(sample.image)) for sample in samples]

    def distance(self, image: Tensor) -> Tensor:
        """Returns the Euclidean RGB distance (H, W) of a (3, H, W) image to the median of its border."""
        width = max(round(self.border * min(image.shape[-2:])), 1)
        inside = torch.zeros(image.shape[-2:], dtype=torch.bool, device=image.device)
        inside[width:-width, width:-width] = True
        colour = image[:, ~inside].median(1).values
        return (image - colour[:, None, None]).square().sum(0).sqrt()
