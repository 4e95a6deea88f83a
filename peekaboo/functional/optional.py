"""Libraries that a part of the program needs and its core does without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Wraps the import of a library that an extra of the package brings, and says so where it is missing.

    Args:
        name: of the extra, as in ``pip install 'peekaboo[NAME]'``.
        purpose: what asked for the library, as the user knows it.

    Raises:
        ModuleNotFoundError: in one line, if it is not installed.

    Example:
        >>> with extra("plots", "report.png"):
        ...     import no_such_library
        Traceback (most recent call last):
        ...
        ModuleNotFoundError: report.png: expected no_such_library, which is not installed; pip install 'peekaboo[plots]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = f"{purpose}: expected {error.name}, which is not installed; pip install 'peekaboo[{name}]'"
        raise ModuleNotFoundError(missing, name=error.name) from error


def pyplot(purpose: str) -> Any:
    """Returns matplotlib's pyplot, which draws without a display.

    Args:
        purpose: see :func:`extra`.

    Raises:
        ModuleNotFoundError: in one line, if matplotlib is not installed.
    """
    with extra("plots", purpose):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    return pyplot
