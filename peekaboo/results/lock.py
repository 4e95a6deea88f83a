"""One process at a time in a run's folder."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from .writing import host, write_json

LOCK, OWNER = ".lock", "running.json"
PATIENCE = 10.0  # seconds in which what a dead process has started dies, too


class RunLock:
    """Holds a folder for this process, until it is released or the process ends, however it ends.

    The lock is the operating system's own (``flock`` and its like), which a dead process cannot keep, on this machine or, on
    network file systems that pass locks on, on another. ``running.json`` says to people who holds it.

    Args:
        folder: that exists.
        argument: that the folder came from, for the message.
    """

    def __init__(self, folder: Path, argument: str) -> None:
        self.folder, self.argument = folder, argument
        self._lock: Any = None

    def acquire(self) -> None:
        """Takes the folder.

        Raises:
            ValueError: if another process has it, in a line that says which.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / LOCK)
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if not self._owner_is_dead():
                    raise
                lock.acquire(timeout=PATIENCE, poll_interval=0.2)
        except Timeout:
            raise ValueError(f"{self.argument}: expected a folder that nobody else is working in, got {self._used()}") from None
        self._lock = lock
        about = {"host": host(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_json(self.folder / OWNER, about)

    def release(self) -> None:
        """Gives the folder back; nothing where it is not held."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                (self.folder / OWNER).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _owner(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / OWNER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _owner_is_dead(self) -> bool:
        owner = self._owner()
        return owner.get("host") == host() and isinstance(owner.get("process"), int) and not is_alive(owner["process"])

    def _used(self) -> str:
        owner = self._owner()
        who = f"process {owner.get('process', '?')} on {owner.get('host', '?')} has had since {owner.get('since', '?')}"
        return f"{str(self.folder)!r}, which {who}; wait for it or stop it, the same command goes on then"


def is_alive(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    import psutil

    return psutil.pid_exists(process)
