"""COCO's run-length encoding of masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .optional import extra


def library() -> Any:
    """Returns pycocotools' functions of masks.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    with extra("coco", "run lengths"):
        from pycocotools import mask
    return mask


def encode(mask: Any) -> dict[str, Any]:
    """Encodes an (H, W) bool array as COCO's compressed run lengths, ``{"size": [H, W], "counts": str}``."""
    found = library().encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode("ascii")}
