"""A grid of runs as one command: ``peekaboo study --config studies/NAME``; see docs/studies.md."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from ..functional.optional import pyplot
from ..identity import digest
from ..results.files import local_folder
from ..results.writing import write_text
from ..studies.figure import PURPOSE, draw
from ..studies.folder import StudyFolder, identity_of
from ..studies.measures import Found, collect, table_csv, table_markdown
from ..studies.runner import Launch, launch, run_cells
from ..studies.sheet import draw_sheet
from ..studies.study import Cell, Study, option, read_study
from .configs import with_input
from .names import find_config, read_config, with_found_configs

EPILOGUE = """All other arguments are handed to every cell: --data.single 2, --trainer.precision 32-true, ...; a second --config
is laid over every cell. Cells are runs of their own: `--cell K` runs one of them, as a job of an array does."""


def main(args: list[str], launch: Launch = launch) -> int:
    """Runs a study, or a part of it; returns the exit code: 0; 3 if samples failed; 1 if a cell did.

    Args:
        args: of the command line.
        launch: runs the command line of a cell.

    Raises:
        ValueError, FileNotFoundError, OSError: for what is wrong, in one line, before anything is written.
    """
    options, further = _parser().parse_known_args(args)
    if not options.config:
        raise ValueError("config: expected a study, as `--config studies/penalty`, got none")
    study = read_study(find_config(options.config[0]))
    further = _with_values(further)
    _check_further(study, further)
    further = [part for config in options.config[1:] for part in ("--config", config)] + further
    folder = _folder(study, further, options.output)
    folder.check()
    chosen = _chosen(folder, options.cell)
    if options.list:
        print(listed(folder, chosen))
        return 0
    if study.figure is not None:
        pyplot(PURPOSE)
    if not options.collect:
        check_cells(folder, chosen)
        folder.open()
        code = run_cells(folder, chosen, launch).code
    else:
        code = 0
    return max(code, _finish(folder, bool(options.cell), options.collect))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="peekaboo study",
        description=__doc__,
        epilog=EPILOGUE,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-c", "--config", action="append", metavar="STUDY", help="a study; further ones are overlays of all cells"
    )
    parser.add_argument("--output", metavar="FOLDER", help="folder of the study (default: runs/study/NAME-DIGEST)")
    parser.add_argument("--list", action="store_true", help="print the cells, and the command of each; run nothing")
    parser.add_argument("--cell", type=int, action="append", metavar="K", help="run this cell only, from 0; may be repeated")
    parser.add_argument("--collect", action="store_true", help="run nothing: table, figure and contact sheet of what there is")
    return parser


def _with_values(further: list[str]) -> list[str]:
    """Returns arguments with their values behind an equals sign.

    >>> _with_values(["--data.single", "2", "--model.seed=1", "--trainer.fast_dev_run"])
    ['--data.single=2', '--model.seed=1', '--trainer.fast_dev_run']
    """
    found: list[str] = []
    for part in further:
        takes = bool(found) and found[-1].startswith("--") and "=" not in found[-1] and not part.startswith("--")
        found = [*found[:-1], f"{found[-1]}={part}"] if takes else [*found, part]
    return found


def _check_further(study: Study, further: list[str]) -> None:
    """Makes sure that arguments for all cells are arguments, and do not take an axis's place."""
    own = {option(key) for cell in study.all_cells() for key in cell.overrides}
    for part in further:
        if part.startswith(("--evaluation.folder", "--trainer.default_root_dir")):
            raise ValueError(f"{part.split('=')[0].removeprefix('--')}: expected none, got one; `--output` is a study's folder")
        if not part.startswith("--"):
            raise ValueError(f"study: expected arguments as `--data.single 2`, got {part!r}")
        if option(part.split("=")[0]) in own:
            raise ValueError(f"{option(part.split('=')[0])}: expected an argument that no cell sets, got one of the study's own")


def _folder(study: Study, further: list[str], output: str | None) -> StudyFolder:
    names = [*study.base, *(name for cell in study.all_cells() for name in cell.configs)]
    names += [value for before, value in zip(further, further[1:], strict=False) if before == "--config"]
    configs = {name: _content(name) for name in dict.fromkeys(names)}
    if output is None:
        name = f"{study.name}-{digest(identity_of(study, further, configs))}"
        path = Path("runs") / "study" / name
    else:
        path = local_folder(output, "output")
    return StudyFolder(path, study, further, configs)


def _content(name: str) -> dict[str, Any]:
    return read_config(find_config(name))


def _chosen(folder: StudyFolder, asked: list[int] | None) -> list[Cell]:
    last = len(folder.cells) - 1
    for number in asked or ():
        if not 0 <= number <= last:
            raise ValueError(f"cell: expected a number in 0..{last}, got {number}")
    return [folder.cells[number] for number in asked] if asked else folder.cells


def listed(folder: StudyFolder, cells: list[Cell]) -> str:
    """Returns a line a cell: its number, whether it is complete, its name, and below it its command."""
    lines = [f"{len(cells)} cells in {folder.path}"]
    for cell in cells:
        state = "complete" if folder.is_complete(cell) else "to do"
        lines.append(f"{folder.cells.index(cell):3d}  {state:8s}  {cell.name}")
        lines.append(f"     peekaboo {shlex.join(folder.arguments(cell))}")
    return "\n".join(lines)


def check_cells(folder: StudyFolder, cells: list[Cell]) -> None:
    """Makes sure that the command line understands all cells, before any of them runs.

    Raises:
        ValueError: for the first that it does not, in one line.
    """
    from jsonargparse import ArgumentError

    from .messages import one_line
    from .parser import CommandLine

    class Understood(Exception):  # noqa: N818  # no error
        """That is all that was asked."""

    class Check(CommandLine):
        def instantiate_classes(self) -> None:
            raise Understood

    for cell in cells:
        arguments = [part for part in folder.arguments(cell) if not part.startswith("--ckpt_path=")]
        try:
            Check(with_input(with_found_configs(arguments)))
        except Understood:
            continue
        except (ArgumentError, ValueError) as error:
            raise ValueError(f"study, cell {cell.name!r}: {one_line(str(error))}") from error


def _finish(folder: StudyFolder, part: bool, partly: bool) -> int:
    """Makes table, figure and contact sheet when all cells are there, or of what is there if that was asked for."""
    found = collect(folder)
    missing = [cell.name for cell in folder.cells if all(one.cell != cell for one in found)]
    if missing and (part or partly):
        print(f"{len(missing)} of {len(folder.cells)} cells have no results yet: {', '.join(missing[:5])}")
    if not found:
        return 1 if partly else 0
    if missing and part and not partly:
        print("the last of them, or `--collect`, makes the table")
        return 0
    write_results(folder, found)
    print(f"\n{table_markdown(found)}\n\ncells.csv, study.md and pictures in {folder.path}")
    return 0


def write_results(folder: StudyFolder, found: list[Found]) -> None:
    """Writes cells.csv, study.md, figure.png and contact_sheet.png."""
    study = folder.study
    axes = [*study.axes, *study.one_at_a_time]
    write_text(folder.path / "cells.csv", table_csv(found, axes))
    commands = "\n".join(f"- {cell.name}: `peekaboo {shlex.join(folder.arguments(cell))}`" for cell in folder.cells)
    title = study.title or study.name
    write_text(folder.path / "study.md", f"# {title}\n\n{table_markdown(found)}\n\nMade by:\n\n{commands}\n")
    if study.figure is not None:
        draw(study, found, folder.path / "figure.png")
    draw_sheet(study, found, folder.path / "contact_sheet.png")
