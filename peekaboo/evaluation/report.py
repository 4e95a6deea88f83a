"""Several runs in one table, beside the paper's: ``peekaboo report RUN... [--output FOLDER]``."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..data.checks import user_path
from ..functional.optional import extra, pyplot
from ..results.captions import font_for, written
from ..results.writing import write_bytes, write_text
from .metrics import LEVELS
from .paper import TABLES

COLUMNS = ("run", "n", "threshold", *(f"P@{level}" for level in LEVELS), "mIoU (95 % interval)")
FURTHER = ("mIoU at 0.5", "mIoU, Otsu", "mIoU, best threshold", "dataset IoU at 0.5", "s a sample")


def read_run(path: str | Path) -> dict[str, Any]:
    """Reads the metrics.json of a run's folder (or the file itself).

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is none of this program's, or has no scored sample.
    """
    file = user_path(path)
    file = file / "metrics.json" if file.is_dir() else file
    if not file.is_file():
        raise FileNotFoundError(f"run: expected the folder of a finished `test`, got {str(path)!r} without metrics.json")
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"run: expected JSON, got {str(file)!r}, which is broken ({error})") from None
    if not isinstance(metrics, dict) or not {"n", "mIoU", "confidence_95"} <= set(metrics):
        raise ValueError(f"run: expected the metrics of at least one scored sample, got {str(file)!r} without")
    folder = file.resolve().parent.name
    return {"variant": folder, "data": "?", "own_threshold": 0.5, "groups": {}, "failed": {}, **metrics, "folder": folder}


def by_data(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Sorts runs by the data set that they were measured on, with its arguments; different ones do not compare.

    Variants of the same name on the same data are told apart by their folders'.
    """
    kinds: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in runs:
        given = {key: value for key, value in run.get("data_arguments", {}).items() if value is not None}
        arguments = json.dumps(given, sort_keys=True)
        kinds.setdefault(run["data"].removesuffix("Data"), {}).setdefault(arguments, []).append(run)
    found = {}
    for kind, versions in kinds.items():
        first, *others = described = [json.loads(arguments) for arguments in versions]
        differing = [key for key in sorted({*first}.union(*others)) if any(o.get(key) != first.get(key) for o in others)]
        for own, some in zip(described, versions.values(), strict=True):
            title = ", ".join(f"{key}: {own.get(key)}" for key in differing)
            count = Counter(run["variant"] for run in some)
            found[kind + (f" ({title})" if title else "")] = [
                run | {"variant": f"{run['variant']} ({run['folder']})"} if count[run["variant"]] > 1 else run for run in some
            ]
    return found


def cells(run: dict[str, Any]) -> list[str]:
    """Returns a run's line: Prec@X and mIoU at the threshold it is configured with, and then the other measures."""
    low, high = run["confidence_95"]["mIoU_own_threshold"]
    name = run["variant"] + ("" if run.get("complete", True) and not run["failed"] else " *")
    return [
        name,
        str(run["n"]),
        str(run["own_threshold"]),
        *(f"{run[f'P@{level}_own_threshold']:.3f}" for level in LEVELS),
        f"**{run['mIoU_own_threshold']:.3f}** ({low:.3f}-{high:.3f})",
        *(f"{run[key]:.3f}" for key in ("mIoU", "mIoU_otsu", "mIoU_best_threshold", "dataset_IoU")),
        f"{run.get('seconds_per_sample', 0):.2f}",
    ]


