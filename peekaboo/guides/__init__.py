"""What a bilateral filter respects."""

from .base import Guide
from .depth import Depth
from .rgb import RGB
from .rgb_depth import RGBDepth

__all__ = ["RGB", "Depth", "Guide", "RGBDepth"]
