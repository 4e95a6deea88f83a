"""The figure of a study."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..functional.optional import pyplot
from ..results.captions import font_for, written
from ..results.writing import write_bytes
from .measures import Found
from .study import Figure, Study

PURPOSE = "study.figure"  # that asks for matplotlib
COURSE = "iteration"  # the x that shows how alphas changed
NAMES = {
    "area": "area of the mask",
    "mIoU": "mIoU (mean over samples)",
    "seconds_per_sample": "seconds a mask",
    "total_variation": "total variation (sides)",
    "pixel_variance": "pixel variance",
    "mean_alpha": "mean of alpha",
}


def draw(study: Study, found: list[Found], file: Path) -> None:
    """Draws a panel for each measure: lines over an axis or over iterations, points over a measure, or bars.

    Args:
        study: with a figure.
        found: its cells.
        file: a PNG.
    """
    figure = study.figure
    assert figure is not None
    plot = pyplot(PURPOSE)
    tall = 1.2 + 0.3 * len(found) if figure.x is None else 4.2
    canvas, axes = plot.subplots(
        1, len(figure.y), figsize=(5.4 * len(figure.y), max(tall, 3)), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[0], figure.y, strict=True):
        if figure.x is None:
            _bars(axis, name, found)
        elif figure.x == COURSE:
            _courses(axis, name, found)
        elif any(figure.x in one.cell.labels for one in found):
            _lines(axis, name, found, figure)
        else:
            _points(axis, name, found, figure.x)
        if figure.x is not None:
            axis.set(xlabel=NAMES.get(figure.x, figure.x), ylabel=NAMES.get(name, name))
            _scale(axis, found, figure)
        axis.grid(alpha=0.3)
    canvas.suptitle(_text(study.title or study.name), parse_math=False)
    content = io.BytesIO()
    canvas.savefig(content, dpi=120, format="png")
    plot.close(canvas)
    write_bytes(file, content.getvalue())


def _text(text: str) -> str:
    return written(text, font_for(text))


def _bars(axis: Any, name: str, found: list[Found]) -> None:
    some = [one for one in found if name in one.measures]
    values = np.array([one.measures[name] for one in some])
    ends = np.array([one.intervals.get(name, (one.measures[name],) * 2) for one in some]).reshape(-1, 2).T
    axis.barh(range(len(some)), values, xerr=np.abs(ends - values), color="#4c78a8", capsize=2)
    axis.set_yticks(range(len(some)), [_text(one.cell.name) for one in some], parse_math=False)
    axis.invert_yaxis()
    axis.set(xlabel=NAMES.get(name, name))


def _lines(axis: Any, name: str, found: list[Found], figure: Figure) -> None:
    groups: dict[str, list[tuple[float, Found]]] = {}
    for one in found:
        at = _number(one.cell.labels.get(str(figure.x)))
        if at is not None and name in one.measures:
            others = {key: label for key, label in one.cell.labels.items() if key != figure.x}
            line = others.get(figure.lines, "") if figure.lines else ", ".join(others.values())
            groups.setdefault(line, []).append((at, one))
    for label, some in groups.items():
        some.sort(key=lambda point: point[0])
        places, values = [at for at, _ in some], [one.measures[name] for _, one in some]
        (line,) = axis.plot(places, values, marker="o", label=_text(label))
        if all(name in one.intervals for _, one in some):
            low, high = zip(*(one.intervals[name] for _, one in some), strict=True)
            axis.fill_between(places, low, high, color=line.get_color(), alpha=0.15)
    if len(groups) > 1:
        axis.legend()


def _scale(axis: Any, found: list[Found], figure: Figure) -> None:
    """Scales x, with a tick at each value of its axis; what lies below the smallest is linear where 0 is among them."""
    places = sorted({at for one in found if (at := _number(one.cell.labels.get(str(figure.x)))) is not None})
    least = min((abs(at) for at in places if at), default=1.0)
    axis.set_xscale(figure.scale, **({"linthresh": least} if figure.scale == "symlog" else {}))
    if places:
        axis.set_xticks(places, [f"{at:g}" for at in places])
        axis.minorticks_off()


def _courses(axis: Any, name: str, found: list[Found]) -> None:
    for one in found:
        if name in one.courses:
            axis.plot(*zip(*one.courses[name], strict=True), label=_text(one.cell.name))
    axis.legend(fontsize="small")


def _points(axis: Any, name: str, found: list[Found], x: str) -> None:
    for one in found:
        if name in one.measures and x in one.measures:
            at = one.measures[x], one.measures[name]
            axis.plot(*at, marker="o", linestyle="none")
            axis.annotate(_text(one.cell.name), at, xytext=(5, 3), textcoords="offset points", fontsize=7, parse_math=False)


def _number(label: str | None) -> float | None:
    try:
        value = float(label or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
