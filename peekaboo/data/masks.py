"""The one reader of masks: what of a file is the object, what is void, and when that must be said.

A mask is white on black, true and false (0 / 1, 0 / 255, 0 / 65,535), a cut-out with transparent background, or a picture of
indices in which 0 is background, 255 is void (Pascal VOC's border) and one more index is the object. Where there are several, or
grey areas that could be indices as well, ``foreground`` has to say which is the object; nobody guesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .images import NO_WHITE, check_unit, colours, has_opacity, open_image

#: What of a mask is the object: an index, all that is ``bright`` or ``opaque``, or None for what is the only possibility.
Foreground = int | Literal["bright", "opaque"] | None
VOID = 255  # index of what no metric counts
_TRUE = (1, 255, 65535)  # how "true" is written, besides the white of the format
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000")  # their greys come of compression: they hold no indices
_TINT = {True: 48, False: 8}  # difference between the channels of what still counts as grey, lossy or not


class Mask(NamedTuple):
    """A ground truth.

    Attributes:
        foreground: (H, W) bool.
        void: (H, W) bool, pixels that no metric counts; None where there are none.
    """

    foreground: Tensor
    void: Tensor | None


def check_foreground(value: object, where: str = "foreground") -> Foreground:
    """Returns ``value``, an index as a number, if it can say what of a mask is the object.

    Raises:
        ValueError: if it cannot; ``where`` opens the message.
    """
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    index = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not index and value not in ("bright", "opaque", None):
        raise ValueError(f"{where}: expected an index, bright, opaque or null, got {value!r}")
    return value  # type: ignore[return-value]


def read_mask(
    path: str | Path, size: tuple[int, int] | None = None, argument: str = "mask", foreground: Foreground = None
) -> Mask:
    """Reads a ground-truth mask file.

    Args:
        path: of the file.
        size: (height, width) that it must have.
        argument: the name that the error messages use.
        foreground: what of it is the object, where it could be more than one thing.

    Raises:
        FileNotFoundError, ValueError: as :func:`peekaboo.data.images.open_image`, if the size is another one, if what is the
            object would have to be guessed, and if nothing is.
    """
    return to_mask(open_image(path, argument), size, argument, foreground, repr(str(path)))


def to_mask(
    picture: Image.Image | NDArray,
    size: tuple[int, int] | None = None,
    argument: str = "mask",
    foreground: Foreground = None,
    name: str = "a picture",
) -> Mask:
    """As :func:`read_mask`, of a canonical picture (:func:`peekaboo.data.images.canonical`) or an (H, W) array."""
    layers = _layers(picture)
    _check_size(layers, size, argument, name)
    alpha, void = _Reading(layers, argument, name, soft=False).alpha(foreground)
    mask = Mask(torch.from_numpy(alpha >= 0.5), None if void is None or not void.any() else torch.from_numpy(void))
    if not mask.foreground.any():
        raise ValueError(f"{argument}: expected at least one foreground pixel (white on black), got an empty mask in {name}")
    return mask


def read_alpha(path: str | Path, size: tuple[int, int], argument: str = "mask", foreground: Foreground = None) -> Tensor:
    """Reads a mask that a system made, which may be soft, as (H, W) in [0, 1]; it may be empty.

    Greys are opacities here: 8 bit is scaled by 255, 16 bit by 65,535. All else is as in :func:`read_mask`.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_mask`.
    """
    layers = _layers(open_image(path, argument))
    _check_size(layers, size, argument, repr(str(path)))
    return torch.from_numpy(_Reading(layers, argument, repr(str(path)), soft=True).alpha(foreground)[0].astype(np.float32))


@dataclass(frozen=True)
class _Layers:
    """What a picture holds: (H, W) greys, or (H, W, 3) colours, and the value of white; None if its format has none.

    ``indices`` are the whole numbers as they are stored, ``opacity`` is (H, W) in [0, 1].
    """

    values: NDArray
    white: float | None
    indices: NDArray | None = None
    opacity: NDArray | None = None
    palette: bool = False
    lossy: bool = False


def _layers(picture: Image.Image | NDArray) -> _Layers:
    if isinstance(picture, np.ndarray):
        whites = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}
        white = 1.0 if picture.dtype.kind == "f" else whites.get(picture.dtype.name)
        values = picture.astype(np.uint8) if picture.dtype == bool else picture
        return _Layers(values, white, None if picture.dtype.kind == "f" else values)
    lossy = picture.format in _LOSSY
    if picture.mode in ("1", "I", "I;16", "F"):
        values = np.asarray(picture)
        white = {"1": 1.0, "I;16": 65535.0, "F": 1.0}.get(picture.mode)
        values = values.astype(np.uint8) if picture.mode == "1" else values
        return _Layers(values, white, None if picture.mode == "F" else values, lossy=lossy)
    stored = np.asarray(picture) if picture.mode in ("L", "P") else None
    if has_opacity(picture):
        rgba = np.asarray(picture.convert("RGBA"))
        seen = _Layers(rgba[..., :3], 255.0, stored, rgba[..., 3].astype(np.float32) / 255, picture.mode == "P", lossy)
    else:
        values = stored if picture.mode == "L" and stored is not None else colours(picture)
        seen = _Layers(values, 255.0, stored, None, picture.mode == "P", lossy)
    return seen


def _check_size(layers: _Layers, size: tuple[int, int] | None, argument: str, name: str) -> None:
    height, width = layers.values.shape[:2]
    if size is not None and (height, width) != size:
        raise ValueError(f"{argument}: expected the image's size {size[1]} x {size[0]}, got {width} x {height} ({name})")


@dataclass(frozen=True)
class _Reading:
    """One picture, read as a mask; a ``soft`` one may have greys."""

    layers: _Layers
    argument: str
    name: str
    soft: bool

    def alpha(self, foreground: Foreground) -> tuple[NDArray, NDArray | None]:
        """Returns (H, W) in [0, 1], or bool, and the void pixels."""
        layers = self.layers
        if isinstance(foreground, int):
            return self._index(foreground)
        if foreground == "opaque":
            if layers.opacity is None:
                raise self._error("a picture with transparency, as foreground is opaque", "without any")
            return layers.opacity, None
        if foreground == "bright":
            return self._brightness() * (1.0 if layers.opacity is None else layers.opacity), None
        if layers.opacity is not None and (layers.opacity < 0.5).any():
            return self._cut_out(layers.opacity), None
        if self._is_grey():
            return self._grey(), None
        return self._indices() if layers.palette else (self._two_colours(), None)

    def _error(self, expected: str, got: str) -> ValueError:
        return ValueError(f"{self.argument}: expected {expected}, got {self.name} {got}")

    def _unclear(self, got: str) -> ValueError:
        return self._error(
            "a mask in black and white", f"{got}; say what is the object with `foreground` (an index, bright, opaque)"
        )

    def _is_grey(self) -> bool:
        if self.layers.values.ndim == 2:
            return True
        channels = self.layers.values.astype(np.int16)
        return int((channels.max(-1) - channels.min(-1)).max(initial=0)) <= _TINT[self.layers.lossy]

    def _greys(self) -> NDArray:
        values = self.layers.values
        return values if values.ndim == 2 else values.mean(-1)

    def _brightness(self) -> NDArray:
        values, white = self._greys(), self.layers.white
        if white is None:
            raise self._error("8 or 16 bit, or floating point in [0, 1]", NO_WHITE)
        return check_unit(values, self.argument, self.name) if values.dtype.kind == "f" and white == 1 else values / white

    def _index(self, foreground: int) -> tuple[NDArray, NDArray | None]:
        indices = self.layers.indices
        if indices is None:
            raise self._error(f"whole numbers for the foreground {foreground}", "without any")
        if not self.soft and not (indices == foreground).any():
            raise self._error(f"pixels of the foreground {foreground}", f"with {_listed(np.unique(indices))}")
        return indices == foreground, (indices == VOID if foreground != VOID else None)

    def _indices(self) -> tuple[NDArray, NDArray | None]:
        """Of a palette with colours: the only index besides background and void."""
        indices = self.layers.indices
        assert indices is not None
        present = np.unique(indices)
        objects = present[(present != 0) & (present != VOID)]
        if len(objects) > 1 or (len(objects) == 0 and VOID in present):
            raise self._unclear(f"with the indices {_listed(present)}")
        return (indices == objects[0] if len(objects) else indices < 0), indices == VOID

    def _two_colours(self) -> NDArray:
        """Of colours: the only one on black."""
        channels = self.layers.values.astype(np.int32)
        packed = (channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2]
        present = np.unique(packed)
        if len(present) > 2 or present[0] != 0:
            raise self._unclear(f"with {len(present)} colours")
        return packed > 0

    def _cut_out(self, opacity: NDArray) -> NDArray:
        """Transparent parts are background; so is black where all that is visible is black or white, and both occur."""
        bright = self.layers.values.mean(-1) / 255
        seen = bright[opacity >= 0.5]
        drawn = len(seen) > 0 and bool((seen >= 0.5).any() and (seen < 0.5).any())
        black_and_white = drawn and float(((seen < 0.1) | (seen > 0.9)).mean()) > 0.9
        return opacity * bright if black_and_white else opacity

    def _grey(self) -> NDArray:
        values, white = self._greys(), self.layers.white
        floating = values.dtype.kind == "f" and white == 1  # opacities, never indices
        if floating and not np.isfinite(values).all():
            return check_unit(values, self.argument, self.name)
        levels = np.unique(values)
        true = float(levels[-1])
        usual = true == white or true in _TRUE
        if len(levels) == 1:  # all of one kind: only white is all object
            return self._brightness() if true else values != 0
        if len(levels) == 2 and levels[0] == 0 and (usual or not self.soft or self.layers.palette):
            return values != 0
        alpha = self._brightness()
        if not self.soft and not floating and (_mostly_grey(alpha) or (not self.layers.lossy and _may_be_indices(alpha))):
            raise self._unclear(f"with the values {_listed(levels)}")
        return alpha


def _mostly_grey(alpha: NDArray) -> bool:
    """Whether more than half of the pixels are neither black nor white: a photograph."""
    return float(((alpha > 0.1) & (alpha < 0.9)).mean()) > 0.5


def _may_be_indices(alpha: NDArray) -> bool:
    """Whether greys between black and white lie in flat areas, as indices do, or are all dark: edges and blurs have neither.

    Flat is a pixel whose eight neighbours are like it.
    """
    between = (alpha > 0) & (alpha < 1)
    count = int(between.sum())
    if count == 0:
        return False
    if count >= 4 and float(alpha[between].max()) < 0.25:
        return True
    rows = (alpha[:, :-2] == alpha[:, 1:-1]) & (alpha[:, 1:-1] == alpha[:, 2:])
    three = rows[:-2] & rows[1:-1] & rows[2:]
    centre = alpha[:, 1:-1]
    flat = three & (centre[:-2] == centre[1:-1]) & (centre[1:-1] == centre[2:]) & between[1:-1, 1:-1]
    return int(flat.sum()) > 0.25 * count


def _listed(values: NDArray) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8].tolist())
    return f"{shown}, ..." if len(values) > 8 else shown
