"""The command line: help at once, subcommands, errors of one line, and how its process begins and ends."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import sys
import threading
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

from .. import __version__
from ..results.exit_codes import NOTHING_FOUND, SAMPLES_FAILED
from .explaining import explain
from .help import help_for
from .surroundings import prepare


def main(args: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    0; 1 for a user's mistake that was explained; 3 if samples failed; 4 if all masks are empty.
    """
    given = sys.argv[1:] if args is None else args
    given, debug = _switch(given, "--debug")
    given, verbose = _switch(given, "--verbose", "-v")
    debug = debug or os.environ.get("PEEKABOO_DEBUG", "0") not in ("", "0")
    try:
        return _command(given, verbose)
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:  # by a signal; Lightning makes a 1 of Ctrl-C
        ended = 0 if stop.code is None else stop.code if isinstance(stop.code, int) else 1
        return 130 if isinstance(stop.__context__, KeyboardInterrupt) else ended
    except BrokenPipeError:  # `| head` has gone, and wants to hear no more
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
        return 141
    except Exception as error:
        line = None if debug else explain(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 1


def _switch(args: list[str], *names: str) -> tuple[list[str], bool]:
    """Takes a switch that has no value out of the arguments; behind an option that waits for its value it is that value."""
    found = [
        place
        for place, (before, argument) in enumerate(pairwise(["", *args]))
        if argument in names and (not before.startswith("--model.") or "=" in before)
    ]
    return [argument for place, argument in enumerate(args) if place not in found], bool(found)


def _command(args: list[str], verbose: bool) -> int:
    page = help_for(args)
    if page is not None:
        print(page.format(program=program()), flush=True)  # at once: the parser behind it imports for seconds
        return 0
    if args[0] == "--version":
        print(f"peekaboo {__version__}")
        return 0
    if args[:1] == ["report"]:
        from ..evaluation import report

        return report.main(args[1:])
    if args[:1] == ["words"]:
        from . import words

        return words.main(args[1:])
    if args[:1] == ["configs"]:
        from . import listing

        return listing.main(args[1:])
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", module="lightning|torch|jsonargparse|huggingface_hub")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_NoTips())
    if args[:1] == ["study"]:
        from . import study

        return study.main(args[1:])
    if args[:1] == ["web"]:
        from . import web

        return web.main(args[1:])
    done = run(args, verbose)
    if done.evaluation is not None and done.evaluation.failures:
        return SAMPLES_FAILED
    return NOTHING_FOUND if done.nothing_found else 0


def program() -> str:
    """How the user called this program: ``peekaboo``, ``python -m peekaboo`` or ``python cli.py``."""
    called = Path(sys.argv[0])
    return {"cli.py": "python cli.py", "__main__.py": "python -m peekaboo"}.get(called.name, "peekaboo")


def script() -> None:
    """The process of the command line: :func:`main`, without what the garbage collector costs at its start and at its end.

    Imports and parsers make objects by the million, and they stay. To look through them for garbage took a fifth of the start,
    and to take them down one by one, when the interpreter ends, two seconds. So `CommandLine` turns the collector on when all
    is built, and the process ends at once when nothing is left to do.
    """
    prepare()
    if not _let_own_classes_be_found():
        print("error: working directory: expected one that exists, got one that was deleted", file=sys.stderr)
        sys.exit(1)
    gc.disable()
    ending = _Ending()
    atexit.register(ending.leave)  # the first that is registered is the last that is called
    ending.code = main()
    sys.exit(ending.code)


class _Ending:
    """Ends the process behind everything that is registered with `atexit`."""

    code: int | None = None  # none where an exception came out of `main`, which the interpreter is to print and to count

    def leave(self) -> None:
        """Ends it, if no thread is at work; the streams are flushed."""
        if self.code is None or threading.active_count() > 1:
            return
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # `| head` has gone
                stream.flush()
        os._exit(self.code)


def _let_own_classes_be_found() -> bool:
    """Puts the working directory behind all libraries, so that YAML can name classes in a file of the user's own.

    In front, where `python -m` puts it, a `random.py` of the user's would be taken for Python's.

    Returns:
        False if there is no working directory any more.
    """
    try:
        here = str(Path.cwd())
    except FileNotFoundError:
        return False
    package = str(Path(__file__).resolve().parents[2])
    sys.path[:] = [*(place for place in sys.path if place == package or place not in ("", here)), here]
    return True


def run(args: list[str], verbose: bool = False) -> Any:
    """Builds the LightningCLI from arguments and runs its subcommand.

    Args:
        args: of the command line.
        verbose: let Lightning tell what it does.
    """
    from .names import with_found_configs
    from .quick import COMMANDS, expanded
    from .screen import quiet, say_first_line
    from .short import written_out

    if args[0] not in COMMANDS and not args[0].startswith("--"):
        args = expanded(args)
    args = with_found_configs(written_out(["--help" if argument == "--help-all" else argument for argument in args]))
    say_first_line(args)
    from .configs import with_input
    from .parser import CommandLine

    quiet(not verbose)
    return CommandLine(with_input(args), verbose)


class _NoTips(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "litlogger" not in record.getMessage().lower() and "Tip:" not in record.getMessage()
