"""What the page shows and hands out: a moment, finished masks as they were asked to be cleaned up, figures, files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from PIL import Image

from ..data.names import labels, slug
from ..results.drawing import all_of, outlined, titled, to_picture
from ..results.files import save_timelapse
from ..results.finish import SPECK, Cutout, Finish
from ..results.result import Result
from ..results.summary import advice, took, what
from ..results.writing import write_picture
from .jobs import Moment
from .wishes import Wish

THRESHOLD = 0.5  # of a mask on its way
Example = tuple[Path, str]  # a picture, and prompts for it, one a line


def refined(
    results: Sequence[Result],
    threshold: float = 0.5,
    cutout: Cutout = "clean",
    largest: bool = False,
    fill_holes: bool = False,
    specks: float = 100 * SPECK,
) -> list[Result]:
    """Makes masks and cut-outs anew out of alphas that are there.

    Args:
        results: of an optimisation.
        threshold: of alpha for the mask.
        cutout, largest, fill_holes: see :class:`peekaboo.results.finish.Finish`.
        specks: percent of the image; smaller pieces are dropped, and smaller holes filled.

    Raises:
        ValueError: for a value that means nothing.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold: expected a number in [0, 1), got {threshold}")
    out = []
    for result in results:
        finish = Finish(cutout, result.finish.edges, largest, fill_holes, specks / 100)
        out.append(replace(result, threshold=float(threshold), threshold_method="fixed", finish=finish).tidied())
    return out


def picture_of(moment: Moment, prompts: Sequence[str]) -> Image.Image:
    """Draws a job on its way: the masks as they are in colours, and the alpha of each prompt."""
    if moment.alphas is None:
        return to_picture(moment.image)
    masks = [alpha > THRESHOLD for alpha in moment.alphas]
    now = outlined(moment.image, masks, prompts if len(prompts) > 1 else [""])
    alphas = [to_picture(alpha).convert("RGB") for alpha in moment.alphas]
    titles = [f"alpha of {prompt!r}" for prompt in prompts]
    return titled([now, *alphas], ["so far", *titles], side=max(now.size))


# ---- lines and figures: HTML whose words are escaped ---------------------------------------------------------------------------


def note(text: str, kind: str = "said") -> str:
    """One line on the page: ``said``, ``wrong`` or ``done``."""
    return f'<div class="note {kind}" role="status">{escape(text)}</div>'


def progress(moment: Moment) -> str:
    """How far a job is, and how long it will take at most."""
    if not moment.iteration:
        return note("loading the networks ...")
    left = moment.seconds / moment.iteration * (moment.iterations - moment.iteration)
    text = f"iteration {moment.iteration} of {moment.iterations}, {moment.seconds:.1f} s, at most {left:.0f} s left"
    return f'<progress max="{moment.iterations}" value="{moment.iteration}"></progress>{note(text)}'


def told(results: Sequence[Result], asked: Wish) -> str:
    """What was found, a line for each prompt; what to do where nothing was."""
    small = ""
    if asked.before is not None:
        size = f"{asked.image.shape[-1]} x {asked.image.shape[-2]}"
        small = note(f"the image was made smaller: {asked.before[0]} x {asked.before[1]} to {size} pixels")
    return small + "".join(_line(result, asked.iterations) for result in results)


def _line(result: Result, iterations: int) -> str:
    if remedy := advice(result):
        return note(f"{what(result)}; {took(result, iterations)}: {remedy}", "wrong")
    doubts = ["this looks like a photograph, and the teacher knows drawings alone"] if result.record.get("photograph") else []
    if unknown := result.record.get("unknown_words"):
        doubts.append(f"the teacher has never seen {', '.join(map(repr, unknown))}")
    return "".join(note(doubt, "wrong") for doubt in doubts) + note(f"{what(result)}; {took(result, iterations)}", "done")


def figures(results: Sequence[Result]) -> str:
    """A table of what is known of each mask."""
    head = "".join(
        f"<th>{name}</th>" for name in ("prompt", "area", "confidence", "alpha inside", "outside", "iterations", "seconds")
    )
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(result))}</tr>" for result in results)
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _cells(result: Result) -> list[str]:
    inside, alpha, sure = result.mask, result.alpha, result.record.get("confidence")
    means = [f"{float(alpha[where].mean()):.2f}" if where.any() else "-" for where in (inside, ~inside)]
    calibrated = result.record.get("confidence_calibrated", True)
    confidence = "-" if sure is None else f"{sure:.2f}" + ("" if calibrated else " (not calibrated)")
    took = [str(result.record["iterations"]), f"{result.record['seconds']:.1f}"]
    return [result.prompt, f"{result.area:.1%}", confidence, *means, *took]


# ---- files ---------------------------------------------------------------------------------------------------------------------


def save(kind: str, results: Sequence[Result], chosen: int, folder: Path) -> Path:
    """Writes what is to be downloaded.

    Args:
        kind: ``mask``, ``cutout``, ``timelapse``, or ``all``: the files of a fit, in a folder for each prompt, as an archive.
        results: of all prompts.
        chosen: which of them.
        folder: of the session.

    Returns:
        The file.
    """
    if kind == "all":
        return archive(results, folder)
    result = results[chosen]
    file = folder / f"{slug(result.prompt)}_{kind}.{'gif' if kind == 'timelapse' else 'png'}"
    if kind == "timelapse":
        save_timelapse(result, file)
    else:
        write_picture(file, result.cutout if kind == "cutout" else to_picture(result.mask))
    return file


def archive(results: Sequence[Result], folder: Path) -> Path:
    """Writes the files of a fit into an archive."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for result, name in zip(results, labels([result.prompt for result in results]), strict=True):
            result.save(Path(place) / name)
        if len(results) > 1:
            write_picture(Path(place) / "all.png", all_of(results))
        return Path(shutil.make_archive(str(folder / "peekaboo"), "zip", place))
