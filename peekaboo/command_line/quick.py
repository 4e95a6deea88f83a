"""``peekaboo dog.jpg "a dog"``: sources and prompts as the arguments of `fit` or of `predict`."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import sys
from pathlib import Path

from ..data.listing import SUFFIXES, is_film
from ..data.sources import LISTS
from .names import did_you_mean
from .short import DEFAULT, LETTERS

COMMANDS = ("fit", "test", "predict", "study", "report", "words", "configs", "web")
STDIN = Path("runs", "stdin")  # where a picture that came through a pipe is kept


def expanded(args: list[str]) -> list[str]:
    """Returns the arguments of `fit` for one image, of `predict` for more.

    The first arguments are sources: what is there as a file or a folder, a glob, ``-`` for standard input, or a name that ends as
    images do. The first that is none of these is a prompt, as are all behind it, and those of ``-p``.

    Args:
        args: beginning with a source.

    Raises:
        ValueError, FileNotFoundError: for arguments without a source, or without a prompt.
    """
    words, prompts, options = _sorted_out(args)
    sources: list[str] = []
    while words and is_source(words[0]):
        sources.append(words.pop(0))
    if not sources:
        first = words[0] if words else args[0]
        near = did_you_mean(first, COMMANDS)
        raise FileNotFoundError(f"{first!r}: expected a command ({', '.join(COMMANDS)}) or an image, a folder or a glob{near}")
    prompts += words
    if not prompts:
        again = f'peekaboo {sources[0]} "a dog"' if len(sources) == 1 else f'-p "{sources[-1]}", if that is the prompt'
        raise ValueError(f"prompt: expected what to segment in {sources[0]!r}, got none; say it: {again}")
    if "-" in sources:
        sources = [one for source in sources for one in (_from_stdin() if source == "-" else [source])]
    if not any(option.startswith(("--variant", "--config", "-c")) for option in options):
        options = [f"--variant={DEFAULT}", *options]
    if len(sources) == 1 and not (Path(sources[0]).is_dir() or _has_many(sources[0])):
        return ["fit", *options, f"--model.image={sources[0]}", *(f"--model.prompt={prompt}" for prompt in prompts)]
    films = all(is_film(source) for source in sources)
    if films and not any(option.startswith("--model.start") for option in options):
        options += ["--config=frames"]  # each begins at the mask of the one before
    what = [f"--data.images={json.dumps(sources)}", f"--data.prompt={json.dumps(prompts, ensure_ascii=False)}"]
    return ["predict", *options, *what, "--data.recursive=true", "--evaluation.cutouts=true"]


def _sorted_out(args: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Returns words, prompts of ``-p``, and options with their values as ``--option=value``."""
    words: list[str] = []
    prompts: list[str] = []
    options: list[str] = []
    rest = iter(args)
    for argument in rest:
        option, given, value = argument.partition("=")
        option = LETTERS.get(option, option)
        if not option.startswith("-") or option == "-":
            words.append(argument)
            continue
        if option == "--":
            words += rest
            break
        found = value if given else next(rest, None)
        if found is None:
            raise ValueError(f"{option.removeprefix('--')}: expected a value, got none")
        if option == "--prompt":
            prompts.append(found)
        else:
            options.append(f"{'--config' if option == '-c' else option}={found}")
    return words, prompts, options


def is_source(word: str) -> bool:
    """Whether a word names images, there or not.

    >>> is_source("dog.jpg"), is_source("photos/*.png"), is_source("-"), is_source("a dog"), is_source("what is *this*?")
    (True, True, True, False, False)
    """
    suffix = Path(word).suffix.lower()
    return word == "-" or os.path.lexists(Path(word).expanduser()) or suffix in {*SUFFIXES, *LISTS} or is_film(word)


def _has_many(source: str) -> bool:
    return Path(source).suffix.lower() in LISTS or is_film(source) or (glob.has_magic(source) and not Path(source).exists())


def _from_stdin() -> list[str]:
    """A picture, which is kept as a file, or a list of sources, one a line."""
    content = sys.stdin.buffer.read()
    if not content:
        raise ValueError("-: expected an image or a list of images through standard input, got nothing")
    try:
        lines = [line.strip() for line in content.decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        lines = []
    if lines and all(line.isprintable() for line in lines):
        return lines
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as picture:
            ending = (picture.format or "png").lower()
    except UnidentifiedImageError:
        raise ValueError("-: expected an image or a list of images through standard input, got something else") from None
    file = STDIN / f"{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return [str(file)]
