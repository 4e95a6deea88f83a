"""PhraseCut: phrases over Visual Genome images, each with all the regions it describes.

"PhraseCut: Language-based Image Segmentation in the Wild", Wu et al., arXiv 2008.01187.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .base import Sample, SampleData, Samples
from .checks import check_text, read_json, require, user_path
from .images import read_image
from .names import slug, unique

LAYOUT = "<root>/refer_<split>.json and <root>/images/<image_id>.jpg, as VGPhraseCut_v0 has them"
SOURCE = "get VGPhraseCut_v0 with the downloader of the PhraseCut project (github.com/ChenyunWu/PhraseCutDataset)"
#: Images whose file has another size than the one that was annotated (LD-ZNet's and CLIPSeg's code).
OTHER_SIZE = frozenset(
    {
        61530, 61564, 150333, 150344, 150417, 150516, 285665, 285743, 285761, 285814, 286065, 286093, 498010, 498042, 498187,
        498246, 498269,
    }
)  # fmt: skip
MAX_COORDINATE = 100_000  # beyond it a polygon is broken, and drawing it would overflow


def fill_polygons(instances: object, height: int, width: int) -> NDArray[np.bool_]:
    """Draws the regions of a phrase as its publishers' evaluation does: corners cut to whole pixels, outlines included.

    Args:
        instances: ``Polygons``: a list of instances, each a list of polygons, each a list of [x, y].
        height: H of the image.
        width: W of the image.

    Returns:
        (H, W), the union, not empty.

    Raises:
        ValueError: if it is something else or covers no pixel.
    """
    canvas = Image.new("1", (width, height))
    pen = ImageDraw.Draw(canvas)
    try:
        polygons: list[Any] = [polygon for instance in instances for polygon in instance]  # type: ignore[attr-defined]
        corners = [[(int(x), int(y)) for x, y in polygon] for polygon in polygons]
    except (TypeError, ValueError, OverflowError):
        raise ValueError("Polygons: expected instances of polygons of [x, y], got something else") from None
    for polygon in corners:
        if any(abs(value) > MAX_COORDINATE for corner in polygon for value in corner):
            raise ValueError(f"Polygons: expected coordinates up to {MAX_COORDINATE}, got more")
        if len(polygon) >= 2:
            pen.polygon(polygon, fill=1, outline=1)
    mask = np.array(canvas, dtype=bool)
    if not mask.any():
        raise ValueError("Polygons: expected at least one foreground pixel, got an empty mask")
    return mask


class PhraseCutSamples(Samples):
    """The tasks of a split: a phrase, an image and the regions of the phrase."""

    def __init__(self, root: str | Path, split: str, annotated_size: bool = False) -> None:
        self.root = user_path(root)
        file = require(self.root / f"refer_{split}.json", "root", LAYOUT, SOURCE)
        require(self.root / "images", "root", LAYOUT, SOURCE)
        tasks = read_json(file, "root")
        if not isinstance(tasks, list) or not tasks:
            raise ValueError(f"root: expected a list of tasks in {str(file)!r}, got {type(tasks).__name__ if tasks else 'none'}")
        for i, task in enumerate(tasks):
            if not isinstance(task, dict) or "task_id" not in task or "image_id" not in task:
                raise ValueError(f"root: expected 'task_id' and 'image_id' in task {i} of {str(file)!r}, got no such")
        if annotated_size:
            tasks = [task for task in tasks if task["image_id"] not in OTHER_SIZE]
        self.tasks = [(slug(str(t["image_id"])), t.get("phrase"), t.get("Polygons")) for t in tasks]
        self.ids = unique((slug(str(task["task_id"])) for task in tasks), self.tasks)

    def files(self, index: int) -> list[Path]:
        return [self.root / "images" / f"{self.tasks[index][0]}.jpg"]

    def annotation(self, index: int) -> Any:
        return self.tasks[index][1:]

    def load(self, index: int) -> Sample:
        _, phrase, polygons = self.tasks[index]
        image = read_image(self.files(index)[0], "root", upright=False)  # as its polygons
        prompt = check_text(phrase, f"root: 'phrase' of task {self.ids[index]}")
        mask = fill_polygons(polygons, image.shape[1], image.shape[2])
        return Sample(self.ids[index], image, prompt, torch.from_numpy(mask))


class PhraseCutData(SampleData):
    """PhraseCut (VGPhraseCut_v0), one sample a phrase.

    Args:
        root: the folder with ``refer_test.json`` and ``images``.
        split: ``test``, ``val``, ``train`` or ``miniv`` (100 images beside those of ``val``).
        batch_size: pairs that are optimised side by side.
        limit: use only that many samples, evenly spread; None for all.
        num_workers: processes that read images.
        annotated_size: leave out the 17 images whose file has another size than the one annotated, as LD-ZNet and CLIPSeg do.
    """

    def __init__(
        self,
        root: str = "data/VGPhraseCut_v0",
        split: Literal["test", "val", "train", "miniv"] = "test",
        batch_size: int = 8,
        limit: int | None = None,
        num_workers: int = 0,
        annotated_size: bool = False,
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        if split not in ("test", "val", "train", "miniv"):
            raise ValueError(f"split: expected one of test, val, train, miniv, got {split!r}")
        self.root, self.split, self.annotated_size = root, split, annotated_size

    def samples(self) -> PhraseCutSamples:
        return PhraseCutSamples(self.root, self.split, self.annotated_size)
