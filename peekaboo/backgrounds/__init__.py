"""What a composite is laid over."""

from .base import Background
from .fading_image import FadingImage
from .fixed_colour import FixedColour
from .random_colour import RandomColour

__all__ = ["Background", "FadingImage", "FixedColour", "RandomColour"]
