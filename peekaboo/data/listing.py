"""What of a folder is an image of it, and what is left out; which names are those of images and of films."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

#: File names that count as images; the others in a folder are said and left alone.
SUFFIXES = frozenset(
    {
        ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf",
        ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
#: File names that count as films.
FILMS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"})


def is_film(path: str | Path) -> bool:
    """Whether a path names a video file, by its suffix."""
    return Path(path).suffix.lower() in FILMS


class Listing:
    """What a folder has: its images, and what else was met and left out.

    Hidden files and folders (``.name``) and this program's own results are no images of the folder.

    Args:
        folder: where to look.
        recursive: look into its folders, too.

    Attributes:
        images: paths relative to the folder, in order; numbers in names count as numbers, so that ``2.png`` is before ``10.png``.
        left_out: why, and how many.

    Raises:
        ValueError: if the folder may not be read.
    """

    def __init__(self, folder: Path, recursive: bool) -> None:
        self.folder, self.recursive = folder, recursive
        self.left_out: Counter[str] = Counter()
        found: list[Path] = []
        for parent, folders, names in os.walk(folder, onerror=self._unreadable):
            folders[:] = [name for name in folders if recursive and self._enter(Path(parent, name))]
            found += (file for file in (Path(parent, name) for name in names) if self._is_image(file))
        self.images = sorted((file.relative_to(folder) for file in found), key=_by_number)

    def _unreadable(self, error: OSError) -> None:
        if Path(error.filename) == self.folder:
            raise ValueError(f"images: expected a folder that can be read, got {str(self.folder)!r} ({error.strerror})") from None
        self.left_out[f"folder that cannot be read ({error.filename!r})"] += 1

    def _enter(self, folder: Path) -> bool:
        if folder.name.startswith("."):
            return False
        if own := is_result_folder(folder):
            self.left_out["folder of this program's results"] += 1
        elif folder.is_symlink():
            self.left_out["linked folder"] += 1  # os.walk does not enter it: links can go round in circles
        return not own

    def _is_image(self, file: Path) -> bool:
        if file.name.startswith("."):
            return False
        if file.suffix.lower() in SUFFIXES:
            return True
        self.left_out[f"{file.suffix.lower()} file" if file.suffix else "file without a suffix"] += 1
        return False

    def summary(self) -> str:
        """Says what was left out: ``2 x .txt file, 1 x linked folder``; empty if nothing was."""
        kinds = self.left_out.most_common(6)
        more = len(self.left_out) - len(kinds)
        return ", ".join(f"{count} x {kind}" for kind, count in kinds) + (f" and {more} other kinds" if more else "")


def _by_number(path: Path) -> list[str | int]:
    """Sorts text as text and numbers as numbers; they alternate, text first."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", path.as_posix()))]


def is_result_folder(folder: Path) -> bool:
    """Whether a folder was written by this program: an evaluation, a fit, or a result that was saved."""
    evaluation = (folder / "run.json").is_file() and (folder / "samples").is_dir()
    return (
        evaluation or folder.name == "lightning_logs" or ((folder / "result.json").is_file() and (folder / "alpha.png").is_file())
    )
