"""What a learned image is made of."""

from .base import Image
from .fourier import Fourier
from .latent import Latent
from .raster import Raster

__all__ = ["Fourier", "Image", "Latent", "Raster"]
