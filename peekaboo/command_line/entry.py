"""LightningCLI with Peekaboo's defaults, bare config names, and errors of one line."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import sys
import threading
import warnings
from typing import Any

USAGE = """usage: python cli.py {fit,test,predict} --config NAME.yaml [--config OVERLAY.yaml ...] [--ARGUMENT VALUE ...]

  fit      one image: a mask for each prompt, with pictures and TensorBoard events in lightning_logs/version_N
  test     a data set with ground truth: a table of Prec@X and mIoU; the same command goes on where it was stopped
  predict  a data set without: masks

A bare NAME.yaml is looked up in configs/. Later configs and arguments win.

  python cli.py fit --config depth_bilateral.yaml
  python cli.py fit --config rgb_bilateral.yaml --model.image dog.jpg --model.prompt "a dog"
  python cli.py test --config rgb_bilateral.yaml --config data/scenes.yaml
  python cli.py predict --config rgb_bilateral.yaml --data.images FOLDER --data.prompt "a dog"

All arguments: python cli.py fit --help; of one class: python cli.py fit --model.help peekaboo.optimisation.segmenter.Segmenter"""


def main(args: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0; 1 for a user's mistake that was explained; 3 if samples failed."""
    given = sys.argv[1:] if args is None else args
    if not given or given[0] in ("-h", "--help"):
        print(USAGE)  # at once: the parser behind it imports for seconds
        return 0
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", module="lightning|torch|jsonargparse|huggingface_hub")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_NoTips())
    from .configs import find_config, with_input

    args = with_input([find_config(a) for a in given])
    try:
        failures = run(args).evaluation.failures
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 1
    return 3 if failures else 0


def script() -> None:
    """The process of the command line: :func:`main`, without what the garbage collector costs at its start and at its end.

    Imports and parsers make objects by the million, and they stay. To look through them for garbage took a fifth of the start,
    and to take them down one by one, when the interpreter ends, two seconds. So `CommandLine` turns the collector on when all
    is built, and the process ends at once when nothing is left to do: what is registered with `atexit` is done, the streams are
    flushed, and no thread is at work.
    """
    gc.disable()
    code = main()
    if threading.active_count() > 1:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # `| head` has gone
            stream.flush()
    os._exit(code)


def run(args: list[str]) -> Any:
    """Builds the LightningCLI from arguments and runs its subcommand."""
    from .parser import CommandLine

    return CommandLine(args)


class _NoTips(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "litlogger" not in record.getMessage().lower() and "Tip:" not in record.getMessage()


def explain(error: Exception) -> str | None:
    """Returns one line for what a user can mend, or None for what is our own mistake."""
    import torch
    from jsonargparse import ArgumentError

    from ..optimisation.guard import GradientError
    from .messages import one_line

    if isinstance(error, torch.OutOfMemoryError):
        return (
            "out of GPU memory: lower the number of prompts or `--data.batch_size`, use `--trainer.precision bf16-mixed`, "
            "or a smaller `resolution` of the teacher"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    if isinstance(error, ValueError | FileNotFoundError | GradientError | ArgumentError):
        return one_line(str(error))
    return None
