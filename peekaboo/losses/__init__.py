"""How a composite is judged."""

from .base import Loss
from .clip import CLIPLoss
from .score_distillation import ScoreDistillation
from .weighted_sum import WeightedSum

__all__ = ["CLIPLoss", "Loss", "ScoreDistillation", "WeightedSum"]
