"""From the finished cells of a study to its table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..evaluation.folder import file_name
from ..functional.scores import bootstrap_interval
from .folder import StudyFolder, fit_results, read_json
from .study import Cell

#: Measures that come first in the table, where a cell has them.
FIRST = ("n", "failed", "mIoU", "mIoU_low", "mIoU_high", "iou", "area", "pixel_variance", "total_variation", "seconds_per_sample")
SHOWN = ("n", "mIoU", "iou", "area", "confidence", "pixel_variance", "total_variation", "seconds_per_sample")


@dataclass
class Found:
    """What came of one cell.

    Attributes:
        cell: which.
        complete: whether all of it is there.
        measures: by name.
        intervals: bootstrap 95 % intervals over the samples, of those measures that have them.
        courses: how the alphas changed, by what is noted of them: a list of (iteration, mean over samples).
        pictures: cut-outs by sample, with the line that stands below each.
        command: with which the cell was made.
    """

    cell: Cell
    complete: bool
    measures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    courses: dict[str, list[tuple[float, float]]]
    pictures: dict[str, tuple[Path, str]] = field(default_factory=dict)
    command: str = ""


def collect(folder: StudyFolder) -> list[Found]:
    """Reads all cells that have results."""
    read = _of_test if folder.study.command == "test" else _of_fit
    return [found for found in (read(folder, cell) for cell in folder.cells) if found is not None]


def _of_test(folder: StudyFolder, cell: Cell) -> Found | None:
    place = folder.place(cell)
    metrics = read_json(place / "metrics.json")
    if not metrics.get("n"):
        return None
    rows = [row for row in map(read_json, sorted((place / "samples").glob("*.json"))) if row.get("scores")]
    measures = {key: float(value) for key, value in metrics.items() if _is_number(value)}
    for group, part in metrics.get("groups", {}).items():
        measures |= {f"{group}.{key}": float(value) for key, value in part.items() if _is_number(value)}
    measures["failed"] = float(len(metrics.get("failed", {})))
    intervals = {key: (low, high) for key, (low, high) in metrics.get("confidence_95", {}).items()}
    _add(measures, intervals, rows, {"area": "mask_fraction", "confidence": "confidence"})
    courses = _mean_courses([row["course"] for row in rows if row.get("course")])
    measures |= {name: points[-1][1] for name, points in courses.items()}
    pictures = {
        row["id"]: (place / "cutouts" / f"{file_name(row['id'])}.png", f"IoU {row['scores']['iou_own']:.2f}  {row['prompt']}")
        for row in rows
    }
    return Found(cell, bool(metrics.get("complete")), measures, intervals, courses, pictures, str(metrics.get("command", "")))


def _of_fit(folder: StudyFolder, cell: Cell) -> Found | None:
    places = fit_results(folder.place(cell))
    records = [read_json(place / "result.json") for place in places]
    if not records:
        return None
    keys = [key for key in records[0] if all(_is_number(record.get(key)) for record in records)]
    measures = {key: sum(float(record[key]) for record in records) / len(records) for key in keys}
    measures |= {"n": float(len(records)), "failed": 0.0}
    intervals: dict[str, tuple[float, float]] = {}
    if "mask_fraction" in measures:
        measures["area"] = measures["mask_fraction"]
    if len(records) > 1:
        for place, record in zip(places, records, strict=True):
            measures |= {
                f"{record.get('prompt', place.name)}.{key}": float(record[key])
                for key in ("iou", "mask_fraction")
                if _is_number(record.get(key))
            }
    courses = _mean_courses([record["course"] for record in records if record.get("course")])
    measures |= {name: points[-1][1] for name, points in courses.items()}
    pictures = {}
    for place, record in zip(places, records, strict=True):
        iou = f"IoU {record['iou']:.2f}  " if _is_number(record.get("iou")) else ""
        file = next((place / name for name in ("cutout.png", "image.png") if (place / name).is_file()), place / "cutout.png")
        pictures[place.name if len(places) > 1 else "fit"] = file, f"{iou}{record.get('prompt', '')}"
    return Found(cell, True, measures, intervals, courses, pictures)


def _add(
    measures: dict[str, float], intervals: dict[str, tuple[float, float]], rows: list[dict[str, Any]], names: dict[str, str]
) -> None:
    for name, key in names.items():
        values = [row[key] for row in rows if _is_number(row.get(key))]
        if values:
            column = torch.tensor(values, dtype=torch.float64)[:, None]
            (low,), (high,) = bootstrap_interval(column).tolist()
            measures[name], intervals[name] = float(column.mean()), (low, high)


def _mean_courses(courses: list[dict[str, list[float]]]) -> dict[str, list[tuple[float, float]]]:
    """The mean over samples at each step; a sample whose course is over keeps its last value."""
    if not courses:
        return {}
    steps = sorted({step for course in courses for step in course["iteration"]})
    found = {}
    for name in (name for name in courses[0] if name != "iteration"):
        points = []
        for step in steps:
            values = [max((s, v) for s, v in zip(c["iteration"], c[name], strict=True) if s <= step)[1] for c in courses]
            points.append((step, sum(values) / len(values)))
        found[name] = points
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def columns(found: list[Found]) -> list[str]:
    """Names of all measures of some cells, the first ones first."""
    names = dict.fromkeys(name for one in found for name in _with_bounds(one))
    return [name for name in FIRST if name in names] + [name for name in names if name not in FIRST]


def _with_bounds(one: Found) -> dict[str, float]:
    bounds = {
        f"{name}_{end}": value for name, ends in one.intervals.items() for end, value in zip(("low", "high"), ends, strict=True)
    }
    return one.measures | bounds


def table_csv(found: list[Found], axes: Iterable[str]) -> str:
    """Returns the text of cells.csv: a line a cell, with its place on the axes and all of its measures."""
    text, axes, names = io.StringIO(), list(axes), columns(found)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["cell", *axes, "complete", *names, "overrides"])
    for one in found:
        values = _with_bounds(one)
        cells = ["" if name not in values else round(values[name], 6) for name in names]
        overrides = {"config": list(one.cell.configs)} if one.cell.configs else {}
        own = json.dumps(overrides | one.cell.overrides)
        writer.writerow([one.cell.name, *(one.cell.labels.get(axis, "") for axis in axes), one.complete, *cells, own])
    return text.getvalue()


def table_markdown(found: list[Found]) -> str:
    """Returns what is printed at the end."""
    names = [name for name in SHOWN if any(name in one.measures for one in found)]
    lines = ["| cell | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for one in found:
        name = " ".join(one.cell.name.split()).replace("|", "\\|") + ("" if one.complete and not one.measures["failed"] else " *")
        lines.append(f"| {name} | " + " | ".join(_cell(one, key) for key in names) + " |")
    if any(line.split(" | ")[0].endswith("*") for line in lines[2:]):
        lines += ["", "\\* samples are missing or failed; see the cell's metrics.json."]
    return "\n".join(lines)


def _cell(one: Found, key: str) -> str:
    if key not in one.measures:
        return ""
    value = one.measures[key]
    if key == "n":
        return str(int(value))
    bounds = one.intervals.get(key)
    return f"{value:.3f}" + (f" ({bounds[0]:.3f}-{bounds[1]:.3f})" if bounds and key in ("mIoU", "area") else "")
