"""Masks as a COCO data set, in run-length encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..functional.optional import extra
from ..results.writing import write_json
from .folder import RunFolder


def check_library() -> None:
    """Makes sure at a run's beginning that its masks can be written at its end.

    Raises:
        ModuleNotFoundError: if pycocotools is not installed.
    """
    _library()


def _library() -> Any:
    with extra("coco", "evaluation.coco_rle"):
        from pycocotools import mask
    return mask


def encode(mask: Any) -> dict[str, Any]:
    """Encodes an (H, W) bool array as COCO's compressed run lengths, ``{"size": [H, W], "counts": str}``."""
    found = _library().encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode("ascii")}


def write_coco(folder: RunFolder, rows: list[dict[str, Any]]) -> Path:
    """Writes ``coco_rle.json`` of the masks in a run's folder: every sample an image, every prompt a category.

    ``pycocotools.coco.COCO(path)`` reads it, and its ``annToMask`` gives the masks back. ``file_name`` of an image is the mask's
    file in the folder, ``sample`` its id.
    """
    coco = _library()
    done = [row for row in rows if row["error"] is None]
    categories = {prompt: i for i, prompt in enumerate(dict.fromkeys(row["prompt"] for row in done), 1)}
    images, annotations = [], []
    for number, row in enumerate(done, 1):
        file = folder.picture("masks", row["id"])
        runs = encode(np.array(Image.open(file)) > 127)
        height, width = runs["size"]
        place = file.relative_to(folder.path).as_posix()
        images.append(
            {
                "id": number,
                "file_name": place,
                "height": height,
                "width": width,
                "sample": row["id"],
            }
        )
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": categories[row["prompt"]],
                "segmentation": runs,
                "area": int(coco.area(runs)),
                "bbox": [float(side) for side in coco.toBbox(runs)],
                "iscrowd": 0,
            }
        )
    content = {
        "info": {"description": "masks made by peekaboo"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": prompt} for prompt, number in categories.items()],
    }
    write_json(folder.path / "coco_rle.json", content, indent=None)
    return folder.path / "coco_rle.json"
