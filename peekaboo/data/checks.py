"""What every reader of files asks first, and says in one line: is it there, can it be read, does it say something."""

from __future__ import annotations

import codecs
import json
import os
import re
from pathlib import Path
from typing import Any

_HALF = re.compile(r"[\ud800-\udfff]")  # of a character, or a byte that is no UTF-8


def user_path(path: str | os.PathLike[str]) -> Path:
    """Returns a path that a user gave, ``~`` expanded to the home folder, unless a file of that very name is there.

    Names that a folder or a list gave are not for this: ``~x.png`` in them is a file like any other.
    """
    given = Path(path)
    if not str(given).startswith("~") or os.path.lexists(given):
        return given
    try:
        return given.expanduser()
    except RuntimeError:  # no such user, or nobody's home is known
        return given


def require(path: Path, argument: str, layout: str, source: str) -> Path:
    """Returns ``path`` if it is there.

    Raises:
        FileNotFoundError: else, in one line: the argument, the path that is missing, the layout and where the data come from.
        ValueError: if it may not be looked at.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no system can have a file of that name
        raise FileNotFoundError(f"{argument}: expected {layout}, but {str(path)!r} does not exist; {source}") from None
    except OSError as error:
        raise ValueError(f"{argument}: expected {layout}, but {str(path)!r} cannot be opened ({error.strerror})") from None
    return path


def read_bytes(path: Path, argument: str) -> bytes:
    """Reads a text file as UTF-8 bytes, without a byte-order mark; UTF-16 is known by its own.

    Raises:
        ValueError: if it cannot be read, with its name.
    """
    try:
        raw = path.read_bytes()
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return raw.decode("utf-16").encode()
    except OSError as error:
        raise ValueError(f"{argument}: expected a file, got {str(path)!r}, which cannot be opened ({error.strerror})") from None
    except UnicodeError as error:
        raise ValueError(f"{argument}: expected text in UTF-8, got {str(path)!r}, which is broken UTF-16 ({error})") from None
    return raw.removeprefix(codecs.BOM_UTF8)


def read_json(path: Path, argument: str) -> Any:
    """Reads a JSON file.

    Raises:
        ValueError: if it is no JSON.
    """
    try:
        return json.loads(read_bytes(path, argument))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{argument}: expected JSON, got {str(path)!r}, which is broken ({error})") from None


def read_names(path: Path, argument: str) -> list[str]:
    """Reads a list of file names, the first word of each line; bytes that are no UTF-8 stand for themselves, as in paths.

    Raises:
        ValueError: if it cannot be read, with its name.
    """
    lines = read_bytes(path, argument).decode("utf-8", "surrogateescape").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def check_text(value: object, where: str) -> str:
    """Returns ``value`` if it is a string that says something, in whole characters.

    Raises:
        ValueError: if it is not; ``where`` opens the message.
    """
    return check_unicode(check_string(value, where), where)


def check_string(value: object, where: str) -> str:
    """Returns ``value`` without the blanks around it if it is a string that is not blank.

    Raises:
        ValueError: if it is not; ``where`` opens the message.
    """
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected a string, got {type(value).__name__} {str(value)[:40]!r}")
    if not value.strip():
        raise ValueError(f"{where}: expected some text, got an empty string")
    return value.strip()


def check_unicode(value: str, where: str) -> str:
    """Returns ``value`` if it can be written as UTF-8: text that was cut in the middle of an emoji, or is of another encoding,
    cannot.

    Raises:
        ValueError: if it cannot; ``where`` opens the message.
    """
    if half := _HALF.search(value):
        raise ValueError(
            f"{where}: expected text in Unicode, got half a character or a stray byte, {half[0]!r}, in {value[:60]!r}"
        )
    return value
