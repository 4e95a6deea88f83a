"""Cells run one after the other, each in a process of its own, which a signal ends in order."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..results.exit_codes import SAMPLES_FAILED
from ..results.interruption import SIGNALS, Interrupted, Interruption
from .folder import StudyFolder
from .study import Cell

Launch = Callable[[list[str]], int]
PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent dies


@dataclass
class Outcome:
    """How the cells of a run of a study ended.

    Attributes:
        failed: exit codes other than 0, by cell.
    """

    failed: dict[str, int] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit code of the study: 0; 3 if nothing but samples failed; else 1."""
        if not self.failed:
            return 0
        return SAMPLES_FAILED if set(self.failed.values()) == {SAMPLES_FAILED} else 1


def launch(arguments: list[str]) -> int:
    """Runs a command of this program in a process of its own, which dies with this one; returns its exit code.

    A signal that comes meanwhile is handed on, and the process has the time to keep what it has.

    Raises:
        Interrupted: behind that, by the signal.
    """
    command = [sys.executable, "-m", "peekaboo", *arguments]
    with Interruption().listening():
        process = subprocess.Popen(command, process_group=0, preexec_fn=_die_with_parent if sys.platform == "linux" else None)
        try:
            return process.wait()
        except Interrupted as stop:
            process.send_signal(stop.number)
            process.wait()
            raise
        except BaseException:
            process.kill()
            process.wait()
            raise


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def run_cells(folder: StudyFolder, cells: Sequence[Cell], launch: Launch = launch) -> Outcome:
    """Runs some cells of a study, and says how far it is.

    A cell that fails does not stop the others. Those that are complete run, too: whether their files and versions are today's
    is for the command itself to say, which leaves finished samples as they are.

    Args:
        folder: of the study, opened.
        cells: of it.
        launch: runs the command line of a cell, and returns its exit code.

    Raises:
        Interrupted: where a signal stopped a cell.
    """
    outcome = Outcome()
    spent: list[float] = []
    for number, cell in enumerate(cells):
        was_complete = folder.is_complete(cell)
        if folder.study.command == "fit" and was_complete:
            print(f"{_head(number, cells, cell)}: finished already", flush=True)
            continue
        print(f"{_head(number, cells, cell)}{_left(spent, folder, cells[number:])}", flush=True)
        started = time.monotonic()
        code = launch(folder.arguments(cell))
        number = -code if code < 0 else code - 128
        if number in SIGNALS:  # that came to it alone
            raise Interrupted(number)
        if code:  # also where the system killed it, for want of memory
            outcome.failed[cell.name] = code
        elif not was_complete:
            spent.append(time.monotonic() - started)
    return outcome


def _head(number: int, cells: Sequence[Cell], cell: Cell) -> str:
    return f"[{number + 1}/{len(cells)}] {cell.name}"


def _left(spent: list[float], folder: StudyFolder, cells: Sequence[Cell]) -> str:
    """The time that is left, by what the cells that were computed took."""
    if not spent:
        return ""
    open_cells = sum(not folder.is_complete(cell) for cell in cells)
    seconds = round(open_cells * sum(spent) / len(spent))
    hours, minutes = divmod(-(-seconds // 60), 60)
    return f" (about {f'{hours} h ' if hours else ''}{minutes} min left)"
