"""``peekaboo configs``: what there is to choose from, with a line each."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap

from .names import CONFIGS, all_configs, did_you_mean

GROUPS = {
    "": "variants and overlays",
    "teachers": "teachers, behind a variant: --teacher NAME, or --config teachers/NAME",
    "paper": "published settings",
    "baselines": "baselines, for `test` and `predict`",
    "data": "data sets, for `test` and `predict`",
    "studies": "grids of runs, for `study`",
    "loggers": "loggers of a fit",
    "pretraining": "trainings of the embedded models",
    "trainers": "devices and precision",
}


def main(arguments: list[str]) -> int:
    """Prints the configs whose names have one of the words in them; all without a word."""
    names = [name for name in all_configs() if not arguments or any(word in name for word in arguments)]
    if not names:
        print(
            f"error: configs: expected part of a name, got {arguments[0]!r}{did_you_mean(arguments[0], all_configs())}",
            file=sys.stderr,
        )
        return 1
    print("\n".join(lines(names, shutil.get_terminal_size((100, 24)).columns)))
    return 0


def lines(names: list[str], width: int) -> list[str]:
    """Returns the listing: groups with their names, each with what its file says of itself first."""
    out: list[str] = []
    room = max(map(len, names)) + 2
    group = None
    for name in names:
        if (now := name.rpartition("/")[0]) != group:
            group = now
            out += ([""] if out else []) + [f"{GROUPS.get(group, group)}:"]
        out.append(f"  {name:{room}}{textwrap.shorten(about(name), max(width - room - 2, 20), placeholder=' ...')}")
    return out


def about(name: str) -> str:
    """Returns the first sentence of a config's first comment.

    >>> about("raster")
    'Raster: one free number a pixel (Peekaboo, table 1, "Raster")'
    """
    comment: list[str] = []
    for line in (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or re.match(r"#\s+python |#   ", line):
            break
        comment.append(line.lstrip("# "))
    return re.split(r"(?<=[\w)])\.(?: |$)|: data/", " ".join(comment))[0]
