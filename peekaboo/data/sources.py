"""Images by folder, file, glob or list: what ``--data.images`` and ``peekaboo SOURCE... PROMPT`` take."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from .checks import read_bytes, require, user_path
from .listing import SUFFIXES, Listing, is_film

LISTS = (".txt", ".lst")
KINDS = "a folder of images, an image, a film, a glob, or a list of them (.txt)"


class Sources:
    """The images of one or several sources.

    A source is a folder; an image; a film (``clip.mp4``), which stands for its frames; a glob (``photos/**/*.jpg``); or a text
    file with one of those a line, relative to the file, in which lines that begin with ``#`` say nothing. An image that several
    sources name counts once.

    Args:
        sources: as the user gave them.
        recursive: look into the folders of a folder, too.

    Attributes:
        folder: that all images are in: the source itself where it is a single folder.
        images: paths relative to that folder, of films too.
        left_out: what folders had beside images, in words.

    Raises:
        FileNotFoundError, ValueError: for a source that is none, or has no image.
    """

    def __init__(self, sources: str | os.PathLike[str] | list[str], recursive: bool) -> None:
        given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
        if not given:
            raise ValueError(f"images: expected {KINDS}, got none")
        self._recursive, self._left_out = recursive, [""]
        files = [file for source in given for file in self._files(source)]
        files = list({os.path.abspath(file): file for file in files}.values())
        if len(given) == 1 and user_path(given[0]).is_dir():
            self.folder = user_path(given[0])
        else:
            self.folder = Path(os.path.commonpath([Path(os.path.abspath(file)).parent for file in files]))
            files = [Path(os.path.abspath(file)) for file in files]
        self.images = [file.relative_to(self.folder) for file in files]
        self.left_out = ", ".join(filter(None, self._left_out))

    def _files(self, source: str | os.PathLike[str], inside_list: bool = False) -> list[Path]:
        path = user_path(source)
        if glob.has_magic(str(source)) and not path.exists():
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            images = [file for file in found if (file.suffix.lower() in SUFFIXES or is_film(file)) and file.is_file()]
            if not images:
                raise FileNotFoundError(f"images: expected at least one image or film for {str(source)!r}, got none")
            return images
        require(path, "images", KINDS, "give one that exists")
        if path.is_dir():
            return self._folder(path)
        if path.suffix.lower() in LISTS and not inside_list:
            return self._list(path)
        return [path]

    def _folder(self, folder: Path) -> list[Path]:
        listing = Listing(folder, self._recursive)
        left_out = listing.summary()
        if not listing.images:
            hint = "" if self._recursive else "; recursive: true looks into its folders, too"
            met = f"; left out: {left_out}" if left_out else ""
            raise ValueError(f"images: expected at least one image in {str(folder)!r}, got none{hint}{met}")
        self._left_out.append(left_out)
        return [folder / image for image in listing.images]

    def _list(self, file: Path) -> list[Path]:
        lines = [line.strip() for line in read_bytes(file, "images").decode("utf-8", "surrogateescape").splitlines()]
        named = [line for line in lines if line and not line.startswith("#")]
        if not named:
            raise ValueError(f"images: expected at least one image in the list {str(file)!r}, got none")
        return [found for line in named for found in self._files(file.parent / user_path(line), inside_list=True)]
