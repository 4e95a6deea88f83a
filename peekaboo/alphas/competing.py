"""Prompts that compete for the pixels of one image."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Alpha


class Competing(Alpha):
    """Makes the N maps of one image share its pixels: a softmax over the N prompts and the background.

    At every pixel the N opacities and the background's sum to 1. The background's logit is 0, so that a single prompt is
    the same as without competition: softmax over (l, 0) is sigmoid(l). Use it only where all pairs are one image: the maps
    of different images would compete too, so a batch of several is refused.

    Args:
        field: any other alpha.
    """

    coupled = True

    def __init__(self, field: Alpha) -> None:
        super().__init__()
        self.field = field

    def reset(self, image: Tensor, seeds: list[int]) -> None:
        if not all(torch.equal(other, image[0]) for other in image[1:]):
            raise ValueError("alpha: Competing expected several prompts of one image, got a batch of different images")
        self.field.reset(image, seeds)

    def begin_at(self, logits: Tensor) -> None:
        self.field.begin_at(logits)

    def logits(self) -> Tensor:
        return self.field.logits()

    def forward(self) -> Tensor:
        logits = self.logits()
        return torch.cat([logits, torch.zeros_like(logits[:1])]).softmax(0)[:-1]
