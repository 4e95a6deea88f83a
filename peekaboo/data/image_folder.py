"""A folder of images, or the frames of a film, and one or several prompts, for ``predict``: folder in, masks out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from .base import Sample, SampleData, Samples
from .checks import check_text
from .film import Film, source_of_frame
from .images import read_image
from .listing import is_film
from .names import slug, stem, unique
from .sources import Sources


@dataclass(frozen=True)
class Pair:
    """A sample to come: an image, or a frame of a film, and a prompt.

    Attributes:
        path: of the file, relative to the folder.
        frame: number of the frame, from 0; None for an image.
        prompt: what to segment.
    """

    path: Path
    frame: int | None
    prompt: str

    @property
    def ending(self) -> str:
        """What its id has behind the file's name: in order for frames, also as text."""
        return "" if self.frame is None else f"-{self.frame:06}"


class ImageFolderSamples(Samples):
    """Every image of a folder, and every frame of a film, with every prompt; images vary slowest."""

    scored = False

    def __init__(self, images: str | Path | list[str], prompts: list[str], recursive: bool) -> None:
        sources = Sources(images, recursive)
        self.folder, found = sources.folder, sources.images
        if sources.left_out:
            rank_zero_info(f"images: {len(found)} images in {str(self.folder)!r}; left out: {sources.left_out}")
        self.films = {path: Film(self.folder / path) for path in found if is_film(path)}
        frames = [(path, i) for path in found for i in (range(len(self.films[path])) if path in self.films else [None])]
        self.pairs = [Pair(path, frame, prompt) for path, frame in frames for prompt in prompts]
        endings = {prompt: f"-{slug(prompt, 60)}" if len(prompts) > 1 else "" for prompt in prompts}
        names, fuller = (
            [slug(form(pair.path), 120) + pair.ending + endings[pair.prompt] for pair in self.pairs]
            for form in (stem, Path.as_posix)
        )  # files that differ by their suffix alone keep it
        keys = [(pair.path.as_posix() + pair.ending, pair.prompt) for pair in self.pairs]
        self.ids = unique(names, keys if len(prompts) > 1 else [path for path, _ in keys], fuller=fuller)

    def files(self, index: int) -> list[Path]:
        return [self.folder / self.pairs[index].path]

    def annotation(self, index: int) -> Any:
        pair = self.pairs[index]
        return pair.prompt if pair.frame is None else [pair.prompt, pair.frame]

    def source(self, index: int) -> str | None:
        frame = self.pairs[index].frame
        return super().source(index) if frame is None else source_of_frame(self.files(index)[0], frame)

    def load(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = read_image(self.files(index)[0], "images") if pair.frame is None else self.films[pair.path].read(pair.frame)
        return Sample(self.ids[index], image, pair.prompt)


class ImageFolderData(SampleData):
    """The images of a folder, or of other sources, each with every prompt, without ground truth.

    Files are images by their suffix; others are said and left out, as are folders with this program's own results. A sample is
    named after its path in the folder, and after its prompt if there are several: ``trips/Rome 1.jpg`` and "a dog" make
    ``trips-Rome-1-a-dog``; with its suffix if another file differs by that alone, and with a digest of its path if the names of
    two files are still alike.

    Args:
        images: a folder, an image, a film, a glob, a text file with one of these a line, or a list of any of them; see
            :class:`peekaboo.data.sources.Sources`. The frames of a film are images, as those of a folder.
        prompt: what to segment; of several, each makes a sample of every image.
        recursive: look into the folder's folders, too.
        batch_size: pairs that are optimised side by side.
        limit: use only that many samples, evenly spread; None for all.
        num_workers: processes that read images.
    """

    def __init__(
        self,
        images: str | list[str],
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
