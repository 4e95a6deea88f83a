"""Frozen networks that judge a composite."""

from .base import Teacher
from .clip import CLIP
from .diffusion import Diffusion
from .text import Text

__all__ = ["CLIP", "Diffusion", "Teacher", "Text"]
