"""What the process of the command line is put right in before it starts: closed streams, and locales without Unicode."""

from __future__ import annotations

import codecs
import contextlib
import locale
import os
import sys

#: Set for the process that was started anew in UTF-8 mode: the encoding of its terminal.
TERMINAL = "PEEKABOO_TERMINAL_ENCODING"


def prepare() -> None:
    """Makes sure that whatever is written to the streams can be, and that text files and names are UTF-8."""
    open_closed_streams()
    if os.name == "posix" and needs_utf8() and TERMINAL not in os.environ:
        start_in_utf8()  # does not return
    encoding = os.environ.pop(TERMINAL, None)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # something else has taken its place
            stream.reconfigure(encoding=encoding or stream.encoding, errors="backslashreplace")  # type: ignore[union-attr]


def open_closed_streams() -> None:
    """Puts the null device in the place of standard streams that are closed (``>&-``), as daemons have them.

    Else the next file that is opened would become standard output, and whatever prints would write into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # for the life of the process


def needs_utf8() -> bool:
    """Whether Python reads and writes text in another encoding than UTF-8, because the locale says so."""
    return not sys.flags.utf8_mode and codecs.lookup(locale.getencoding()).name != "utf-8"


def start_in_utf8() -> None:
    """Starts the same command anew in Python's UTF-8 mode, which can only be chosen at the start.

    Configs and manifests are UTF-8 everywhere, and prompts may be in any script, so names of files must be able to be. Arguments
    that name a file that is there keep their bytes; all others are text, in the encoding of the terminal.
    """
    os.environ[TERMINAL] = getattr(sys.stdout, "encoding", None) or locale.getencoding()
    command = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv[1:])]  # options of Python, and what it runs
    arguments = [*map(os.fsencode, command), *map(in_utf8, sys.argv[1:])]
    os.execv(sys.executable, [os.fsencode(sys.executable), b"-Xutf8", *arguments])


def in_utf8(argument: str) -> bytes:
    """Returns an argument as the new process is to get it.

    >>> in_utf8("--model.prompt=caf\\u00e9")
    b'--model.prompt=caf\\xc3\\xa9'
    """
    value = argument.partition("=")[2] if argument.startswith("--") else argument
    with contextlib.suppress(ValueError, OSError):
        if value and os.path.lexists(value):
            return os.fsencode(argument)
    return argument.encode("utf-8", "surrogateescape")
