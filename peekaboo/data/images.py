"""Reading images of any kind as float tensors, and saying in one line what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

MAX_PIXELS = 200_000_000  # beyond this a file is more likely an attack on the memory than a picture


def open_image(path: str | Path, argument: str = "image") -> Image.Image:
    """Opens and decodes an image file, upright (its EXIF orientation applied).

    Args:
        path: of the file.
        argument: the name that the error messages use.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a directory, empty, no image, cut off, or larger than ``MAX_PIXELS``.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{argument}: expected an image file, got {str(path)!r}, which does not exist")
    if path.is_dir():
        raise ValueError(f"{argument}: expected an image file, got the directory {str(path)!r}")
    if path.stat().st_size == 0:
        raise ValueError(f"{argument}: expected an image file, got {str(path)!r}, which is empty (0 bytes)")
    try:
        image = Image.open(path)
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f"{argument}: expected at most {MAX_PIXELS // 10**6} megapixels, got {str(path)!r} with "
                f"{image.width} x {image.height}"
            )
        image.load()
    except UnidentifiedImageError:
        raise ValueError(f"{argument}: expected an image (PNG, JPEG, WebP, ...), got {str(path)!r}, which is none") from None
    except (OSError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:  # RuntimeError: AVIF
        raise ValueError(f"{argument}: expected a readable image, got {str(path)!r}, which is corrupt ({error})") from None
    return ImageOps.exif_transpose(image)


def to_rgb(image: Image.Image) -> Tensor:
    """Returns (3, H, W) float in [0, 1]: grey is repeated, 16 bit is scaled, a palette is looked up, alpha lies over white."""
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image, dtype=np.float32)
        top = 65535.0 if image.mode.startswith("I") and pixels.max(initial=0) > 255 else 255.0 if image.mode != "F" else 1.0
        grey = torch.from_numpy((pixels / top).clip(0, 1).copy())
        return grey.expand(3, *grey.shape).contiguous()
    if _has_opacity(image):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def _has_opacity(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def to_mask(image: Image.Image) -> Tensor:
    """Returns (H, W) bool: at least half of full brightness, or, in a picture with transparent parts, at least half opaque.

    Transparent parts are background in any case; where all that is visible is black or white, and both occur, black is too.
    """
    if not _has_opacity(image):
        return to_rgb(image).mean(0) >= 0.5
    rgba = torch.from_numpy(np.array(image.convert("RGBA"))).float() / 255
    bright, opaque = rgba[..., :3].mean(-1), rgba[..., 3] >= 0.5
    seen = bright[opaque]
    drawn = len(seen) and bool((seen >= 0.5).any() and (seen < 0.5).any())
    black_and_white = drawn and float(((seen < 0.1) | (seen > 0.9)).float().mean()) > 0.9
    return opaque & (bright >= 0.5) if black_and_white or bool(opaque.all()) else opaque


def read_image(path: str | Path, argument: str = "image") -> Tensor:
    """Reads an image file of any kind as (3, H, W) float in [0, 1]; see :func:`open_image` for the errors."""
    return to_rgb(open_image(path, argument))


def read_mask(path: str | Path, size: tuple[int, int] | None = None, argument: str = "mask") -> Tensor:
    """Reads a ground-truth mask as (H, W) bool; see :func:`to_mask` for what is foreground.

    Args:
        path: of the file.
        size: (height, width) that it must have.
        argument: the name that the error messages use.

    Raises:
        FileNotFoundError, ValueError: as :func:`open_image`, and if the size is another one.
    """
    mask = to_mask(open_image(path, argument))
    if size is not None and tuple(mask.shape) != size:
        raise ValueError(
            f"{argument}: expected the image's size {size[1]} x {size[0]}, got {mask.shape[1]} x {mask.shape[0]} ({str(path)!r})"
        )
    return mask
