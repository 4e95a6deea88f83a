"""What belongs to each open page, and goes with it: the event that stops its job, its uploads, its downloads."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class _Session:
    stop: threading.Event = field(default_factory=threading.Event)
    folder: Path | None = None
    uploads: set[Path] = field(default_factory=set)


class Sessions:
    """Sessions by the names that browsers gave them; no name becomes a part of a path.

    Args:
        root: folder in which each gets one of its own, and in which uploads are.
        kept: a folder in it whose files are nobody's own.
    """

    def __init__(self, root: Path, kept: Path) -> None:
        self.root, self.kept = root, kept
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def begin(self, name: str) -> None:
        """Makes way for another job of a session: one that it has is ended."""
        session = self._of(name)
        session.stop.set()
        session.stop = threading.Event()

    def stop(self, name: str) -> threading.Event:
        """Returns the event that ends the last job that a session began."""
        return self._of(name).stop

    def folder(self, name: str) -> Path:
        """Returns the folder of a session."""
        session = self._of(name)
        if session.folder is None:
            session.folder = Path(tempfile.mkdtemp(dir=self.root))
        return session.folder

    def uses(self, name: str, upload: str | None) -> None:
        """Notes a file that a session uploaded."""
        file = Path(upload or self.kept)
        if file.is_relative_to(self.root) and not file.is_relative_to(self.kept):
            self._of(name).uploads.add(file)

    def end(self, name: str) -> None:
        """Ends the job of a session, and deletes its files; uploads that another has as well stay until that one ends."""
        with self._lock:
            session = self._sessions.pop(name, None)
            others = {upload for other in self._sessions.values() for upload in other.uploads}
        if session is None:
            return
        session.stop.set()
        if session.folder is not None:
            shutil.rmtree(session.folder, ignore_errors=True)
        for upload in session.uploads - others:
            with contextlib.suppress(OSError):
                upload.unlink()

    def close(self) -> None:
        """Ends all sessions."""
        for name in list(self._sessions):
            self.end(name)

    def _of(self, name: str) -> _Session:
        with self._lock:
            return self._sessions.setdefault(name, _Session())
