"""Signals that end a run: what there is is kept, and the exit code says which signal it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: Ctrl-C, `kill` and every supervisor, a closed terminal, time limits of schedulers (`sbatch --signal=USR1@60`), of CPU time.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGBREAK")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Interrupted(SystemExit):
    """A signal asked the run to end. Uncaught it ends the process with 128 + the signal's number, as shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


def stops(exception: BaseException) -> bool:
    """Whether an exception is somebody's wish to stop, and no mistake."""
    return isinstance(exception, Interrupted | KeyboardInterrupt)


class Interruption:
    """Raises :class:`Interrupted` when a signal asks for it: at once, or behind what must not be torn apart.

    Attributes:
        asked: number of the signal that came, or 0.
        patient: never raise by itself; :meth:`check` does. For processes that must stop together.
    """

    def __init__(self, patient: bool = False) -> None:
        self.asked, self.patient = 0, patient
        self._whole = self._stopping = False

    def listen(self) -> None:
        """Takes the signals over. A trainer gives them back itself when it is done; see :meth:`listening`.

        Call it from ``on_train_start`` and its like, when the trainer has put its own handlers, which it replaces.
        """
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` means it
                    signal.signal(number, self._take)

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Takes the signals over and gives them back."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        try:
            yield self
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> Any:
        if self._stopping:
            if number == signal.SIGINT:  # a second Ctrl-C means now
                raise KeyboardInterrupt
            return
        self.asked = self.asked or number
        if not self.patient and not self._whole:
            self.check()

    def begin_whole(self) -> None:
        """What comes is not to be torn apart."""
        self._whole = True

    def end_whole(self) -> None:
        """It is done.

        Raises:
            Interrupted: if a signal came meanwhile.
        """
        self._whole = False
        if not self.patient:
            self.check()

    def check(self, asked: int | None = None) -> None:
        """Raises where a signal came.

        Args:
            asked: number of the signal, where it came to another process.

        Raises:
            Interrupted: once.
        """
        number = self.asked if asked is None else asked
        if number and not self._stopping:
            self._stopping = True
            raise Interrupted(number)


def forward(trainer: Any, number: int) -> None:
    """Hands a signal on to the processes that this one has started as ranks of its own."""
    launcher = trainer.strategy.launcher
    if launcher is not None:
        launcher.kill(number)
