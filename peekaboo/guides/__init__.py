"""What a bilateral filter respects."""

from .base import Guide
from .depth import Depth
from .rgb import RGB

__all__ = ["RGB", "Depth", "Guide"]
