"""What a study is: a YAML file that makes cells of a base config, of overlays and of overrides."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from ..data.names import slug

Command = Literal["test", "fit"]
View = Literal["overlay", "alpha", "cutout"]
CONFIG = "config"  # the axis whose values are configs, laid over the base
CONFIGURED = "as configured"  # the cell of `one_at_a_time` that changes nothing


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        name: that tells it from the others.
        labels: its place on each axis, as text.
        configs: overlays, in order.
        overrides: values of arguments.
    """

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    configs: tuple[str, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """What the figure of a study shows.

    Attributes:
        x: an axis with numbers; ``iteration`` for how alphas changed while they were optimised; a measure; or None for bars.
        y: measures, a panel each.
        lines: axis whose values are lines of their own; None for one line.
        scale: of x: ``linear``, ``log`` or ``symlog``.
    """

    x: str | None = None
    y: tuple[str, ...] = ("mIoU",)
    lines: str | None = None
    scale: Literal["linear", "log", "symlog"] = "linear"


@dataclass(frozen=True)
class Sheet:
    """What the contact sheet of a study shows.

    Attributes:
        samples: how many lines; 0 for no sheet.
        show: ``overlay`` of the mask, ``alpha``, or ``cutout`` on light grey.
    """

    samples: int = 4
    show: View = "overlay"


@dataclass(frozen=True)
class Study:
    """A study as its file has it; see docs/studies.md.

    Attributes:
        name: of the file.
        title: one line that says what is studied.
        command: what every cell runs: ``test`` on a data set, or ``fit`` of one image.
        base: configs that all cells begin with; the data set's is one of them.
        set: overrides that all cells share.
        axes: every combination of their values is a cell.
        one_at_a_time: each value of each axis is a cell, with all else as the base has it.
        cells: further ones, by name.
        figure: None for none.
        sheet: of pictures.
    """

    name: str
    base: tuple[str, ...]
    title: str = ""
    command: Command = "test"
    set: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, Any] = field(default_factory=dict)
    one_at_a_time: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    figure: Figure | None = None
    sheet: Sheet = Sheet()

    def all_cells(self) -> list[Cell]:
        """Returns the cells in order: those of the axes, of ``one_at_a_time``, and the named ones.

        Raises:
            ValueError: if there is none, or two share a name.
        """
        found: list[Cell] = []
        if self.axes:
            points = [_points(axis, values, "axes") for axis, values in self.axes.items()]
            found += [_joined(cells) for cells in itertools.product(*points)]
        if self.one_at_a_time:
            found.append(Cell(CONFIGURED))
            for axis, values in self.one_at_a_time.items():
                found += _points(axis, values, "one_at_a_time")
        found += [_cell(name, overrides, f"cells.{name}") for name, overrides in self.cells.items()]
        if not found:
            raise ValueError("study: expected some cells, by `axes`, `one_at_a_time` or `cells`, got none")
        double = [name for name, count in Counter(cell.name for cell in found).items() if count > 1]
        if double:
            raise ValueError(f"study: expected cells of different names, got {double[0]!r} twice")
        return found

    def arguments(self, cell: Cell, further: list[str]) -> list[str]:
        """Returns the command line of a cell, without the place of its results.

        Args:
            cell: of this study.
            further: configs and arguments of the user's for all cells, which win over ``base`` and ``set``.
        """
        shared = [part for config in self.base for part in ("--config", config)]
        own = [part for config in cell.configs for part in ("--config", config)]
        return [self.command, *shared, *own, *_options(self.set), *further, *_options(cell.overrides)]


def option(key: str) -> str:
    """Returns the name of an argument as it is compared: ``model.alpha.init_args.passes`` is ``model.alpha.passes``."""
    return ".".join(part for part in key.removeprefix("--").split(".") if part != "init_args")


def _options(overrides: dict[str, Any]) -> list[str]:
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in overrides.items()]


def _joined(cells: tuple[Cell, ...]) -> Cell:
    labels = {axis: label for cell in cells for axis, label in cell.labels.items()}
    configs = tuple(config for cell in cells for config in cell.configs)
    overrides = {key: value for cell in cells for key, value in cell.overrides.items()}
    return Cell(", ".join(cell.name for cell in cells), labels, configs, overrides)


