"""The folder of a study: what says whose it is, and a folder for each of its cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..data.names import slug
from ..identity import differences
from ..results.writing import write_json
from .study import Cell, Study

#: Arguments that change no result.
INDIFFERENT = ("--data.batch_size", "--data.num_workers", "--data.init_args.batch_size", "--data.init_args.num_workers")


class StudyFolder:
    """Where a study keeps its cells and what comes of them.

    Args:
        path: of the folder.
        study: whose it is.
        further: arguments of the user's for all cells.
        configs: contents of all configs that the cells name, by name.
    """

    def __init__(self, path: Path, study: Study, further: list[str], configs: dict[str, Any]) -> None:
        self.path, self.study, self.further = path, study, further
        self.cells = study.all_cells()
        self.identity = identity_of(study, further, configs)

    def check(self) -> None:
        """Makes sure that the folder is new, or this study's.

        Raises:
            ValueError: if it is another's, with what differs.
        """
        file = self.path / "study.json"
        if not file.is_file():
            return
        try:
            then = json.loads(file.read_text(encoding="utf-8"))["identity"]
        except (ValueError, KeyError, TypeError):
            then = None
        if not isinstance(then, dict):
            raise ValueError(f"output: expected a new folder or a study's, got {str(self.path)!r}, whose study.json is broken")
        if changes := differences(then, self.identity):
            raise ValueError(
                f"output: expected a new folder or one of this study, got {str(self.path)!r} with another: {changes}"
            )

    def open(self) -> None:
        """Makes the folder and says whose it is.

        Raises:
            OSError: if it cannot be written.
            ValueError: if it is another study's.
        """
        self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "study.json", {"title": self.study.title, "identity": self.identity})

    def place(self, cell: Cell) -> Path:
        """Returns the folder of a cell."""
        return self.path / "cells" / f"{self.cells.index(cell):02d}-{slug(cell.name, 60)}"

    def arguments(self, cell: Cell) -> list[str]:
        """Returns the whole command line of a cell."""
        given, place = self.study.arguments(cell, self.further), self.place(cell)
        if self.study.command == "test":
            pictures = ["--evaluation.cutouts=true"] if self.study.sheet.samples else []
            return [*given, f"--evaluation.folder={place}", *pictures]
        going_on = [f"--ckpt_path={file}" for file in unfinished_checkpoint(place)]
        return [*given, f"--trainer.default_root_dir={place}", *going_on]

    def is_complete(self, cell: Cell) -> bool:
        """Whether all results of a cell are there."""
        if self.study.command == "fit":
            return bool(fit_results(self.place(cell)))
        metrics = read_json(self.place(cell) / "metrics.json")
        return bool(metrics.get("complete")) and not metrics.get("failed")


def identity_of(study: Study, further: list[str], configs: dict[str, Any]) -> dict[str, Any]:
    """Returns all that decides the results of a study, as nested plain values.

    Devices and batch sizes are not among it: the same study goes on elsewhere.
    """

    def counts(part: str) -> bool:
        trainer = part.startswith("--trainer.") and not part.startswith("--trainer.precision")
        return not trainer and not part.startswith(INDIFFERENT)

    cells = {cell.name: [part for part in study.arguments(cell, further) if counts(part)] for cell in study.all_cells()}
    decisive = {name: _without_trainer(content) for name, content in configs.items()}
    return {"study": study.name, "cells": cells, "configs": decisive}


def _without_trainer(content: Any) -> Any:
    if not isinstance(content, dict) or not isinstance(content.get("trainer"), dict):
        return content
    kept = {key: value for key, value in content["trainer"].items() if key == "precision"}
    return {**content, "trainer": kept}


def read_json(file: Path) -> dict[str, Any]:
    """Reads a mapping; empty where there is none, or it is broken."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def fit_results(place: Path) -> list[Path]:
    """Returns the folders of the results of a cell's newest fit that came to its end."""
    for version in sorted(place.glob("lightning_logs/version_*"), key=_number, reverse=True):
        found = [file for file in sorted(version.rglob("result.json")) if read_json(file)]
        if found and not any(read_json(file).get("interrupted") for file in found):
            return [file.parent for file in found]
    return []


def unfinished_checkpoint(place: Path) -> list[Path]:
    """Returns the checkpoint that a cell's fit goes on from, if it was interrupted and left one."""
    if fit_results(place):
        return []
    found = sorted(place.glob("lightning_logs/version_*/checkpoints/last.ckpt"), key=lambda file: file.stat().st_mtime)
    return found[-1:]


def _number(folder: Path) -> int:
    digits = folder.name.rpartition("_")[2]
    return int(digits) if digits.isdigit() else -1
