"""The CLIP loss of the paper's comparison: a composite is good if CLIP finds its prompt in it."""

from __future__ import annotations

from torch import Tensor

from ..functional.random import Draws
from ..teachers.clip import CLIP
from .base import Loss


class CLIPLoss(Loss):
    """Minus the CLIP logit of the composite with its prompt (Peekaboo, table 1, "CLIP loss"; Dream Fields, eq. 4).

    Args:
        clip: the frozen CLIP.
        coefficient: of the logit; the paper's is unpublished.
    """

    def __init__(self, clip: CLIP, coefficient: float = 1.0) -> None:
        super().__init__()
        self.clip, self.coefficient = clip, coefficient

    @property
    def teacher_name(self) -> str:
        return self.clip.name

    def forward(self, composite: Tensor, prompts: list[str], draws: Draws) -> Tensor:
        return -self.coefficient * self.clip.logits(composite, prompts)
