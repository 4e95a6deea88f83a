"""The words that a closed-vocabulary teacher knows: ``peekaboo words [TEACHER_FOLDER]``."""

from __future__ import annotations

import sys

from ..data.looks import vocabulary
from ..teachers.base import locate
from ..teachers.diffusion import read_vocabulary


def known_names() -> list[str]:
    """Returns the 122 objects of the embedded world, in the order of the vocabulary file.

    >>> len(known_names()), known_names()[0]
    (122, 'rocket')
    """
    return list(vocabulary())


def main(arguments: list[str]) -> int:
    """Prints the names, then every single word that the teacher's captions had."""
    path = arguments[0] if arguments else "embedded"
    try:
        words = read_vocabulary(locate(path, "teacher", "model_index.json"))
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if words is None:
        print(f"{path}: an open vocabulary")
        return 0
    print(f"{len(known_names())} objects:\n" + ", ".join(known_names()))
    print(f"\n{len(words)} words:\n" + " ".join(sorted(words)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
