"""The general data set: a JSON Lines file that names images, prompts and masks; and what every reader of files shares."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .base import Sample, SampleData, Samples
from .images import read_image, read_mask

KEYS = ("image", "prompt", "mask", "id")
MAX_ID_BYTES = 200  # file systems allow 255 for a name, and suffixes follow
UNSAFE = re.compile(r'[\x00-\x1f/\\:*?"<>|]')  # in file names, on one system or another


def slug(text: str, max_bytes: int = 80) -> str:
    """Returns ``text`` as a piece of a file name: runs of other characters than letters, digits and ``_.+-`` become ``-``.

    >>> slug("photos/A dog, on the left!")
    'photos-A-dog-on-the-left'
    """
    text = re.sub(r"[^\w.+-]+", "-", unicodedata.normalize("NFC", text))
    return text.encode()[:max_bytes].decode(errors="ignore").strip("-.") or "sample"


def unique(ids: Iterable[str], reserved: Iterable[str] = ()) -> list[str]:
    """Returns the ids in their order; one that was there before, or differs in case only, gets a number.

    >>> unique(["a", "b", "A", "a"])
    ['a', 'b', 'A-2', 'a-3']
    """
    taken = {name.casefold() for name in reserved}
    count: dict[str, int] = {}
    result = []
    for name in ids:
        candidate, key = name, name.casefold()
        while candidate.casefold() in taken:
            count[key] = count.get(key, 1) + 1
            candidate = f"{name}-{count[key]}"
        taken.add(candidate.casefold())
        result.append(candidate)
    return result


def require(path: Path, argument: str, layout: str, source: str) -> Path:
    """Returns ``path`` if it is there.

    Raises:
        FileNotFoundError: else, in one line: the argument, the path that is missing, the layout and where the data come from.
    """
    if not path.exists():
        raise FileNotFoundError(f"{argument}: expected {layout}, but {str(path)!r} does not exist; {source}")
    return path


def require_foreground(mask: Tensor, argument: str = "mask") -> Tensor:
    """Returns ``mask`` if it marks any pixel; no IoU can be told of one that does not.

    Raises:
        ValueError: if it is empty.
    """
    if not mask.any():
        raise ValueError(f"{argument}: expected at least one foreground pixel (white on black), got an empty mask")
    return mask


def read_json(path: Path, argument: str) -> Any:
    """Reads a JSON file.

    Raises:
        ValueError: if it is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{argument}: expected JSON, got {str(path)!r}, which is broken ({error})") from None


def check_text(value: object, where: str) -> str:
    """Returns ``value`` if it is a string that says something.

    Raises:
        ValueError: if it is not, or blank; ``where`` opens the message.
    """
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected a string, got {type(value).__name__} {str(value)[:40]!r}")
    if not value.strip():
        raise ValueError(f"{where}: expected some text, got an empty string")
    return value.strip()


@dataclass(frozen=True)
class Entry:
    """One line of a manifest; ``id`` is empty where the line gives none."""

    line: int
    image: str
    prompt: str
    mask: str | None
    id: str


def _parse(raw: bytes, line: int, where: str) -> Entry:
    """Reads one line; ``where`` opens the messages."""
    try:
        record = json.loads(raw.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: expected a JSON object, got broken JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected a JSON object in UTF-8, got something else ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(record).__name__}")
    if missing := [key for key in KEYS[:2] if key not in record]:
        raise ValueError(f"{where}: expected the keys 'image' and 'prompt', got no {missing[0]!r}")
    if unknown := sorted(set(record) - set(KEYS)):
        raise ValueError(f"{where}: expected only the keys {', '.join(KEYS)}, got {unknown[0]!r}")
    image, prompt = (check_text(record[key], f"{where}, {key!r}") for key in KEYS[:2])
    mask, name = (None if record.get(key) is None else check_text(record[key], f"{where}, {key!r}") for key in KEYS[2:])
    if name and (UNSAFE.search(name) or name.startswith(".") or len(name.encode()) > MAX_ID_BYTES):
        raise ValueError(f"{where}, 'id': expected a name that can be a file's (at most {MAX_ID_BYTES} bytes), got {name[:60]!r}")
    return Entry(line, image, prompt, mask, name or "")


def read_manifest(path: str | Path) -> list[Entry]:
    """Reads and checks every line of a manifest, but opens no image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: at the first line that is no entry, or repeats an id; or if there is no entry at all.
    """
    path = Path(path).expanduser()
    require(path, "manifest", "a JSON Lines file", 'write one {"image": ..., "prompt": ..., "mask": ...} a line')
    if not path.is_file():
        raise ValueError(f"manifest: expected a JSON Lines file, got the directory {str(path)!r}")
    entries: list[Entry] = []
    lines: dict[str, int] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            entry = _parse(raw.strip(), number, f"manifest: {str(path)!r}, line {number}")
            if entry.id and lines.setdefault(entry.id.casefold(), number) != number:
                first = lines[entry.id.casefold()]
                raise ValueError(f"manifest: {str(path)!r}, line {number}: expected a new id, got {entry.id!r} of line {first}")
            entries.append(entry)
    if not entries:
        raise ValueError(f"manifest: expected at least one line, got {str(path)!r}, which has none")
    return entries


class ManifestSamples(Samples):
    """The samples of a manifest; a line without an id is named after its image and prompt."""

    def __init__(self, manifest: str | Path) -> None:
        self.path = Path(manifest).expanduser()
        self.entries = read_manifest(self.path)
        given = [entry.id for entry in self.entries if entry.id]
        unnamed = [entry for entry in self.entries if not entry.id]
        made = iter(unique((f"{slug(str(Path(e.image).with_suffix('')))}-{slug(e.prompt)}" for e in unnamed), given))
        self.ids = [entry.id or next(made) for entry in self.entries]

    def load(self, index: int) -> Sample:
        entry = self.entries[index]
        where = f"manifest: {str(self.path)!r}, line {entry.line}"
        image = read_image(self.path.parent / entry.image, f"{where}, 'image'")
        mask = None
        if entry.mask is not None:
            size = (image.shape[1], image.shape[2])
            mask = read_mask(self.path.parent / entry.mask, size, f"{where}, 'mask'")
            require_foreground(mask, f"{where}, 'mask'")
        return Sample(self.ids[index], image, entry.prompt, mask)


class ManifestData(SampleData):
    """A data set that a JSON Lines file describes, one sample a line.

    ``{"image": "a.png", "prompt": "a dog", "mask": "a_mask.png", "id": "a"}``: paths are relative to the file, ``mask`` (white
    on black, as large as the image) may be left out for ``predict``, ``id`` always. Other keys are refused, so that a
    misspelt ``mask`` is not a missing one.

    Args:
        manifest: the file.
        batch_size: pairs that are optimised side by side.
        limit: use only that many samples, evenly spread; None for all.
        num_workers: processes that read images.
    """

    def __init__(self, manifest: str, batch_size: int = 8, limit: int | None = None, num_workers: int = 0) -> None:
        super().__init__(batch_size, limit, num_workers)
        self.manifest = manifest

    def samples(self) -> ManifestSamples:
        return ManifestSamples(self.manifest)
