"""From the rows of a run to samples.csv, metrics.json and the table that is printed."""

from __future__ import annotations

import csv
import io
from typing import Any

from .metrics import LEVELS, MaskMetrics, Scores, intervals
from .rows import COLUMNS, csv_row

HEADLINE = (*(f"P@{level}" for level in LEVELS), "mIoU")
#: How the further measures are called in the table.
OTHERS = {
    "dataset_IoU": "dataset IoU (all intersections over all unions) at 0.5",
    "mIoU_otsu": "mIoU at each sample's Otsu threshold",
    "mIoU_own_threshold": "mIoU at the configured threshold",
    "mIoU_best_threshold": "mIoU at the best single threshold",
    "dataset_IoU_best_threshold": "dataset IoU at the best single threshold",
    "AP": "AP over all pixels, the usual one",
    "published_mIoU": "mIoU as LD-ZNet has it, at the best of 49 thresholds",
    "published_IoU_FG": "IoU_FG as LD-ZNet has it, at the best of 49 thresholds",
    "published_AP": "AP as LD-ZNet has it, over the recalls that are reached",
    "mIoU_other_object": "mIoU with the object that is not named",
    "named_ahead": "share where the named object is ahead",
}
#: Where the best thresholds of some of them stand.
AT = {
    "mIoU_best_threshold": "best_threshold",
    "dataset_IoU_best_threshold": "dataset_best_threshold",
    "published_mIoU": "published_mIoU_threshold",
    "published_IoU_FG": "published_IoU_FG_threshold",
}


def samples_csv(rows: list[dict[str, Any]]) -> str:
    """Returns the text of samples.csv: one line a sample."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_row(row) for row in rows)
    return text.getvalue()


def scores_of(rows: list[dict[str, Any]]) -> Scores:
    """Returns the scores of the rows that have any."""
    return Scores.from_rows([row["scores"] for row in rows if row["scores"] is not None])


def summarise(rows: list[dict[str, Any]], expected: int, about: dict[str, Any]) -> dict[str, Any]:
    """Makes the contents of metrics.json from the union of all rows, whichever rank or run they came from.

    Args:
        rows: of the samples that finished or failed.
        expected: number of samples of the data set.
        about: the run, for the record.

    Returns:
        ``n`` (scored samples), :func:`.metrics.measures`, ``confidence_95``, ``groups``, ``failed``, ...
    """
    metrics = MaskMetrics(sync_on_compute=False)
    metrics.update(scores_of(rows))
    groups = list(dict.fromkeys(row["group"] for row in rows if row["group"] is not None))
    failed = {row["id"]: row["error"] for row in rows if row["error"] is not None}
    seconds = sum(row.get("seconds") or 0.0 for row in rows)
    return {
        "n": len(metrics.scores().iou),
        **metrics.compute(),
        "confidence_95": intervals(metrics.scores()),
        "groups": {group: _part([row for row in rows if row["group"] == group]) for group in groups},
        "expected": expected,
        "complete": len(rows) == expected and not failed,
        "failed": failed,
        "seconds": round(seconds, 3),
        "seconds_per_sample": round(seconds / max(len(rows) - len(failed), 1), 4),
        "skipped_steps": sum(row.get("skipped_steps") or 0 for row in rows),
        **about,
    }


def _part(rows: list[dict[str, Any]]) -> dict[str, Any]:
    metrics = MaskMetrics(sync_on_compute=False)
    scores = scores_of(rows)
    metrics.update(scores)
    return {"n": len(scores.iou), **metrics.compute(), "confidence_95": intervals(scores)}


def table(metrics: dict[str, Any]) -> str:
    """Returns what is printed at the end: the paper's columns, their intervals, the parts, and the other measures."""
    if not metrics["n"]:
        return "no sample was scored"
    title = f"{metrics.get('variant', 'all')}"
    lines = [("threshold 0.5", "n", *HEADLINE), _line(title, metrics)]
    bounds = metrics["confidence_95"]
    lines.append(("  95 % interval", "", *("{:.3f}-{:.3f}".format(*bounds[name]) for name in HEADLINE)))
    lines += [_line(f"  {group}", part) for group, part in metrics["groups"].items() if part["n"]]
    if metrics.get("own_threshold", 0.5) != 0.5:
        lines.append(_line(f"at its own threshold ({metrics['own_threshold']})", metrics, "_own_threshold"))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        f"{line[0]:<{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(line[1:], widths[1:], strict=True)) for line in lines
    ]
    return "\n".join([rows[0], "-" * len(rows[0]), *rows[1:], "", *_others(metrics)])


def _line(name: str, part: dict[str, Any], suffix: str = "") -> tuple[str, ...]:
    return (name, str(part["n"]), *(f"{part[key + suffix]:.3f}" for key in HEADLINE))


def _others(metrics: dict[str, Any]) -> list[str]:
    found = []
    for key, name in OTHERS.items():
        if key in metrics:
            at = AT.get(key)
            found.append(f"{metrics[key]:.3f}  {name}" + (f" ({metrics[at]:.2f})" if at else ""))
    return found
