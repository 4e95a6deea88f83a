"""Runs whose samples are the frames of a film: going on where they stopped, and how much their masks flicker."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..functional.masks import iou
from ..results.writing import write_json
from .folder import RunFolder


def unbroken(run: RunFolder, ids: list[str], finished: frozenset[str]) -> tuple[frozenset[str], dict[str, Tensor]]:
    """Returns the finished samples before the first that is not, and their last alphas; what comes later is done again.

    It began at an alpha that is to be another, and is forgotten, so that a run that stops again does not take it for finished.

    Args:
        run: with the samples' alphas.
        ids: of all samples, in order.
        finished: of them.

    Returns:
        Their ids, and (H, W) in [0, 1] by prompt.
    """
    first = next((place for place, name in enumerate(ids) if name not in finished), len(ids))
    for name in ids[first:]:
        run.forget(name)
    last = {row["prompt"]: row["id"] for row in run.good(ids[:first])}
    return frozenset(ids[:first]), {prompt: run.alpha(name) for prompt, name in last.items()}


def flicker(masks: list[Tensor]) -> float | None:
    """The mean of 1 - IoU of every two neighbouring masks; what moves counts as well as what flickers.

    Args:
        masks: (H, W) bool each; two of different sizes are not compared.

    Returns:
        In [0, 1]; None where there are no two to compare.
    """
    twos = [(a, b) for a, b in zip(masks, masks[1:], strict=False) if a.shape == b.shape]
    return sum(1 - float(iou(a[None], b[None])) for a, b in twos) / len(twos) if twos else None


def write_flicker(run: RunFolder, rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Writes ``flicker.json``: that of each prompt's masks. Returns it."""
    by_prompt: dict[str, list[str]] = {}
    for row in rows:
        if row["error"] is None:
            by_prompt.setdefault(row["prompt"], []).append(row["id"])
    found = {prompt: flicker([run.mask(name) for name in names]) for prompt, names in by_prompt.items()}
    write_json(run.path / "flicker.json", found)
    return found
