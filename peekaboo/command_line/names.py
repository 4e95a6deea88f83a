"""Configs by name. Nothing large is imported here, since the first line and the list of configs come at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

#: Beside the package in the repository, inside it in a wheel.
CONFIGS = next(folder / "configs" for folder in Path(__file__).resolve().parents[1:3] if (folder / "configs").is_dir())
CONFIG = ("--config", "-c")


def find_config(name: str) -> str:
    """Looks the name of a config up: a file of that name, else one in ``configs/``; ``.yaml`` may be left out.

    A config that is written out, ``{"model": ...}``, is returned as it is.

    >>> Path(find_config("teachers/sd15")).relative_to(CONFIGS).as_posix()
    'teachers/sd15.yaml'

    Raises:
        FileNotFoundError: with the names that are nearest, if there is none.
    """
    if name.startswith("{") or Path(name).is_file():
        return name
    for place in (Path(name), CONFIGS / name, CONFIGS / name.removeprefix("configs/")):
        for file in (place, Path(f"{place}.yaml")):
            if file.suffix in (".yaml", ".yml") and file.is_file():
                return str(file)
    near = did_you_mean(re.sub(r"\.ya?ml$", "", name), all_configs())
    raise FileNotFoundError(
        f"config: expected the name of a config or a YAML file, got {name!r}{near}; `peekaboo configs` lists them"
    )


def with_found_configs(args: list[str]) -> list[str]:
    """Puts files in the place of the names of configs.

    Raises:
        FileNotFoundError: for a name that is none.
    """
    out: list[str] = []
    for argument in args:
        option, given, value = argument.partition("=")
        if out and out[-1] in CONFIG:
            out.append(find_config(argument))
        else:
            out.append(f"{option}={find_config(value)}" if given and option in CONFIG else argument)
    return out


def all_configs() -> list[str]:
    """Returns the names of all configs that come with the program, variants first.

    >>> all_configs()[0], "teachers/sd15" in all_configs()
    ('attention_start', True)
    """
    names = [file.relative_to(CONFIGS).with_suffix("").as_posix() for file in CONFIGS.rglob("*.yaml")]
    return sorted(names, key=lambda name: (name.count("/"), name))


def teacher_of(name: str) -> tuple[str | None, str | None]:
    """Returns the overlay that a teacher's name stands for, or else the path of its weights.

    >>> teacher_of("sd15"), teacher_of("owner/model"), teacher_of("embedded")
    (('teachers/sd15', None), (None, 'owner/model'), (None, None))

    Raises:
        ValueError: for a name that is none, with the nearest.
    """
    short = name.removesuffix(".yaml").removeprefix("teachers/")
    teachers = [one.removeprefix("teachers/") for one in all_configs() if one.startswith("teachers/")]
    if short == "embedded":
        return None, None  # the variants' own
    if short in teachers:
        return f"teachers/{short}", None
    if "/" in name or "\\" in name or Path(name).expanduser().is_dir():
        return None, name
    near = did_you_mean(short, teachers)
    raise ValueError(f"teacher: expected one of {', '.join(teachers)}, a folder, or a hub name OWNER/MODEL, got {name!r}{near}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ``; did you mean 'x'?`` with the nearest of the known words, also by their last part; empty if none is near.

    >>> did_you_mean("rgb_bilatral", ["raster", "rgb_bilateral"])
    "; did you mean 'rgb_bilateral'?"
    >>> did_you_mean("sd15", ["teachers/sd15"])
    "; did you mean 'teachers/sd15'?"
    """
    names = list(dict.fromkeys(known))
    found = [name for name in names if name.rsplit("/", 1)[-1] == word] or get_close_matches(word, names, 2, 0.6)
    likeness = [SequenceMatcher(None, name, word).ratio() for name in found]
    near = [name for name, alike in zip(found, likeness, strict=True) if alike > max(likeness) - 0.05]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def named_configs(args: list[str]) -> list[str]:
    """Returns the files of ``--config FILE``, ``--config=FILE`` and ``-c FILE``, in order.

    >>> named_configs(["fit", "--config=a.yaml", "-c", "b.yaml"])
    ['a.yaml', 'b.yaml']
    """
    found = []
    for before, argument in pairwise(["", *args]):
        if before in CONFIG:
            found.append(argument)
        elif argument.startswith(("--config=", "-c=")):
            found.append(argument.split("=", 1)[1])
    return found


def read_config(config: str) -> dict[str, Any]:
    """Reads a config file; empty where the parser will say what is wrong with it."""
    try:
        return _parsed(Path(config).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=32)
def _parsed(text: str) -> dict[str, Any]:
    """Parses a config once, however many look into it before the parser does; nobody may change what comes back."""
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
