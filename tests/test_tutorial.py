"""The tutorial notebook runs from its first cell to its last, and is kept with outputs that anybody may read."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
TUTORIAL = nbformat.read(NOTEBOOK, as_version=4)
CODE = [cell for cell in TUTORIAL.cells if cell.cell_type == "code"]


def printed(cells: list[nbformat.NotebookNode]) -> str:
    return "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")


def pictures(cells: list[nbformat.NotebookNode]) -> int:
    return sum(name.startswith("image/") for cell in cells for output in cell.outputs for name in output.get("data", {}))


def test_it_is_kept_as_it_ran() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))
    assert not [output for cell in CODE for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in CODE for output in cell.outputs if output.get("name") == "stderr"]
    assert pictures(CODE) >= 6
    assert not re.search(r"/(work|root|home|tmp|Users)/", NOTEBOOK.read_text(encoding="utf-8"))


def test_its_numbers_are_of_masks_that_fit() -> None:
    ious = [float(found) for found in re.findall(r"IoU (\d\.\d+)", printed(CODE))]
    assert len(ious) >= 6
    assert min(ious[:2]) > 0.8  # the apple, from noise and from attention


@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, offline; the kernel imports the package of this repository."""
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert pictures(ran) == pictures(CODE)
    assert re.sub(r"[\d.]+", "0", printed(ran)) == re.sub(r"[\d.]+", "0", printed(CODE))  # the same lines, to the numbers in them
    assert list(tmp_path.iterdir()) == []
