"""Files that a person can look at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.checks import user_path
from ..functional.compositing import composite
from .drawing import side_by_side, to_picture
from .writing import write_json, write_picture, write_timelapse

if TYPE_CHECKING:  # a result writes itself by this file
    from .result import Result

OVERLAY_COLOUR = (0.9, 0.1, 0.3)
BACKDROPS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0), "green": (0.0, 0.7, 0.2)}


def to_16_bit(alpha: Tensor) -> Image.Image:
    """Makes a 16-bit picture of an (H, W) alpha in [0, 1]."""
    return Image.fromarray((alpha.double().cpu() * 65535).round().to(torch.int32).numpy().astype(np.uint16))


def overlay(image: Tensor, alpha: Tensor) -> Tensor:
    """Tints the image where alpha is high and dims it where it is low: (..., 3, H, W) from (..., 3, H, W) and (..., 1, H, W)."""
    colour = torch.tensor(OVERLAY_COLOUR, device=image.device)[:, None, None]
    grey = image.mean(-3, keepdim=True).expand_as(image)
    return alpha * (0.6 * image + 0.4 * colour) + (1 - alpha) * (0.35 * image + 0.35 * grey)


def mask_pictures(image: Tensor, alpha: Tensor, threshold: float) -> dict[str, Tensor]:
    """Returns what there is to see of alphas on their way: ``alpha``, ``mask``, ``overlay`` and ``composite/<backdrop>``.

    Args:
        image: (N, 3, H, W) in [0, 1].
        alpha: (N, 1, H, W) in [0, 1].
        threshold: that makes masks.
    """
    shown = {"alpha": alpha, "mask": (alpha > threshold).float(), "overlay": overlay(image, alpha)}
    for name, colour in BACKDROPS.items():
        shown[f"composite/{name}"] = composite(image, torch.tensor(colour, device=image.device)[:, None, None], alpha)
    return shown


def save_result(result: Result, folder: Path) -> Path:
    """Writes a result's files.

    ``mask.png`` (0 / 255) and ``alpha.png`` (16 bit) have the input's own size, as do ``cutout.png`` (RGBA) and
    ``overlay.png``; ``side_by_side.png`` has image, overlay and cut-out; ``timelapse.gif`` if frames were kept; ``result.json``
    says what was run and what came out.

    Args:
        result: what to write.
        folder: made if it does not exist.

    Returns:
        The folder.

    Raises:
        OSError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(folder / "mask.png", to_picture(result.mask))
    write_picture(folder / "alpha.png", to_16_bit(result.alpha))
    write_picture(folder / "cutout.png", result.cutout)
    write_picture(folder / "overlay.png", result.overlay)
    write_picture(folder / "side_by_side.png", side_by_side(result))
    if result.frames is not None and len(result.frames):
        save_timelapse(result, folder / "timelapse.gif")
    write_json(folder / "result.json", describe(result))
    return folder


def save_timelapse(result: Result, file: Path) -> None:
    """Writes the alpha on its way as a GIF; what it came to, where no frames were kept.

    Raises:
        OSError: if it cannot be written.
    """
    frames = result.alpha[None] if result.frames is None else result.frames
    write_timelapse(file, [to_picture(frame) for frame in frames])


def describe(result: Result) -> dict[str, Any]:
    """Returns what ``result.json`` holds."""
    otsu = result.otsu
    return {
        **result.record,
        "prompt": result.prompt,
        "threshold": result.threshold,
        "threshold_method": result.threshold_method,
        "iou": result.iou,
        "otsu_threshold": otsu,
        "iou_otsu": result.iou_at(otsu),
        "mask_fraction": result.area,
        "empty": result.empty,
        "full": result.full,
        "mean_alpha": float(result.alpha.mean()),
    }


def local_folder(path: str | Path, argument: str) -> Path:
    """Returns a folder of this machine's file systems; ``file:///x`` is one, and ``~`` is the user's home.

    Raises:
        ValueError: for an address of something else.
    """
    text = str(path)
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        raise ValueError(f"{argument}: expected a folder of this machine, got {text!r}; copy results there when they are done")
    return user_path(path)
