"""What is said when an evaluation is over: what was found, what failed, how long it took, and where it is."""

from __future__ import annotations

import sys
from typing import Any

from .folder import RunFolder

SHOWN = 5  # empty masks, and samples that failed, that are named on the terminal


def nothing_found(rows: list[dict[str, Any]]) -> bool:
    """Whether there are masks, and all of them are empty."""
    done = [row for row in rows if row["error"] is None]
    return bool(done) and all(row.get("empty") for row in done)


def say_the_end(stage: str, folder: RunFolder, rows: list[dict[str, Any]], metrics: dict[str, Any]) -> None:
    """Prints it; what failed goes to standard error.

    Args:
        stage: ``test``, or ``predict``, which has no table and says what its masks show.
        folder: of the run.
        rows: of all samples that it has.
        metrics: of :func:`peekaboo.evaluation.tables.summarise`.
    """
    failed = list(metrics["failed"].items())
    done = len(rows) - len(failed)
    if stage == "predict":
        empty = [row["id"] for row in rows if row.get("empty")]
        if empty:
            named = ", ".join(empty[:SHOWN]) + (" ..." if empty[SHOWN:] else "")
            print(f"\n{len(empty)} of {done} masks are empty: nothing was found in {named}")
        if photographs := sum(bool(row.get("photograph")) for row in rows):
            print(f"\n{photographs} of {done} look like photographs, and the teacher knows drawings alone; add --teacher sd15")
    each = f"{1000 * metrics['seconds_per_sample']:.0f} ms each"
    print(f"\n{done} of {metrics['expected']} samples in {metrics['seconds']:.1f} s, {each}; results in {folder.path}")
    for name, reason in failed[:SHOWN]:
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if failed[SHOWN:]:
        print(f"failed: {len(failed) - SHOWN} more; {folder.path / 'samples.csv'} has all, with why", file=sys.stderr)
