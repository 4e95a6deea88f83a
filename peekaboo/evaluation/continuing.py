"""What of an earlier run still stands: rows whose content, versions and files are those of today."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ..data.base import SampleData
from ..identity import differences
from .folder import RunFolder
from .rows import plain_content

CODE = "code"  # the version that names a state of this program's own files


def finished(run: RunFolder, data: SampleData, kinds: list[str], versions: dict[str, str]) -> frozenset[str]:
    """Returns which samples need not be done again.

    Done again, and said, are samples whose files have another content than they had, or whose pictures are missing or broken.

    Args:
        run: the folder.
        data: whose samples.
        kinds: of pictures that every sample should have.
        versions: of today.

    Raises:
        ValueError: if there are rows of other versions; a table must not be of two.
    """
    rows = run.good(data.ids())
    _check_versions(run, rows, versions)
    changed = [row["id"] for row in rows if row.get("content") != plain_content(data.content(row["id"]))]
    if changed:
        rank_zero_warn(
            f"{len(changed)} finished samples have other files now and are done again: {', '.join(changed[:3])}"
            + (", ..." if len(changed) > 3 else "")
        )
    return frozenset(row["id"] for row in rows if run.has_pictures(row, kinds)) - frozenset(changed)


def _check_versions(run: RunFolder, rows: list[dict[str, Any]], versions: dict[str, str]) -> None:
    def released(found: dict[str, str]) -> dict[str, str]:
        return {name: version for name, version in found.items() if name != CODE}

    for row in rows:
        then = row.get("versions") or {}
        if changes := differences(released(then), released(versions)):
            raise ValueError(
                f"evaluation.folder: expected samples of the versions that are installed, got {str(run.path)!r} with others: "
                f"{changes}; install those again, give another `--evaluation.folder`, or delete this one"
            )
    others = sum((row.get("versions") or {}).get(CODE) != versions[CODE] for row in rows)
    if others:
        rank_zero_info(f"{others} finished samples are of another state of this program's code; metrics.json names all states")


def provenance(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns what the rows were made with: one value where all agree, else all that occur."""
    found: dict[str, Any] = {}
    for key in ("precision", "device", "versions"):
        values: list[Any] = []
        for row in rows:
            if (value := row.get(key)) is not None and value not in values:
                values.append(value)
        if values:
            found[key] = values[0] if len(values) == 1 else values
    return found
