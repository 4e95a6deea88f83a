"""What a person is told when a fit is over: what was found, how good it is, and which file to open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a result tells of itself by this file
    from .result import Result


def summary(result: Result, folder: Path, iterations: int) -> list[str]:
    """Returns the three lines that end a fit.

    Args:
        result: of one prompt.
        folder: where it was saved.
        iterations: that it could have had.
    """
    return [what(result), advice(result) or quality(result, iterations), shown(folder / "overlay.png")]


def shown(file: Path) -> str:
    """A file's path as it is shortest from here."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def what(result: Result) -> str:
    """Says whether something was found.

    >>> from torch import eye, zeros
    >>> from peekaboo.results.result import Result
    >>> what(Result(zeros(3, 4, 4), "a dog", eye(4), 0.5, "fixed"))
    "found 'a dog': 25.0% of the image"
    >>> what(Result(zeros(3, 4, 4), "a dog", 0.3 * eye(4), 0.5, "fixed"))
    "nothing found for 'a dog': no alpha over the threshold of 0.50 (highest: 0.30)"
    >>> alpha = zeros(64, 64)
    >>> alpha[0, 0] = 0.79
    >>> what(Result(zeros(3, 64, 64), "a dog", alpha, 0.5, "fixed"))
    "nothing found for 'a dog': specks of 0.024% of the image (highest alpha: 0.79)"
    """
    if result.record.get("rejected"):
        return f"nothing found for {result.prompt!r}: its confidence is below {result.record['min_confidence']}"
    if result.empty:
        above, high = f"over the threshold of {result.threshold:.2f}", float(result.alpha.max())
        if not result.mask.any():
            return f"nothing found for {result.prompt!r}: no alpha {above} (highest: {high:.2f})"
        return f"nothing found for {result.prompt!r}: specks of {100 * result.area:.2g}% of the image (highest alpha: {high:.2f})"
    if result.full:
        return f"nothing set apart for {result.prompt!r}: the mask is the whole image ({result.area:.1%})"
    return f"found {result.prompt!r}: {result.area:.1%} of the image"


def quality(result: Result, iterations: int) -> str:
    """Says how good a mask is: its IoU, or else how sure it is of itself; and what it took."""
    sure = result.record.get("confidence")
    inside, alpha = result.mask, result.alpha
    good = (
        f"IoU {result.iou:.3f}"
        if result.iou is not None
        else _contrast(float(alpha[inside].mean()), float(alpha[~inside].mean()))
    )
    good += "" if sure is None else f", confidence {sure:.2f}"
    return f"{good}, {took(result, iterations)}"


def took(result: Result, iterations: int) -> str:
    """Says how long it took, and why no longer."""
    done = result.record["iterations"]
    ended = f"settled after {done} of {iterations} iterations" if done < iterations else f"{done} iterations"
    ended = f"stopped after {done} of {iterations} iterations" if result.record.get("interrupted") else ended
    return f"{ended}, {result.record['seconds']:.1f} s on {result.record['device']}"


def _contrast(inside: float, outside: float) -> str:
    return f"alpha {inside:.2f} inside, {outside:.2f} outside"


def advice(result: Result) -> str | None:
    """Says what to do about a mask that is of no use; None for one that is."""
    if not result.empty and not result.full:
        return None
    if result.record.get("photograph"):
        return "this looks like a photograph, and the embedded teacher knows drawings alone; add --teacher sd15"
    if unknown := result.record.get("unknown_words"):
        return f"the embedded teacher does not know {', '.join(map(repr, unknown))}; `peekaboo words` lists what it knows"
    return f"name the object in other words, or try --model.penalty {'lower' if result.empty else 'higher'} or another --seed"
