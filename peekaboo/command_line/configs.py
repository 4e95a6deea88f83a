"""Configs by name, and what the command line must know of them before it parses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def find_config(argument: str) -> str:
    """Looks a bare config name up in ``configs/``: ``depth_bilateral.yaml``, ``teachers/sd15.yaml``, ``--config=x.yaml``."""
    prefix, name = ("--config=", argument[9:]) if argument.startswith("--config=") else ("", argument)
    if name.endswith((".yaml", ".yml")) and not Path(name).exists() and (CONFIGS / name).exists():
        return prefix + str(CONFIGS / name)
    return argument


def drop_stale_mask(args: list[str]) -> list[str]:
    """A config's ground truth is of its own image and prompt: where a later config or argument names others it no longer counts.

    A mask that is named without an image and a prompt is of whatever image the run has.
    """
    flags = {a.split("=")[0].removeprefix("--model.").removeprefix("init_args.") for a in args if a.startswith("--model.")}
    sources = [{*model, *(model.get("init_args") or {})} for model in (model_of(config) for config in named_configs(args))]
    own = stale = False
    for given in (*sources, flags):
        names_what = bool(given & {"image", "prompt"})
        if "mask" in given:
            own, stale = names_what, False
        elif names_what:
            stale = own
    return [*args, "--model.mask=null"] if stale else args


def named_configs(args: list[str]) -> list[str]:
    """Returns the files of ``--config FILE``, ``--config=FILE`` and ``-c FILE``, in order.

    >>> named_configs(["fit", "--config=a.yaml", "-c", "b.yaml"])
    ['a.yaml', 'b.yaml']
    """
    found = []
    for before, argument in pairwise(["", *args]):
        if before in ("--config", "-c"):
            found.append(argument)
        elif argument.startswith(("--config=", "-c=")):
            found.append(argument.split("=", 1)[1])
    return found


def model_of(config: str) -> dict[str, Any]:
    """Reads the ``model`` of a config file; empty where the parser will say what is wrong with it."""
    model = read_config(config).get("model")
    return model if isinstance(model, dict) else {}


def read_config(config: str) -> dict[str, Any]:
    """Reads a config file; empty where the parser will say what is wrong with it."""
    import yaml

    try:
        found = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