def _points(axis: str, values: Any, where: str) -> list[Cell]:
    """Makes a cell of each value of one axis."""
    place = f"{where}.{axis}"
    if not isinstance(values, list | dict) or not values:
        raise ValueError(f"{place}: expected a list of values, or a mapping of names to them, got {values!r}")
    named = values if isinstance(values, dict) else {_label(value): value for value in values}
    if len(named) < len(values):
        raise ValueError(f"{place}: expected different values, got {values!r}")
    found = []
    for label, value in named.items():
        if axis == CONFIG:
            cell = _cell(str(label), {CONFIG: value}, place)
        elif "." in axis:
            short = axis.rsplit(".", 1)[1]
            cell = _cell(str(label) if isinstance(values, dict) else f"{short} {label}", {axis: value}, place)
        elif isinstance(values, dict) and isinstance(value, dict):
            cell = _cell(str(label), value, place)
        else:
            raise ValueError(
                f"{place}: expected an argument as `model.penalty`, `config`, or a name whose values are mappings of names to "
                f"overrides, got {values!r}"
            )
        found.append(Cell(cell.name, {axis: str(label)}, cell.configs, cell.overrides))
    return found


def _cell(name: str, given: Any, place: str) -> Cell:
    if not isinstance(given, dict):
        raise ValueError(f"{place}: expected a mapping of arguments to values, got {given!r}")
    configs = given.get(CONFIG) or []
    return Cell(str(name), {}, _texts(configs, f"{place}.{CONFIG}"), _overrides(given, place))


def _overrides(given: Any, place: str) -> dict[str, Any]:
    found = {str(key): value for key, value in given.items() if key != CONFIG}
    for key in found:
        if "." not in key:
            raise ValueError(f"{place}: expected arguments as `model.penalty`, got {key!r}")
    return found


def _label(value: Any) -> str:
    if isinstance(value, str):
        return Path(value).stem if value.endswith((".yaml", ".yml")) else value
    return "none" if value is None else json.dumps(value)


def _texts(given: Any, place: str) -> tuple[str, ...]:
    some = [given] if isinstance(given, str) else given
    if not isinstance(some, list | tuple) or not all(isinstance(one, str) for one in some):
        raise ValueError(f"{place}: expected the name of a config, or a list of them, got {given!r}")
    return tuple(some)


def read_study(path: str | Path) -> Study:
    """Reads a study.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for what is wrong in it, in one line.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"config: expected a study as `studies/penalty` or a YAML file, got {str(path)!r}")
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"config: expected YAML, got {str(path)!r}: {' '.join(str(error).split())[:200]}") from None
    known = {one.name for one in fields(Study)} - {"name"} | {"data"}
    if not isinstance(given, dict) or "base" not in given:
        raise ValueError(f"config: expected a study, with `base` and `axes`, got {str(path)!r}, which is none")
    _check_keys(given, known, "study")
    command = given.get("command", "test")
    if command not in get_args(Command):
        raise ValueError(f"study.command: expected one of {', '.join(get_args(Command))}, got {command!r}")
    base = _texts(given["base"], "study.base") + _texts(given.get("data") or [], "study.data")
    parts = {key: _mapping(given, key) for key in ("set", "axes", "one_at_a_time", "cells")}
    parts["set"] = _overrides(parts["set"], "study.set")
    return Study(slug(file.stem), base, str(given.get("title", "")), command, **parts, figure=_figure(given), sheet=_sheet(given))


def _mapping(given: dict[str, Any], key: str) -> dict[str, Any]:
    found = given.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"study.{key}: expected a mapping, got {found!r}")
    return found


def _check_keys(given: dict[str, Any], known: set[str], place: str) -> None:
    if unknown := [str(key) for key in given if key not in known]:
        raise ValueError(f"{place}: expected some of {', '.join(sorted(known))}, got {', '.join(unknown)}")


def _figure(given: dict[str, Any]) -> Figure | None:
    found = _mapping(given, "figure")
    if not found:
        return None
    _check_keys(found, {one.name for one in fields(Figure)}, "study.figure")
    scale, y = found.get("scale", "linear"), _texts(found.get("y", "mIoU"), "study.figure.y")
    if scale not in ("linear", "log", "symlog"):
        raise ValueError(f"study.figure.scale: expected linear, log or symlog, got {scale!r}")
    axes = _mapping(given, "axes")
    lines = found.get("lines")
    if lines is not None and lines not in axes:
        raise ValueError(f"study.figure.lines: expected one of the axes {', '.join(axes)}, got {lines!r}")
    return Figure(found.get("x"), y, lines, scale)


def _sheet(given: dict[str, Any]) -> Sheet:
    found = _mapping(given, "sheet")
    _check_keys(found, {one.name for one in fields(Sheet)}, "study.sheet")
    sheet = Sheet(**found)
    if not isinstance(sheet.samples, int) or sheet.samples < 0 or sheet.show not in get_args(View):
        raise ValueError(f"study.sheet: expected samples of 0 or more, and show of {' or '.join(get_args(View))}, got {found!r}")
    return sheet
