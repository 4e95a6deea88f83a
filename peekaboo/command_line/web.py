"""The page as a command: ``peekaboo web``; see docs/web.md."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ..functional.optional import extra
from .explaining import explain
from .listing import about
from .names import all_configs, did_you_mean, find_config, read_config, teacher_of
from .screen import likely_device
from .short import DEFAULT

if TYPE_CHECKING:
    from ..web.wishes import Offer

SEGMENTER = "peekaboo.optimisation.segmenter.Segmenter"
OPTIONS = ("--host", "--port", "--teacher", "--device", "--max_side", "--max_iterations")
EPILOGUE = """Without --teacher the embedded one is offered, which knows drawn objects and no photographs. A teacher of the hub is
downloaded when somebody first chooses it on the page, and at no other time."""


def main(args: list[str], wait: Callable[[], Any] | None = None) -> int:
    """Serves the page until it is interrupted; returns the exit code.

    Args:
        args: of the command line.
        wait: returns when the server is to end; None for Ctrl-C.

    Raises:
        ModuleNotFoundError: without the extra ``web``.
        ValueError, FileNotFoundError: for what is wrong, in one line.
    """
    options = parse(args)
    with extra("web", "peekaboo web"):
        import gradio  # noqa: F401  # found out now, before anything is said or loaded
    where = options.device or likely_device()
    print(f"peekaboo {__version__}: web, teacher {', '.join(options.teacher)}, {where}", file=sys.stderr, flush=True)
    from ..web.server import is_loopback, serve
    from ..web.wishes import Limits
    from .loading import device_of
    from .words import known_names

    if options.device is not None:
        device_of(options.device)
    limits = Limits(max_side=options.max_side, max_iterations=options.max_iterations)
    words = known_names() if "embedded" in options.teacher else None
    server = serve(offer(options.teacher, options.device), options.host, options.port, limits, words)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # deletes what was uploaded, too
    try:
        if not is_loopback(options.host):
            warning = f"{options.host} is more than this machine: whoever reaches it can use the page, without a password"
            print(f"warning: host: {warning}", file=sys.stderr)
        print(f"{server.url} is the page; Ctrl-C ends it", flush=True)
        (wait or threading.Event().wait)()
    finally:
        signal.signal(signal.SIGTERM, before)
        server.close()
    return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as all commands do."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"web: {message}")


def parse(args: list[str]) -> argparse.Namespace:
    """Reads the arguments of the command.

    Raises:
        ValueError, FileNotFoundError: for one that is wrong, in one line.
    """
    parser = _Parser(
        prog="peekaboo web",
        description=__doc__,
        epilog=EPILOGUE,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="of it; 0 for any that is free (default: 7860)")
    parser.add_argument(
        "--teacher",
        action="append",
        metavar="NAME",
        help="sd15, a folder, ...; repeated, the page has a choice (default: embedded)",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: the best there is)")
    parser.add_argument("--max_side", type=int, default=1024, help="pixels; larger images are made smaller (default: 1024)")
    parser.add_argument("--max_iterations", type=int, default=400, help="that may be asked for (default: 400)")
    options, further = parser.parse_known_args(args)
    if further:
        near = did_you_mean(further[0].partition("=")[0], OPTIONS)
        raise ValueError(f"web: expected some of {', '.join(OPTIONS)}, got {further[0]!r}{near}")
    if not 0 <= options.port < 2**16:
        raise ValueError(f"port: expected a number in 0..65535, got {options.port}")
    options.teacher = list(dict.fromkeys(options.teacher or ["embedded"]))
    for name in options.teacher:
        teacher_of(name)
    return options


def offer(teachers: list[str], device: str | None) -> Offer:
    """Returns what the page offers: all variants by which a segmenter is made, the default first.

    Args:
        teachers: names; the first is chosen.
        device: for all; None for the best there is.
    """
    from ..web.wishes import Offer

    names = [name for name in all_configs() if "/" not in name and _model(name).get("class_path") == SEGMENTER]
    names.sort(key=lambda name: name != DEFAULT)
    return Offer({name: about(name) for name in names}, tuple(teachers), partial(_load, device), _iterations, explain)


def _load(device: str | None, variant: str, teacher: str) -> Any:
    from .loading import load

    return load(variant, teacher=teacher, device=device)


def _iterations(variant: str, teacher: str) -> int:
    """How long a variant runs with a teacher, by their configs alone."""
    overlay, _ = teacher_of(teacher)
    found = [_model(name).get("init_args", {}).get("iterations") for name in (overlay, variant) if name is not None]
    return next(int(number) for number in found if number is not None)


def _model(name: str) -> dict[str, Any]:
    return read_config(find_config(name)).get("model", {})
