"""The link to the last run's folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def link_latest(root: Path, folder: Path) -> None:
    """Makes ``<root>/runs/latest`` a link to a run's folder, in the place of the link to the one before.

    It is not in ``lightning_logs``, where TensorBoard would show its run twice. A file system without links goes without one, and
    what somebody else has put there stays.

    Args:
        root: of the runs.
        folder: of this one.
    """
    link = root / "runs" / "latest"
    if link.exists() and not link.is_symlink():
        return
    new = link.with_name(f".latest-{os.getpid()}")
    with contextlib.suppress(OSError, NotImplementedError):
        link.parent.mkdir(parents=True, exist_ok=True)
        new.symlink_to(os.path.relpath(folder.resolve(), link.parent.resolve()), target_is_directory=True)
        os.replace(new, link)
