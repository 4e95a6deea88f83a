"""Names of samples: text as a piece of a file name, and ids that depend on what is named, never on the order of a listing."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePath

MAX_ID_BYTES = 200  # file systems allow 255 for a name, and suffixes follow
_UNSAFE = re.compile(r'[\x00-\x1f/\\:*?"<>|\ud800-\udfff]')  # in file names, on one system or another


def slug(text: str, max_bytes: int = 80) -> str:
    """Returns ``text`` as a piece of a file name: runs of other characters than letters, digits and ``_.+-`` become ``-``.

    The vowel signs of Devanagari and its like are marks of their letters, and stay.

    >>> slug("photos/A dog, on the left!")
    'photos-A-dog-on-the-left'
    """
    letters = (
        c if c.isalnum() or c in "_.+-" or unicodedata.category(c)[0] == "M" else " " for c in unicodedata.normalize("NFC", text)
    )
    text = re.sub(" +", "-", "".join(letters))
    return text.encode()[:max_bytes].decode(errors="ignore").strip("-.") or "sample"


def stem(path: str | PurePath) -> str:
    """Returns a path without its suffix, with forward slashes; also of ``.``, ``/`` and the like, which have no name.

    >>> stem("trips/Rome 1.jpg"), stem(".")
    ('trips/Rome 1', '.')
    """
    path = PurePath(path)
    return (path.with_suffix("") if path.name else path).as_posix()


def is_file_name(name: str) -> bool:
    """Whether a text can be a file's name on every system, with room for a suffix, and is not hidden."""
    return not _UNSAFE.search(name) and not name.startswith(".") and len(name.encode()) <= MAX_ID_BYTES


def unique(
    names: Iterable[str], keys: Sequence[object], reserved: Iterable[str] = (), fuller: Iterable[str] | None = None
) -> list[str]:
    """Returns an id for each name: the name itself, or, where others could have it too, a fuller name, or one with a digest.

    So an id never passes on to another sample when one is added, and no id depends on the order. Names that differ in case
    only are alike, as file systems have it. Samples with equal keys are the same, and all but the first are numbered.

    Args:
        names: one a sample, each usable as a file name.
        keys: what tells the samples apart (path, prompt, ...), as plain values.
        reserved: ids that are taken.
        fuller: a second name for each, before a digest is resorted to.

    >>> unique(["a", "b", "A"], ["a.png", "b.png", "A.png"])
    ['a-fb1d76e5', 'b', 'A-8374427f']
    >>> unique(["a", "b", "a"], [1, 2, 3], fuller=["a.jpg", "b.jpg", "a.png"])
    ['a.jpg', 'b', 'a.png']
    """
    forms = [*zip(names, fuller, strict=True)] if fuller is not None else [(name,) for name in names]
    marks = [hashlib.sha256(repr(key).encode(errors="backslashreplace")).hexdigest()[:8] for key in keys]
    owners: dict[str, set[str]] = {name.casefold(): {""} for name in reserved}
    for own, mark in zip(forms, marks, strict=True):
        for form in own:
            owners.setdefault(form.casefold(), set()).add(mark)
    taken = {name.casefold() for name in reserved}
    ids = []
    for own, mark in zip(forms, marks, strict=True):
        alone = (form for form in own if owners[form.casefold()] == {mark})
        candidate, number = next(alone, f"{own[0]}-{mark}"), 1
        while candidate.casefold() in taken or not owners.get(candidate.casefold(), set()) <= {mark}:
            number += 1
            candidate = f"{own[0]}-{mark}-{number}"
        taken.add(candidate.casefold())
        ids.append(candidate)
    return ids


def labels(prompts: Sequence[str]) -> list[str]:
    """Returns a name for each of the prompts of one run, as folders and curves have it.

    >>> labels(["a tiger", "a zebra!"])
    ['0_a-tiger', '1_a-zebra']
    """
    return [f"{i}_{slug(prompt)}" for i, prompt in enumerate(prompts)]
