"""Where alphas begin: from a map of what the teacher sees already, instead of from noise alone."""

from .attention import Attention
from .base import Start
from .brightness import Brightness
from .file import File
from .given import Given
from .noise_difference import NoiseDifference
from .previous import Previous
from .run import Run

__all__ = ["Attention", "Brightness", "File", "Given", "NoiseDifference", "Previous", "Run", "Start"]
