"""What one of several processes does for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lightning import Trainer

T = TypeVar("T")


def once(trainer: Trainer, act: Callable[[], T]) -> T:
    """Acts on the first rank, and returns what came of it on every one; all must call it together.

    Args:
        trainer: whose ranks.
        act: returns something that can be pickled.

    Raises:
        ValueError, OSError: on every rank, if the first one's ``act`` did; they would wait for it for ever otherwise.
    """
    found: tuple[T | None, Exception | None] = None, None
    if trainer.is_global_zero:
        try:
            found = act(), None
        except (ValueError, OSError) as error:
            if trainer.world_size == 1:
                raise
            found = None, error
    result, wrong = trainer.strategy.broadcast(found)
    if wrong is not None:
        raise wrong
    return result  # type: ignore[return-value]
