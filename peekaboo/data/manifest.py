"""The general data set: a JSON Lines file that names images, prompts and masks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import Sample, SampleData, Samples
from .checks import check_string, check_unicode, read_bytes, require, user_path
from .images import read_image
from .masks import Foreground, check_foreground, read_mask
from .names import MAX_ID_BYTES, is_file_name, slug, stem, unique

KEYS = ("image", "prompt", "mask", "id", "foreground")


@dataclass(frozen=True)
class Entry:
    """One line of a manifest.

    Attributes:
        line: its number.
        image, prompt, mask, foreground: as it gives them.
        id: empty where it gives none.
        problem: what is wrong with its text, so that its sample alone fails; None for nothing.
    """

    line: int
    image: str
    prompt: str
    mask: str | None
    id: str
    foreground: Foreground = None
    problem: str | None = None


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
    image, prompt = (check_string(record[key], f"{where}, {key!r}") for key in KEYS[:2])
    mask, name = (None if record.get(key) is None else check_string(record[key], f"{where}, {key!r}") for key in KEYS[2:4])
    foreground = check_foreground(record.get("foreground"), f"{where}, 'foreground'")
    try:
        check_unicode(prompt, f"{where}, 'prompt'")
        check_unicode(name or "", f"{where}, 'id'")
    except ValueError as error:
        return Entry(line, image, prompt, mask, slug(name) if name else "", foreground, str(error))
    if name and not is_file_name(name):
        raise ValueError(f"{where}, 'id': expected a name that can be a file's (at most {MAX_ID_BYTES} bytes), got {name[:60]!r}")
    return Entry(line, image, prompt, mask, name or "", foreground)


def read_manifest(path: str | Path) -> list[Entry]:
    """Reads and checks every line of a manifest, but opens no image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: at the first line that is no entry, or repeats an id; or if there is no entry at all.
    """
    path = Path(path)
    require(path, "manifest", "a JSON Lines file", 'write one {"image": ..., "prompt": ..., "mask": ...} a line')
    if path.is_dir():
        raise ValueError(f"manifest: expected a JSON Lines file, got the directory {str(path)!r}")
    entries: list[Entry] = []
    lines: dict[str, int] = {}
    for number, raw in enumerate(read_bytes(path, "manifest").split(b"\n"), 1):
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
        self.path = user_path(manifest)
        self.entries = read_manifest(self.path)
        self.scored = any(entry.mask is not None or entry.problem is not None for entry in self.entries)
        given = [entry.id for entry in self.entries if entry.id]
        unnamed = [entry for entry in self.entries if not entry.id]
        keys = [(entry.image, entry.prompt, entry.mask, entry.foreground) for entry in unnamed]
        made = iter(unique((f"{slug(stem(entry.image))}-{slug(entry.prompt)}" for entry in unnamed), keys, given))
        self.ids = [entry.id or next(made) for entry in self.entries]

    def files(self, index: int) -> list[Path]:
        entry = self.entries[index]
        return [self.path.parent / name for name in (entry.image, entry.mask) if name is not None]

    def annotation(self, index: int) -> Any:
        return [self.entries[index].prompt, self.entries[index].foreground]

    def load(self, index: int) -> Sample:
        entry = self.entries[index]
        where = f"manifest: {str(self.path)!r}, line {entry.line}"
        if entry.problem is not None:
            raise ValueError(entry.problem)
        image = read_image(self.path.parent / entry.image, f"{where}, 'image'")
        if entry.mask is None:
            return Sample(self.ids[index], image, entry.prompt)
        size = (image.shape[1], image.shape[2])
        mask = read_mask(self.path.parent / entry.mask, size, f"{where}, 'mask'", entry.foreground)
        return Sample(self.ids[index], image, entry.prompt, mask.foreground, mask.void)


class ManifestData(SampleData):
    """A data set that a JSON Lines file describes, one sample a line.

    ``{"image": "a.png", "prompt": "a dog", "mask": "a_mask.png", "id": "a", "foreground": 12}``: paths are relative to the file,
    ``mask`` (as large as the image) may be left out for ``predict``, ``id`` always; ``foreground`` says what of the mask is the
    object, where :func:`peekaboo.data.masks.read_mask` asks for it. Other keys are refused, so that a misspelt ``mask`` is not
    a missing one.

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
