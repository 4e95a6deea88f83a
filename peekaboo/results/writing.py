"""The one way in which files of results are written: whole or not at all, and for good."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

#: Names of files that are being written; they say by whom.
PARTIAL = re.compile(r"\.peekaboo-(?P<host>[\w.-]+)-(?P<process>\d+)-[0-9a-f]{8}\.partial")


def host() -> str:
    """Names this machine, as a piece of a file name."""
    return re.sub(r"[^\w.-]", "_", socket.gethostname(), flags=re.ASCII) or "localhost"


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that no reader, crash, signal or power cut ever sees half of it.

    It is written beside its place, brought to the disk, and renamed; the folder is brought to the disk, too, where that can be.

    Raises:
        OSError: if it cannot be written; what was there stays.
    """
    partial = path.with_name(f".peekaboo-{host()}-{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Brings a folder's list of names to the disk, on systems that open folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes text in UTF-8; see :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Writes JSON; see :func:`write_bytes`."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_picture(path: Path, picture: Image.Image, **options: Any) -> None:
    """Writes a picture in the format of the name's suffix; see :func:`write_bytes`.

    Args:
        path: of the file.
        picture: what to write.
        options: of Pillow's ``save``.
    """
    content = io.BytesIO()
    picture.save(content, format=Image.registered_extensions()[path.suffix.lower()], **options)
    write_bytes(path, content.getvalue())


def write_timelapse(path: Path, frames: Sequence[Image.Image]) -> None:
    """Writes pictures as a GIF that goes round, twelve a second; see :func:`write_bytes`."""
    write_picture(path, frames[0], save_all=True, append_images=frames[1:], duration=80, loop=0)


def is_whole_png(path: Path, size: tuple[int, int] | None = None) -> bool:
    """Whether a file is a PNG from its first byte to its last.

    Args:
        path: of the file.
        size: width and height that it must have; None for any.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture, path.open("rb") as file:
            file.seek(-12, os.SEEK_END)
            return (size is None or picture.size == size) and file.read(12)[4:8] == b"IEND"
    except (OSError, ValueError, SyntaxError):  # not there, empty, cut, something else
        return False
