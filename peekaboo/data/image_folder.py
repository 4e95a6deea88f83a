"""A folder of images and one or several prompts, for ``predict``: folder in, masks out."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from .base import Sample, SampleData, Samples
from .checks import check_text, require, user_path
from .images import read_image
from .names import slug, stem, unique

#: File names that count as images; the others in a folder are said and left alone.
SUFFIXES = frozenset(
    {
        ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf",
        ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip


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


class ImageFolderSamples(Samples):
    """Every image of a folder with every prompt; images vary slowest."""

    def __init__(self, images: str | Path, prompts: list[str], recursive: bool) -> None:
        self.folder = require(user_path(images), "images", "a folder of images", "give one that exists")
        if not self.folder.is_dir():
            raise ValueError(f"images: expected a folder of images, got the file {str(self.folder)!r}")
        listing = Listing(self.folder, recursive)
        left_out, found = listing.summary(), listing.images
        if not found:
            hint = "" if recursive else "; recursive: true looks into its folders, too"
            met = f"; left out: {left_out}" if left_out else ""
            raise ValueError(f"images: expected at least one image in {str(self.folder)!r}, got none{hint}{met}")
        if left_out:
            rank_zero_info(f"images: {len(found)} images in {str(self.folder)!r}; left out: {left_out}")
        self.pairs = [(path, prompt) for path in found for prompt in prompts]
        endings = {prompt: f"-{slug(prompt, 60)}" if len(prompts) > 1 else "" for prompt in prompts}
        names, fuller = (
            [slug(form(path), 120) + endings[prompt] for path, prompt in self.pairs] for form in (stem, Path.as_posix)
        )  # files that differ by their suffix alone keep it
        keys = [(path.as_posix(), prompt) if len(prompts) > 1 else path.as_posix() for path, prompt in self.pairs]
        self.ids = unique(names, keys, fuller=fuller)

    def files(self, index: int) -> list[Path]:
        return [self.folder / self.pairs[index][0]]

    def annotation(self, index: int) -> str:
        return self.pairs[index][1]

    def load(self, index: int) -> Sample:
        return Sample(self.ids[index], read_image(self.files(index)[0], "images"), self.pairs[index][1])


class ImageFolderData(SampleData):
    """The images of a folder, each with every prompt, without ground truth.

    Files are images by their suffix; others are said and left out, as are folders with this program's own results. A sample is
    named after its path in the folder, and after its prompt if there are several: ``trips/Rome 1.jpg`` and "a dog" make
    ``trips-Rome-1-a-dog``; with its suffix if another file differs by that alone, and with a digest of its path if the names of
    two files are still alike.

    Args:
        images: the folder.
        prompt: what to segment; of several, each makes a sample of every image.
        recursive: look into the folder's folders, too.
        batch_size: pairs that are optimised side by side.
        limit: use only that many samples, evenly spread; None for all.
        num_workers: processes that read images.
    """

    def __init__(
        self,
        images: str,
        prompt: str | list[str],
        recursive: bool = False,
        batch_size: int = 8,
        limit: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        self.prompts = [check_text(text, "prompt") for text in prompts]
        if not prompts or len(set(self.prompts)) < len(prompts):
            raise ValueError(f"prompt: expected one or several different prompts, got {prompt!r}")
        self.images, self.recursive = images, recursive

    def samples(self) -> ImageFolderSamples:
        return ImageFolderSamples(self.images, self.prompts, self.recursive)
