"""Endless streams of training scenes, as tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..data.backgrounds import TRAINING_BACKGROUNDS
from ..data.looks import FLUENT_3D, SEEN_LOOKS, TUNING_LOOK, TUNING_SEED, check_looks, vocabulary
from ..data.scenes import Kind, Scene, check_emphasis, compose, noun_phrase

#: Seeds below this are never used in training: they belong to the benchmark and the tests.
FIRST_TRAINING_SEED = 1000


VALIDATION_SEED = 900  # neither trained on nor in the benchmark
#: What a training looks at on its way: Fluent 3D alone, all looks that it sees, and one that it does not.
HELD_OUT_LOOKS = {"fluent_3d": (FLUENT_3D,), "seen": SEEN_LOOKS, "tuning": (TUNING_LOOK,)}
#: Share of the single objects whose caption says their place or size.
DESCRIBED = 0.3
#: Families on which masks of pairs come out worst: training shows them more often.
HARD_BACKGROUNDS = ("noisy", "checkered", "photo")
#: What captions say of a place or a size, and what would contradict it.
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top", "small": "big", "big": "small"}
QUALITIES = re.compile(r"\b(?:(?<=on the )(?:left|right)|(?<=at the )(?:top|bottom)|(?<=the )(?:small|big))\b")


@dataclass(frozen=True)
class Mixture:
    """What training scenes show.

    Attributes:
        looks: whose drawings; Fluent 3D stands there twice by default, since today's scenes are of it.
        vary: share of the objects whose sprite is changed, see :mod:`peekaboo.data.variation`.
        half_made: share of the scenes shown as the composite of a mask on its way; of half of them the caption names one object
            only, and the others are all but gone.
        recolour: share of the objects in a colour that is not theirs: what is learned from them does not go by colour alone.
        ghosts: share of the scenes that name several objects in which one of them shines through and is named all the same:
            what a caption leaves out is not there even faintly, as a mask that closes over an object needs it.
        emphasis: names of which half of the scenes show one: those that the model knows least, say.

    Raises:
        ValueError: for a word that is not in the vocabulary, or a look that is kept out of training.
    """

    looks: tuple[str, ...] = (FLUENT_3D, *SEEN_LOOKS)
    vary: float = 0.6
    half_made: float = 0.0
    recolour: float = 0.0
    ghosts: float = 0.0
    emphasis: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("looks", "emphasis"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a config has lists
        check_looks(self.looks, FIRST_TRAINING_SEED)
        check_emphasis(self.emphasis)


def training_scene(seed: int, index: int, size: int = 128, mixture: Mixture = Mixture()) -> Scene:
    """Returns one scene of the training mixture: 48 % single objects, 32 % pairs, 5 % triples, 15 % two of a kind.

    A caption that names only one of two objects teaches that the other may stay: the fewer there are (one in twenty), the more a
    mask pays for what its prompt does not name. The others name everything ("the bus on the left and the bus on the right").
    Three in ten scenes stand on a flat background, as the composites of a segmentation do, and a quarter on one of
    ``HARD_BACKGROUNDS``; the others choose from all families.

    Args:
        seed, index, size: as of :func:`peekaboo.data.scenes.compose`.
        mixture: what they show.
    """
    rng = np.random.default_rng([seed, index])
    kinds: tuple[Kind, ...] = ("single", "pair", "triple", "referring")
    kind = kinds[rng.choice(4, p=[0.48, 0.32, 0.05, 0.15])]
    half_made = bool(rng.random() < mixture.half_made)
    partial = bool(rng.random() < (0.5 if half_made else 0.05))
    families = (("flat",), HARD_BACKGROUNDS, TRAINING_BACKGROUNDS)
    backgrounds = families[rng.choice(3, p=[0.30, 0.25, 0.45])]
    return compose(
        seed,
        index,
        kind,
        size=size,
        partial=partial,
        backgrounds=backgrounds,
        recolour=mixture.recolour,
        ghosts=mixture.ghosts,
        emphasis=mixture.emphasis,
        looks=mixture.looks,
        vary=mixture.vary,
        half_made=half_made,
        grounded=True,
    )


def training_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Varies a scene's caption: other templates, and for one object sometimes its place or size ("a small rocket")."""
    words = scene.prompt
    if len(scene.named) == 1 and len(scene.names) == 1 and rng.random() < DESCRIBED:
        words = _described(scene, rng)
    draw = rng.random()
    if draw < 0.06:
        return f"a photo of {words}"
    if draw < 0.12:
        return f"a picture of {words}"
    if draw < 0.18 and words.startswith(("a ", "an ")):
        return words.split(" ", 1)[1]
    return words


