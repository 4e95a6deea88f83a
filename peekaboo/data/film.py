"""Frames of video files: counted once, read one after the other, and a film written of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..functional.optional import extra
from .content import printable
from .listing import is_film

#: What a film is written with: the first that the library has.
CODECS = ("libx264", "libopenh264", "mpeg4")


def source_of_frame(path: str | Path, number: int) -> str:
    """Names a frame of a film, from 0, as records have it.

    >>> source_of_frame("a/clip.mp4", 7), frame_of("a/clip.mp4#7"), frame_of("a/7.png")
    ('a/clip.mp4#7', ('a/clip.mp4', 7), None)
    """
    return f"{printable(path)}#{number}"


def frame_of(source: str | None) -> tuple[str, int] | None:
    """Returns the film and the number of a frame's source; None for the source of something else."""
    path, _, number = (source or "").rpartition("#")
    return (path, int(number)) if number.isdecimal() and is_film(path) else None


class Film:
    """The frames of a video file; one that comes behind the last one is read on, one before it from the start.

    Args:
        path: of the file.

    Raises:
        ModuleNotFoundError: without PyAV, in one line.
        ValueError: in one line, for a file that is no film, or has no frames.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        about = os.stat(self.path)
        self.frames, self.rate = _about(str(path), about.st_size, about.st_mtime_ns)
        self._frames: Iterator[Tensor] | None = None
        self._last: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return self.frames

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_frames": None, "_last": None}  # a worker opens the file itself

    def read(self, number: int) -> Tensor:
        """Returns a frame, (3, H, W) in [0, 1].

        Raises:
            ValueError: in one line, if the film breaks off before.
        """
        if self._last is not None and self._last[0] == number:  # for another prompt
            return self._last[1]
        if self._frames is None or self._last is None or number < self._last[0]:
            self._frames, self._last = self.read_all(), None
        for place, frame in enumerate(self._frames, 0 if self._last is None else self._last[0] + 1):
            self._last = (place, frame)
            if place == number:
                return frame
        raise ValueError(f"images: expected {self.frames} frames in {str(self.path)!r}, got fewer")

    def read_all(self) -> Iterator[Tensor]:
        """Yields all frames, (3, H, W) in [0, 1], in order."""
        for pixels in _decoded(str(self.path)):
            yield torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 255


@lru_cache(maxsize=64)
def _about(path: str, size: int, modified: int) -> tuple[int, Fraction]:
    """Counts the frames of a file, which its head may have wrong, until its size or time changes; and its frames a second."""
    with _Opened(path) as container:
        rate = container.streams.video[0].average_rate or Fraction(25)
        count = sum(1 for _ in container.decode(video=0))
    if not count:
        raise ValueError(f"images: expected a film with frames, got {path!r} without any")
    return count, rate


def _decoded(path: str) -> Iterator[NDArray[np.uint8]]:
    """Yields frames (H, W, 3), upright as the film says that they are."""
    with _Opened(path) as container:
        for frame in container.decode(video=0):
            yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)


class _Opened:
    """Opens a film, and says in one line what is wrong with one that cannot be read to its end."""

    def __init__(self, path: str) -> None:
        with extra("video", f"images: {path!r}"):
            import av
        self._path, self._error = path, av.FFmpegError
        try:
            self._container = av.open(path)
        except av.FFmpegError as error:
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> ValueError:
        return ValueError(f"images: expected a film that can be read, got {self._path!r} ({getattr(error, 'strerror', error)})")

    def __enter__(self) -> Any:
        if not self._container.streams.video:
            self._container.close()
            raise ValueError(f"images: expected a film, got {self._path!r} without a picture")
        return self._container

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._container.close()
        if isinstance(error, self._error):
            raise self._explained(error) from None


def encode_film(pictures: Iterable[Any], rate: Fraction) -> bytes:
    """Makes an MP4 of pictures of one size; a side that is odd gets a pixel more, as the codecs want it.

    Args:
        pictures: Pillow images, or arrays (H, W, 3) in uint8, at least one.
        rate: of them a second.

    Raises:
        ModuleNotFoundError: without PyAV, in one line.
    """
    with extra("video", "film"):
        import av
    target = BytesIO()
    with av.open(target, "w", format="mp4") as container:
        codec = next(name for name in CODECS if name in av.codecs_available)
        stream: Any = container.add_stream(codec, rate=rate.limit_denominator(60_000))
        stream.pix_fmt = "yuv420p"  # what every player plays
        for number, picture in enumerate(pictures):
            pixels = np.asarray(picture)
            pixels = np.pad(pixels, [(0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)], mode="edge")
            if not number:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())
    return target.getvalue()
