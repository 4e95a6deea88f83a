"""Text-prompted segmentation with nothing trained for it, after "Peekaboo" (Burgert et al., arXiv 2211.13224)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import generate, load, segment
    from .optimisation.generator import Generator
    from .optimisation.segmenter import Segmenter
    from .results.generated import Generated
    from .results.result import Result

__version__ = "0.1.0"
_HOMES = {
    "generate": "api",
    "load": "api",
    "segment": "api",
    "Generated": "results.generated",
    "Generator": "optimisation.generator",
    "Result": "results.result",
    "Segmenter": "optimisation.segmenter",
}
__all__ = ["Generated", "Generator", "Result", "Segmenter", "generate", "load", "segment"]


def __getattr__(name: str) -> Any:
    """Imports on first use, so that `import peekaboo.functional` costs no Lightning."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'peekaboo' has no attribute {name!r}")