def grid(header: tuple[str, ...], lines: list[list[str]]) -> str:
    """Returns a Markdown table; numbers stand right."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    written = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in [list(header), rule, *lines]]
    return "\n".join(f"| {' | '.join(line)} |" for line in written)


def markdown(runs: list[dict[str, Any]], paper: bool = True) -> str:
    """Returns the whole report: a table a data set, its parts if it has any, and the paper's."""
    parts = ["# Results"]
    for data, some in by_data(runs).items():
        parts += [f"## {data}", grid((*COLUMNS, *FURTHER), [cells(run) for run in some])]
        if any(not run.get("complete", True) or run["failed"] for run in some):
            parts.append("\\* samples are missing or failed; see the run's metrics.json.")
        groups = list(dict.fromkeys(group for run in some for group in run["groups"]))
        if groups:
            parts += [f"### mIoU at the configured threshold, by part of {data}", grid(("run", *groups), _by_group(some, groups))]
        ahead = [run for run in some if "named_ahead" in run]
        if ahead:
            lines = [[run["variant"], *(f"{run[k]:.3f}" for k in ("mIoU_other_object", "named_ahead"))] for run in ahead]
            header = ("run", "mIoU with the other", "named one ahead")
            parts += ["### Two or more objects, one named (threshold 0.5)", grid(header, lines)]
        parts += ["Made by:", "\n".join(f"- {run['variant']}: `{run.get('command', '?')}`" for run in some)]
    if paper:
        for name, rows in TABLES.items():
            lines = [[row[0], *(f"{value:.3f}" for value in row[1:])] for row in rows]
            parts += [f"## {name}", grid(("method", *(f"P@{level}" for level in LEVELS), "mIoU"), lines)]
    return "\n\n".join(parts) + "\n"


def _by_group(runs: list[dict[str, Any]], groups: list[str]) -> list[list[str]]:
    def cell(run: dict[str, Any], group: str) -> str:
        part = run["groups"].get(group, {"n": 0})
        return f"{part['mIoU_own_threshold']:.3f} (n {part['n']})" if part["n"] else "-"

    return [[run["variant"], *(cell(run, group) for group in groups)] for run in runs]


def plot(runs: list[dict[str, Any]], file: Path, paper: bool = True) -> None:
    """Draws mIoU with its 95 % interval, a panel a data set, the paper's beside them."""
    plots = pyplot(file.name)
    with extra("plots", file.name):
        from matplotlib.font_manager import FontProperties

    panels: list[tuple[str, list[tuple[str, float, float, float]]]] = []
    for data, some in by_data(runs).items():
        bars = [(run["variant"], run["mIoU_own_threshold"], *run["confidence_95"]["mIoU_own_threshold"]) for run in some]
        panels.append((f"{data}, n = {max(run['n'] for run in some)}", bars))
    if paper:
        panels += [(name, [(row[0], row[5], row[5], row[5]) for row in rows]) for name, rows in TABLES.items()]
    tallest = max(len(bars) for _, bars in panels)
    size = (5.5 * len(panels), 1.2 + 0.34 * tallest)
    font = font_for("".join(title + "".join(bar[0] for bar in bars) for title, bars in panels))
    file_of_font = getattr(font, "path", None)
    lettering = FontProperties(fname=file_of_font if isinstance(file_of_font, str) else None)
    figure, axes = plots.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    for axis, (title, bars) in zip(axes[0], panels, strict=True):
        names, means, lows, highs = zip(*bars, strict=True)
        errors = np.abs(np.array([lows, highs]) - np.array(means))
        published = title in TABLES
        places = range(len(bars))
        axis.barh(places, means, xerr=None if published else errors, color="#b0b0b0" if published else "#4c78a8", capsize=2)
        lines = [written(name, font) for name in names]
        axis.set_yticks(places, lines, parse_math=False, fontproperties=lettering)  # a dollar in a name is a dollar
        axis.invert_yaxis()
        axis.set_title(written(title, font), parse_math=False, fontproperties=lettering)
        axis.set(xlabel="mIoU (mean over samples)", xlim=(0, 1))
        axis.grid(axis="x", alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format="png")
    plots.close(figure)
    write_bytes(file, content.getvalue())


def main(args: list[str] | None = None) -> int:
    """Writes ``report.md`` and ``report.png`` and prints the former; returns the exit code."""
    parser = argparse.ArgumentParser(prog="peekaboo report", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished `test` (with metrics.json)")
    parser.add_argument("--output", default="report", help="folder for report.md and report.png (default: report)")
    parser.add_argument("--no-paper", action="store_true", help="leave the paper's tables out")
    options = parser.parse_args(args)
    try:
        runs = [read_run(path) for path in options.runs]
        folder = user_path(options.output)
        folder.mkdir(parents=True, exist_ok=True)
        text = markdown(runs, not options.no_paper)
        write_text(folder / "report.md", text)
        plot(runs, folder / "report.png", not options.no_paper)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"{text}\nwritten to {folder / 'report.md'} and {folder / 'report.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
