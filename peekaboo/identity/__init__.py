"""What a run is: the constructor arguments of its parts, kept as they are made."""

from .configured import Configured, describe, undeclared
from .digests import differences, digest, flatten

__all__ = ["Configured", "describe", "differences", "digest", "flatten", "undeclared"]
