"""What a user can mend, in one line; what is our own mistake is none of it."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from pathlib import Path


def explain(error: Exception) -> str | None:
    """Returns one line for what a user can mend, or None for what is our own mistake.

    Mistakes of a user are what this package itself raises, what the argument parser says, and what the system says of files.
    A ValueError out of a library is not among them: it was given something that this package should have refused.
    """
    from .messages import one_line

    if isinstance(error, _loaded("torch", "OutOfMemoryError")):
        return (
            "out of GPU memory: lower the number of prompts or `--data.batch_size`, use `--trainer.precision bf16-mixed`, "
            "or a smaller `resolution` of the teacher"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    refusals = (*_REFUSALS, *_loaded("peekaboo.optimisation.guard", "GradientError"))
    if isinstance(error, _loaded("jsonargparse", "ArgumentError")) or (
        isinstance(error, refusals) and any(map(_raised_here, _chain(error)))
    ):
        return one_line(str(error))
    return None


def _loaded(module: str, name: str) -> tuple[type[Exception], ...]:
    """A class of errors, or none before its module is imported, which takes seconds: none can have been raised then."""
    found = sys.modules.get(module)
    return () if found is None else (getattr(found, name),)


_REFUSALS: tuple[type[Exception], ...] = (ValueError, FileNotFoundError, ModuleNotFoundError)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was made of: the parser wraps what a constructor raises."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _raised_here(error: BaseException) -> bool:
    """Whether a `raise` of this package made the error, and not a library, or a conversion in one of our lines."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    raised = code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raised and Path(code.co_filename).resolve().is_relative_to(Path(__file__).resolve().parents[1])
