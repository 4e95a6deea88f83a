"""What the processes of a benchmark do where only their company is tested. It imports nothing, since they would for seconds."""

from __future__ import annotations

import multiprocessing
import sys
from argparse import Namespace
from typing import Any


def number() -> int:
    """Of the process; those that are started together count on."""
    return int(multiprocessing.current_process().name.rpartition("-")[2])


def count_together(options: Namespace, processes: int, batch: int, barrier: Any, results: Any) -> None:
    """Reports 1 and 2 iterations a second in turn, once all have come to the start."""
    assert (processes, batch) == (2, 1) and options.iterations == 1
    barrier.wait(60)
    results.put((1.0 + number() % 2, 7))
    barrier.wait(60)


def fail_in_turn(options: Namespace, processes: int, batch: int, barrier: Any, results: Any) -> None:
    """One fails; the other waits for it."""
    if number() % 2:
        sys.exit(3)
    barrier.wait()
