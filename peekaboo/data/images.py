"""Reading images of any kind as float tensors, and saying in one line what is wrong with a file.

What a value means is decided by the format that it is stored in, never by the values: 8 bit is white at 255, 16 bit at 65,535,
12 bit at 4,095, floating point at 1. What does not keep to that is refused: it would be white, black or darker than it is.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from ..functional.optional import extra

MAX_PIXELS = 200_000_000  # beyond this a file is more likely an attack on the memory than a picture
MAX_TEXT = 64 * 2**20  # bytes of text in a PNG; editors keep whole workflows there
ROUNDING = 0.5 / 255  # how far beyond [0, 1] a value is still taken for 0 or 1
NO_WHITE = "in 32-bit integers, of which no white is known"
ORIENTATION = 0x0112  # of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_LIMITS = threading.RLock()


def open_image(path: str | Path, argument: str = "image", upright: bool = True) -> Image.Image:
    """Opens and decodes an image file; see :func:`decode`.

    Args:
        path: of the file; ``~`` is a name like any other here.
        argument: the name that the error messages use.
        upright: apply its EXIF orientation. Not for data sets whose annotations are of the pixels as they are stored.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a directory, empty, no image, cut off, larger than ``MAX_PIXELS``, or may not be read.
    """
    name = repr(str(path))
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no system can have a file of that name
        raise FileNotFoundError(f"{argument}: expected an image file, got {name}, which does not exist") from None
    except OSError as error:
        raise ValueError(f"{argument}: expected an image file, got {name}, which cannot be opened ({error.strerror})") from None
    if stat.S_ISDIR(about.st_mode):
        raise ValueError(f"{argument}: expected an image file, got the directory {name}")
    if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for without end
        raise ValueError(f"{argument}: expected an image file, got {name}, which is a device or a pipe")
    if about.st_size == 0:
        raise ValueError(f"{argument}: expected an image file, got {name}, which is empty (0 bytes)")
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise ValueError(f"{argument}: expected an image file, got {name}, which cannot be opened ({error.strerror})") from None
    with file:
        return decode(file, argument, name, upright)


def decode(
    file: BinaryIO, argument: str = "image", name: str = "bytes", upright: bool = True, max_pixels: int | None = None
) -> Image.Image:
    """Decodes the first picture of a file.

    Args:
        file: that can be read and searched.
        argument: what the error messages begin with.
        name: of the file, in them.
        upright: apply its EXIF orientation.
        max_pixels: that it may have; a larger one is refused before its pixels are read. None for ``MAX_PIXELS``.

    Raises:
        ValueError: if it is no picture, damaged, or larger than ``max_pixels``.
    """
    most = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        with _own_limits():
            image = _identify(file)
            if image.width * image.height > most:
                limit, size = f"{most // 10**6} megapixels", f"{image.width} x {image.height}"
                raise _TooLargeError(f"{argument}: expected at most {limit}, got {name} with {size}")
            image.load()
    except (_TooLargeError, MemoryError):
        raise
    except _HEICError as error:
        raise ValueError(f"{argument}: {name}: {error}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{argument}: expected an image (PNG, JPEG, WebP, ...), got {name}, which is none") from None
    except Exception as error:  # of a damaged file decoders raise a dozen kinds, struct.error and RuntimeError among them
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{argument}: expected a readable image, got {name}, which is corrupt or cannot be decoded ({reason})"
        ) from None
    return canonical(image, upright)


class _TooLargeError(ValueError):
    pass


class _HEICError(ValueError):
    pass


@contextmanager
def _own_limits() -> Iterator[None]:
    """Sets this module's limits on size and text for a while in the place of Pillow's, which belong to the whole process."""
    with _LIMITS:
        kept = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = None, MAX_TEXT, MAX_TEXT
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = kept


def _identify(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        head = file.read(12)
        if head[4:8] != b"ftyp" or head[8:] not in _HEIC:
            raise
        try:
            with extra("heic", "a HEIC picture"):
                from pillow_heif import register_heif_opener
        except ModuleNotFoundError as error:  # of one picture among many: it fails alone, as one that cannot be read
            raise _HEICError(str(error)) from None
        register_heif_opener()
        file.seek(0)
        return Image.open(file)


def canonical(image: Image.Image, upright: bool = True) -> Image.Image:
    """Returns a picture whose mode says what its values mean: ``I;16`` is white at 65,535 and ``F`` at 1, none is inverted.

    Args:
        image: decoded or not.
        upright: apply its EXIF orientation; one that cannot be read counts as none, since the pixels are good.
    """
    tags = getattr(image, "tag_v2", {})
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode in ("I;16", "I;16B", "F")  # Pillow turns the other modes
    out = image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG", "JPEG2000")):
        bits = min(int(tags.get(_BITS, (16,))[0]), 16)
        values = np.asarray(image).astype(np.int64).clip(0, 65535) * 65535 // (2**bits - 1)
        out = Image.fromarray((65535 - values if inverted else values).clip(0, 65535).astype(np.uint16))
    elif inverted:
        out = Image.fromarray(1 - np.asarray(image))
    if upright and (turn := _turn(image)) is not None:
        out = out.transpose(turn)
    out.format = image.format  # tells what is lossy
    return out


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ORIENTATION))  # type: ignore[arg-type]
    except Exception:  # damaged EXIF raises whatever its bytes happen to spell
        return None


def has_opacity(image: Image.Image) -> bool:
    """Whether a picture has transparent or half-transparent parts, or could have."""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or ("transparency" in image.info and image.mode[0] not in "IF")


def check_unit(values: NDArray[np.floating], argument: str, name: str) -> NDArray[np.float32]:
    """Returns floating-point values cut to [0, 1], beyond which they are by rounding at most.

    Raises:
        ValueError: if some are not finite, or far from [0, 1].
    """
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ValueError(f"{argument}: expected finite values, got {name} with NaN or infinity in {count} places; fill them in")
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f"{argument}: expected floating-point values in [0, 1], got {name} with {low:g} to {high:g}; scale them, "
            "or give 8 or 16 bit integers"
        )
    return values.clip(0, 1).astype(np.float32)


def to_rgb(image: Image.Image, argument: str = "image", name: str = "a picture") -> Tensor:
    """Returns (3, H, W) float in [0, 1]: grey is repeated, 16 bit is scaled, a palette is looked up, alpha lies over white.

    Args:
        image: a canonical one (:func:`canonical`).
        argument, name: for the messages.

    Raises:
        ValueError: if its values are out of the range of its format, or the format has none (32-bit integers).
    """
    if 0 in image.size:
        raise ValueError(f"{argument}: expected a picture with pixels, got {name} of {image.width} x {image.height}")
    if image.mode == "I":
        raise ValueError(f"{argument}: expected 8 or 16 bit, or floating point in [0, 1], got {name} {NO_WHITE}")
    if image.mode in ("I;16", "F"):
        values = np.asarray(image, dtype=np.float32)
        grey = torch.from_numpy(values / 65535 if image.mode == "I;16" else check_unit(values, argument, name))
        return grey.expand(3, *grey.shape).contiguous()
    return torch.from_numpy(colours(image)).permute(2, 0, 1).float() / 255


def colours(image: Image.Image) -> NDArray[np.uint8]:
    """Returns the (H, W, 3) sRGB of an 8-bit picture of any mode, transparent parts over white."""
    if has_opacity(image):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    if image.mode == "LAB":  # Pillow has no conversion
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB")) or image
    return np.array(image.convert("RGB"))


def read_image(path: str | Path, argument: str = "image", upright: bool = True) -> Tensor:
    """Reads an image file of any kind as (3, H, W) float in [0, 1]; see :func:`open_image` for the errors."""
    return to_rgb(open_image(path, argument, upright), argument, repr(str(path)))
