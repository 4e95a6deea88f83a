"""Pictures and masks as Python programs have them: files, bytes, Pillow images, NumPy arrays, tensors."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .checks import user_path
from .content import printable
from .images import canonical, check_unit, decode, open_image, to_rgb
from .masks import Foreground, Mask, to_mask

#: What :func:`image_of` and :func:`mask_of` take.
Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray | Tensor


def source_of(item: object) -> str | None:
    """Returns the file that a picture was read from, where one is known."""
    if isinstance(item, str | os.PathLike):
        return printable(user_path(item))
    name = getattr(item, "filename", None) if isinstance(item, Image.Image) else getattr(item, "name", None)
    return printable(name) if isinstance(name, str) and name else None


def image_of(item: Picture, argument: str = "image") -> Tensor:
    """Reads an image, upright by its EXIF orientation where it has one.

    Args:
        item: a path; the bytes of a file, or a file opened for reading bytes; a Pillow image; an array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4); a tensor (1, H, W), (3, H, W) or (4, H, W), on any device. Arrays and tensors are RGB, in
            bool, uint8 (white is 255), uint16 (65,535), or floating point in [0, 1].
        argument: the name that the error messages use.

    Returns:
        (3, H, W) float32 in [0, 1], on the CPU.

    Raises:
        ValueError, FileNotFoundError: for anything else, in one line.
    """
    if (picture := _picture(item, argument)) is not None:
        return to_rgb(picture, argument, _name(item))
    pixels = _channels_last(item, argument, flat=False)
    if pixels.dtype.kind == "f":
        unit = check_unit(pixels, argument, _name(item))
    elif (white := {"bool": 1, "uint8": 255, "uint16": 65535}.get(pixels.dtype.name)) is not None:
        unit = pixels.astype(np.float32) / np.float32(white)
    else:
        raise ValueError(f"{argument}: expected bool, uint8, uint16 or floating point in [0, 1], got {_name(item)}")
    if unit.shape[-1] == 4:  # over white, as pictures with transparency are
        unit = unit[..., :3] * unit[..., 3:] + 1 - unit[..., 3:]
    tensor = torch.from_numpy(np.ascontiguousarray(unit.transpose(2, 0, 1), dtype=np.float32))
    return tensor.expand(3, -1, -1).contiguous()


def mask_of(item: Picture, size: tuple[int, int] | None = None, argument: str = "mask", foreground: Foreground = None) -> Mask:
    """Reads a ground truth: as :func:`image_of`, but arrays and tensors are (H, W) with or without one channel, or in colours as
    a picture. True is 1, 255, or whatever stands alone beside 0; see :func:`peekaboo.data.masks.read_mask` for all else.

    Args:
        item: the mask.
        size: (height, width) that it must have.
        argument: the name that the error messages use.
        foreground: what of it is the object, where it could be more than one thing.

    Raises:
        ValueError, FileNotFoundError: as :func:`peekaboo.data.masks.read_mask`.
    """
    if (picture := _picture(item, argument)) is not None:
        return to_mask(picture, size, argument, foreground, _name(item))
    pixels = _channels_last(item, argument, flat=True)
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"{argument}: expected bool, whole numbers or floating point, got {_name(item)}")
    if pixels.shape[-1] == 1:
        return to_mask(pixels[..., 0], size, argument, foreground, _name(item))
    if pixels.dtype != np.uint8:
        raise ValueError(f"{argument}: expected one channel, or colours in uint8, got {_name(item)}")
    return to_mask(Image.fromarray(pixels), size, argument, foreground, _name(item))


def _picture(item: Any, argument: str) -> Image.Image | None:
    """Decodes what is a file or a Pillow image; None for arrays and tensors."""
    if isinstance(item, str | os.PathLike):
        return open_image(user_path(item), argument)
    if isinstance(item, bytes | bytearray | memoryview):
        return decode(BytesIO(item), argument, _name(item))
    if isinstance(item, Image.Image):
        try:
            item.load()
        except Exception as error:  # opened lazily: a damaged file is found here
            raise ValueError(f"{argument}: expected a readable image, got {_name(item)} ({error})") from None
        return canonical(item)
    if isinstance(item, np.ndarray | Tensor):
        return None
    if hasattr(item, "read") and hasattr(item, "seek"):
        if isinstance(start := item.read(0), str):
            raise ValueError(f"{argument}: expected a file opened for reading bytes ('rb'), got one of text")
        assert start is not None
        return decode(item, argument, _name(item))
    raise ValueError(f"{argument}: expected a path, bytes, a Pillow image, an array or a tensor, got {type(item).__name__}")


def _channels_last(item: Any, argument: str, flat: bool) -> NDArray:
    """Returns an array or a tensor as (H, W, C); a tensor without channels only where a ``flat`` one is asked for."""
    tensor = isinstance(item, Tensor)
    if tensor:
        item = item.detach().cpu()
        if item.is_complex() or item.is_sparse or item.is_quantized:
            raise ValueError(f"{argument}: expected a plain tensor, got {_name(item)}")
        pixels = (item.float() if item.is_floating_point() else item).numpy()
    else:
        pixels = np.asarray(item)
    shape = pixels.shape
    if pixels.ndim == 2 and (not tensor or flat):
        pixels = pixels[..., None]
    elif pixels.ndim == 3 and tensor:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3, 4) or 0 in shape:
        wanted = "a mask (H, W), with pixels" if flat else "a float tensor (3, H, W) in [0, 1], or uint8, with pixels"
        if not tensor and not flat:
            wanted = "an array (H, W, 3), uint8 or floating point in [0, 1], with pixels"
        raise ValueError(f"{argument}: expected {wanted}, got {_name(item)}")
    return pixels


def _name(item: Any) -> str:
    if isinstance(item, str | os.PathLike):
        return repr(str(item))
    if isinstance(item, np.ndarray | Tensor):
        return f"{'a tensor' if isinstance(item, Tensor) else 'an array'} {tuple(item.shape)} of {item.dtype}"
    source = source_of(item)
    return repr(source) if source else f"{type(item).__name__}"