def _described(scene: Scene, rng: np.random.Generator) -> str:
    name = scene.names[0]
    rows, columns = np.nonzero(scene.target)
    if len(rows) == 0:
        return scene.prompt
    side = scene.target.shape[0]
    x, y = columns.mean() / side, rows.mean() / side
    extent = max(np.ptp(columns), np.ptp(rows)) / side
    true = []
    if abs(x - 0.5) > 0.1:
        true.append(f"the {name} on the {'left' if x < 0.5 else 'right'}")
    if abs(y - 0.5) > 0.1:
        true.append(f"the {name} at the {'top' if y < 0.5 else 'bottom'}")
    if extent < 0.36 or extent > 0.55:
        true.append(f"the {'small' if extent < 0.36 else 'big'} {name}")
    return true[rng.integers(len(true))] if true else noun_phrase(name)


def contradicted(caption: str, rng: np.random.Generator) -> str:
    """Returns the caption with one thing in it wrong: another name, or in half of those with one place or size, its opposite.

    A caption that names both of a kind is true with their places exchanged, so that only names are changed there.

    Args:
        caption: as :func:`training_caption` gives it.
        rng: draws the name.

    Returns:
        Another caption in the same words; the same one if no name of the vocabulary is in it.
    """
    qualities = QUALITIES.findall(caption)
    if len(qualities) == 1 and rng.random() < 0.5:
        return QUALITIES.sub(lambda match: OPPOSITE[match[0]], caption)
    named = list(_names().finditer(caption))
    if not named:
        return caption
    match = named[rng.integers(len(named))]
    others = [name for name in vocabulary() if name != match["name"]]
    other = others[rng.integers(len(others))]
    return caption[: match.start()] + (noun_phrase(other) if match["article"] else other) + caption[match.end() :]


@lru_cache(1)
def _names() -> re.Pattern[str]:
    """A name of the vocabulary, the longest that fits ("teddy bear"), with its indefinite article where it has one."""
    names = "|".join(re.escape(name) for name in sorted(vocabulary(), key=len, reverse=True))
    return re.compile(rf"\b(?P<article>an? )?(?P<name>{names})\b")


def held_out_scenes(tag: str, count: int) -> list[Scene]:
    """Returns single objects that no training sees, in the looks of ``HELD_OUT_LOOKS[tag]``."""
    looks = HELD_OUT_LOOKS[tag]
    return [compose(TUNING_SEED if TUNING_LOOK in looks else VALIDATION_SEED, i, looks=looks) for i in range(count)]


def check_training_seed(seed: int) -> None:
    """Keeps trainings from the scenes that masks are measured and settings are tuned on.

    Raises:
        ValueError: for a seed of theirs.
    """
    if seed < FIRST_TRAINING_SEED or seed == TUNING_SEED:
        expected = f"at least {FIRST_TRAINING_SEED} (lower seeds are the benchmark's) and not {TUNING_SEED} (the tuning scenes')"
        raise ValueError(f"seed: expected {expected}, got {seed}")


class SceneStream(IterableDataset[dict[str, object]]):
    """Endless training scenes: ``image`` (3, size, size) in [0, 1], ``depth`` (size, size), ``names`` (122,), ``caption``.

    Args:
        seed: of the stream, at least ``FIRST_TRAINING_SEED``.
        size: side of the scenes.
        first: index of the first scene, so that a resumed training goes on with new ones.
        mixture: what the scenes show.
    """

    def __init__(self, seed: int, size: int = 128, first: int = 0, mixture: Mixture = Mixture()) -> None:
        check_training_seed(seed)
        self.seed, self.size, self.first, self.mixture = seed, size, first, mixture

    def __iter__(self) -> Iterator[dict[str, object]]:
        worker = get_worker_info()
        step, index = (worker.num_workers, self.first + worker.id) if worker else (1, self.first)
        words = list(vocabulary())
        while True:
            scene = training_scene(self.seed, index, self.size, self.mixture)
            names = torch.zeros(len(words))
            names[[words.index(scene.names[i]) for i in scene.named]] = 1
            yield {
                "image": to_tensor(scene),
                "depth": torch.from_numpy(scene.depth),
                "names": names / names.sum(),
                "caption": training_caption(scene, np.random.default_rng([self.seed, index, 1])),
            }
            index += step


def to_tensor(scene: Scene) -> Tensor:
    """Returns the scene's image as (3, H, W) float in [0, 1]."""
    return torch.from_numpy(scene.image).permute(2, 0, 1).float() / 255


class SceneStreamData(LightningDataModule):
    """Batches of endless training scenes.

    Args:
        batch_size: scenes a batch.
        seed: of the stream, at least ``FIRST_TRAINING_SEED``.
        size: side of the scenes in pixels.
        num_workers: processes that compose.
        first: index of the first scene.
        mixture: what the scenes show.
    """

    def __init__(
        self,
        batch_size: int = 32,
        seed: int = 1000,
        size: int = 128,
        num_workers: int = 1,
        first: int = 0,
        mixture: Mixture = Mixture(),
    ) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers
        self.stream = SceneStream(seed, size, first, mixture)

    def train_dataloader(self) -> DataLoader[dict[str, object]]:
        return DataLoader(self.stream, self.batch_size, num_workers=self.num_workers)
