"""The looks of the embedded world: whose drawings of the words there are, and which of them no training may see."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from PIL import Image

ASSETS = Path(__file__).resolve().parent.parent / "assets"
#: The first look, and the only one of a scene that asks for none.
FLUENT_3D = "fluent_3d"
#: Looks that trainings draw from.
SEEN_LOOKS = (FLUENT_3D, "fluent_flat", "twemoji", "emojione", "streamline")
#: Set aside from all training, to choose recipes and settings with: it stands in for the unseen look.
TUNING_LOOK = "fxemoji"
#: Only in the benchmark: neither trained on nor tuned on.
UNSEEN_LOOK = "openmoji"
LOOKS = (*SEEN_LOOKS, TUNING_LOOK, UNSEEN_LOOK)
BENCHMARK_SEED, TUNING_SEED = 1, 1500


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, str]:
    """Returns the 122 names of the embedded world and their code points, in the order of the vocabulary file."""
    with (ASSETS / "vocabulary.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row["code_points"] for row in csv.DictReader(file)}


@lru_cache(maxsize=1)
def drawn_by() -> dict[str, tuple[str, ...]]:
    """Returns for each name the looks that have a sprite of it, in the order of ``LOOKS``."""
    found: dict[str, set[str]] = {name: {FLUENT_3D} for name in vocabulary()}
    with (ASSETS / "sprites" / "sources.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["name"]].add(row["look"])
    return {name: tuple(look for look in LOOKS if look in looks) for name, looks in found.items()}


def check_looks(looks: Sequence[str], seed: int) -> None:
    """Keeps the looks that are set aside from every seed but those that may draw them.

    Args:
        looks: of a scene; one that stands there twice is drawn twice as often.
        seed: of the scene. ``UNSEEN_LOOK`` belongs to the benchmark's alone, ``TUNING_LOOK`` to the benchmark's and the tuning's.

    Raises:
        ValueError: for no look, an unknown one, or one that this seed must not draw.
    """
    if not looks or not set(looks) <= set(LOOKS):
        raise ValueError(f"looks: expected some of {', '.join(LOOKS)}, got {', '.join(looks) or 'none'}")
    for look, seeds in ((UNSEEN_LOOK, (BENCHMARK_SEED,)), (TUNING_LOOK, (BENCHMARK_SEED, TUNING_SEED))):
        if look in looks and seed not in seeds:
            only = " and ".join(str(s) for s in seeds)
            raise ValueError(
                f"looks: expected none of {look!r}, which is kept out of training (seed {only} only), got seed {seed}"
            )


@cache
def names_of(looks: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of the vocabulary that one of the looks has a sprite of, in its order."""
    return tuple(name for name, drawn in drawn_by().items() if set(drawn) & set(looks))


@cache
def sprite(name: str, look: str = FLUENT_3D) -> Image.Image:
    """Returns the RGBA sprite of one name in one look, cropped to its visible pixels.

    Raises:
        ValueError: if ``name`` is not in the vocabulary, or the look has no sprite of it.
    """
    if name not in vocabulary():
        raise ValueError(f"name: expected one of the {len(vocabulary())} words of the embedded world, got {name!r}")
    if look not in drawn_by()[name]:
        raise ValueError(f"look: expected one of {', '.join(drawn_by()[name])}, which draw {name!r}, got {look!r}")
    folder = ASSETS / "sprites" / ("" if look == FLUENT_3D else look)
    image = Image.open(folder / f"{vocabulary()[name]}.webp").convert("RGBA")
    return image.crop(image.getchannel("A").point([0] * 16 + [255] * 240).getbbox())
