"""Frozen networks that judge a composite."""

from .base import Teacher
from .clip import CLIP
from .confidence import Confidence
from .diffusion import Diffusion
from .text import Text

__all__ = ["CLIP", "Confidence", "Diffusion", "Teacher", "Text"]
