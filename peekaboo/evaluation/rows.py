"""What is known of one finished sample."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..data.base import Failure, Sample
from ..data.content import Content
from ..results.result import Result
from .metrics import GRID, Scores, best_of, score

#: Columns of samples.csv.
COLUMNS = (
    "id",
    "group",
    "prompt",
    "iou_0.5",
    "iou_otsu",
    "iou_own_threshold",
    "iou_best_threshold",
    "iou_other_object",
    "own_threshold",
    "otsu_threshold",
    "best_threshold",
    "mask_fraction",
    "height",
    "width",
    "confidence",
    "seconds",
    "seed",
    "skipped_steps",
    "source",
    "sha256",
    "error",
)


def make_row(sample: Sample, result: Result, group: str | None) -> dict[str, Any]:
    """Returns what is kept of a finished sample.

    ``seconds`` is the sample's share of its batch's time.
    """
    record = result.record
    return {
        "id": sample.id,
        "group": group,
        "prompt": sample.prompt,
        "error": None,
        "source": sample.source,
        "content": plain_content(sample.content),
        "height": sample.image.shape[1],
        "width": sample.image.shape[2],
        "seconds": round(record.get("seconds", 0.0) / record.get("pairs_in_batch", 1), 4),
        "seed": record.get("seed"),
        "skipped_steps": record.get("skipped_steps", 0),
        "own_threshold": result.threshold,
        "otsu_threshold": result.otsu,
        "mask_fraction": result.area,
        "empty": result.empty,
        "confidence": record.get("confidence"),
        "photograph": record.get("photograph", False),
        "course": record.get("course"),
        "scores": None if sample.mask is None else _scores(sample, result, sample.mask).to_row(),
    }


def _scores(sample: Sample, result: Result, target: Tensor) -> Scores:
    def one(mask: Tensor | None) -> Tensor | None:
        return None if mask is None else mask[None].cpu()

    own = torch.tensor([result.threshold], dtype=torch.float64)
    return score(result.alpha[None].cpu(), target[None].cpu(), one(sample.ignore), one(sample.others), own)


def failed_row(failure: Failure, group: str | None) -> dict[str, Any]:
    """Returns what is kept of a sample that could not be done; it is tried again when the run goes on."""
    found = {"id": failure.id, "group": group, "prompt": "", "error": failure.reason, "scores": None}
    return {**found, "source": failure.source}


def plain_content(content: Content | None) -> dict[str, Any] | None:
    """Returns size and checksum of what a sample was read from, as JSON has it."""
    return None if content is None else asdict(content)


def csv_row(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row's columns of samples.csv: every IoU and what it came from; empty where there is none."""
    cells = {name: row.get(name) for name in COLUMNS}
    cells["sha256"] = (row.get("content") or {}).get("sha256")
    if row.get("scores") is not None:
        scores = Scores.from_rows([row["scores"]])
        over_grid = torch.where(scores.union[0] > 0, scores.intersection[0] / scores.union[0].clamp(min=1), 1.0)
        cells["iou_0.5"] = float(scores.iou[0])
        cells["iou_otsu"], cells["iou_own_threshold"] = float(scores.iou_otsu[0]), float(scores.iou_own[0])
        cells["iou_best_threshold"], cells["best_threshold"] = float(over_grid.max()), float(GRID[best_of(over_grid)])
        cells["iou_other_object"] = row["scores"]["iou_other"]
    return {name: _plain(value) for name, value in cells.items()}


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return round(value, 6) if isinstance(value, float) else value
