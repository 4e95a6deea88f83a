"""What stands on the terminal beside results: the first line, and Lightning's chatter only where it is asked for."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__
from .names import CONFIGS, named_configs, read_config

LIBRARIES = ("lightning", "lightning.pytorch", "lightning.fabric")


def first_line(args: list[str]) -> str:
    """Says at once, before anything large is imported, what is about to run: the config, its teacher, the device.

    >>> first_line(["fit", "--config", str(CONFIGS / "raster.yaml"), "--trainer.accelerator=cpu"]).split(": ")[1]
    'raster, teacher embedded, cpu'
    """
    files = named_configs(args)
    configs = [read_config(name) for name in files]
    names = [_short(name) for name, config in zip(files, configs, strict=True) if config and not name.startswith("{")]
    overlays = [name for name in names[1:] if not name.startswith("data/")]
    found = [" + ".join([*names[:1], *overlays])] if names else []
    teacher = next((path for name in ("teacher", "clip") if (path := _teacher(name, configs, args))), None)
    found += [f"teacher {teacher}"] if teacher else []
    return f"peekaboo {__version__}: " + ", ".join([*found, _device(configs, args)])


def _short(name: str) -> str:
    """The name of a config as it can be given again."""
    path = Path(name).resolve()
    inside = path.relative_to(CONFIGS.resolve()) if path.is_relative_to(CONFIGS.resolve()) else Path(path.name)
    return inside.with_suffix("").as_posix()


def _teacher(name: str, configs: list[dict[str, Any]], args: list[str]) -> str | None:
    found = None
    for config in configs:
        for keys in (("model", "init_args", "loss", "init_args"), ("model", "init_args")):
            found = _inside(config, *keys, name, "init_args", "path") or found
    return _given(args, [f"--model.{place}{name}.path" for place in ("loss.", "loss.init_args.", "")]) or found


def _inside(config: Any, *keys: str) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def _given(args: list[str], options: list[str]) -> str | None:
    """The last value of any of these options."""
    found = None
    for i, argument in enumerate(args):
        option, equals, value = argument.partition("=")
        if option in options:
            found = value if equals else next(iter(args[i + 1 : i + 2]), None)
    return found


def _device(configs: list[dict[str, Any]], args: list[str]) -> str:
    asked = _given(args, ["--trainer.accelerator"])
    for config in reversed(configs):
        asked = asked or _inside(config, "trainer", "accelerator")
    return likely_device() if asked in (None, "auto", "gpu") else str(asked)


def likely_device() -> str:
    """Guesses the device that `auto` will find, in no time; the last lines of a run name the one that it ran on."""
    if sys.platform == "darwin":
        return "mps" if os.uname().machine == "arm64" else "cpu"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    try:
        without = version("torch").endswith("+cpu")
    except PackageNotFoundError:
        without = True
    return "cuda" if Path("/dev/nvidiactl").exists() and not hidden and not without else "cpu"


def say_first_line(args: list[str]) -> None:
    """Prints it to standard error, once of all processes that share a run."""
    if os.environ.get("LOCAL_RANK", "0") == "0" and not {"--help", "-h", "--print_config"} & {a.split("=")[0] for a in args}:
        print(first_line(args), file=sys.stderr, flush=True)


class OwnWords(logging.Filter):
    """Lets warnings pass, and what this package says; what a library has to tell beside that is for ``--verbose``."""

    _package = str(Path(__file__).resolve().parents[1]) + os.sep

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or str(Path(record.pathname).resolve()).startswith(self._package)


def quiet(on: bool) -> None:
    """Puts the filter on what Lightning prints with, or takes it off."""
    for name in LIBRARIES:
        for handler in logging.getLogger(name).handlers:
            for old in [one for one in handler.filters if isinstance(one, OwnWords)]:
                handler.removeFilter(old)
            if on:
                handler.addFilter(OwnWords())
