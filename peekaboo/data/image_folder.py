"""A folder of images and one or several prompts, for ``predict``: folder in, masks out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .base import Sample, SampleData, Samples
from .images import read_image
from .manifest import check_text, require, slug, unique

#: File names that count as images; everything else in the folder is left alone.
SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def _files(folder: Path, recursive: bool) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def find_images(folder: Path, recursive: bool) -> list[Path]:
    """Returns the paths of the images, relative to the folder and in order; hidden files and folders are left out."""
    images = [file.relative_to(folder) for file in _files(folder, recursive) if file.suffix.lower() in SUFFIXES]
    return sorted(images, key=Path.as_posix)


class ImageFolderSamples(Samples):
    """Every image of a folder with every prompt; images vary slowest."""

    def __init__(self, images: str | Path, prompts: list[str], recursive: bool) -> None:
        self.folder = require(Path(images).expanduser(), "images", "a folder of images", "give one that exists")
        if not self.folder.is_dir():
            raise ValueError(f"images: expected a folder of images, got the file {str(self.folder)!r}")
        found = find_images(self.folder, recursive)
        if not found:
            hint = "" if recursive else "; recursive: true looks into its folders, too"
            raise ValueError(f"images: expected at least one image in {str(self.folder)!r}, got none{hint}")
        self.pairs = [(path, prompt) for path in found for prompt in prompts]
        # Files that differ by their suffix alone keep it: a number would pass on to another file when one is added.
        stems = {path: path.with_suffix("").as_posix() for path in found}
        alike = Counter(stem.casefold() for stem in stems.values())
        names = {path: stem if alike[stem.casefold()] == 1 else path.as_posix() for path, stem in stems.items()}
        ids = (slug(names[path], 120) for path, _ in self.pairs)
        if len(prompts) > 1:
            ids = (f"{name}-{slug(prompt, 60)}" for name, (_, prompt) in zip(ids, self.pairs, strict=True))
        self.ids = unique(ids)

    def load(self, index: int) -> Sample:
        path, prompt = self.pairs[index]
        return Sample(self.ids[index], read_image(self.folder / path, "images"), prompt)


class ImageFolderData(SampleData):
    """The images of a folder, each with every prompt, without ground truth.

    Files are images by their suffix; others are ignored. A sample is named after its path in the folder, and after its
    prompt if there are several: ``trips/Rome 1.jpg`` and "a dog" make ``trips-Rome-1-a-dog``; with its suffix if another file
    differs by that alone.

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
