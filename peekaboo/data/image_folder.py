"""A folder of images and one or several prompts, for ``predict``: folder in, masks out."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from .base import Sample, SampleData, Samples
from .checks import check_text
from .images import read_image
from .names import slug, stem, unique
from .sources import Sources


class ImageFolderSamples(Samples):
    """Every image of a folder with every prompt; images vary slowest."""

    def __init__(self, images: str | Path | list[str], prompts: list[str], recursive: bool) -> None:
        sources = Sources(images, recursive)
        self.folder, found = sources.folder, sources.images
        if sources.left_out:
            rank_zero_info(f"images: {len(found)} images in {str(self.folder)!r}; left out: {sources.left_out}")
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
    """The images of a folder, or of other sources, each with every prompt, without ground truth.

    Files are images by their suffix; others are said and left out, as are folders with this program's own results. A sample is
    named after its path in the folder, and after its prompt if there are several: ``trips/Rome 1.jpg`` and "a dog" make
    ``trips-Rome-1-a-dog``; with its suffix if another file differs by that alone, and with a digest of its path if the names of
    two files are still alike.

    Args:
        images: a folder, an image, a glob, a text file with one of these a line, or a list of any of them; see
            :class:`peekaboo.data.sources.Sources`.
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
