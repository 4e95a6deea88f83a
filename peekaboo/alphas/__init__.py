"""What an alpha is made of: fields, and wrappers around them."""

from .base import Alpha
from .bicubic import Bicubic
from .bilateral import Bilateral
from .competing import Competing
from .fourier import Fourier
from .margin import Margin
from .raster import Raster

__all__ = ["Alpha", "Bicubic", "Bilateral", "Competing", "Fourier", "Margin", "Raster"]
