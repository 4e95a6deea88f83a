"""What a sample was read from: the checksum of its files, so that a run that goes on sees whether they are still the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Content:
    """The content that a sample came from.

    Attributes:
        size: of the image file, in bytes.
        sha256: of the image file, as ``sha256sum`` prints it.
        annotation: 16 hexadecimal digits of a SHA-256 over all the rest: prompt, mask files, polygons.
    """

    size: int
    sha256: str
    annotation: str


def printable(path: str | Path) -> str:
    """Returns a path as text that can be written anywhere: bytes of a name that are no UTF-8 become ``\\xe9``."""
    text = str(path)
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # halves of characters, out of JSON
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def content_of(files: Sequence[Path], annotation: Any = None) -> Content:
    """Reads and digests what a sample is made of.

    Args:
        files: the image, then the other files (masks).
        annotation: what else decides the sample, as plain values.

    Raises:
        OSError: if a file cannot be read.
    """
    size, sha256 = _digest(files[0])
    rest = [annotation, [_digest(file)[1] for file in files[1:]]]
    text = json.dumps(rest, sort_keys=True, default=str)
    return Content(size, sha256, hashlib.sha256(text.encode()).hexdigest()[:16])


def _digest(file: Path) -> tuple[int, str]:
    now = file.stat()
    return _digest_of(str(file), now.st_size, now.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of(file: str, size: int, modified: int) -> tuple[int, str]:
    """Digests a file; expressions that share an image share the work, until the file's size or time changes."""
    with open(file, "rb") as opened:
        return size, hashlib.file_digest(opened, "sha256").hexdigest()
