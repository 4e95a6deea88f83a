"""The embedded benchmark: scenes fixed by seed that no training ever sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch

from .backgrounds import BACKGROUNDS, TRAINING_BACKGROUNDS
from .base import Sample, SampleData, Samples
from .looks import BENCHMARK_SEED, FLUENT_3D, SEEN_LOOKS, TUNING_LOOK, TUNING_SEED, UNSEEN_LOOK, check_looks
from .scenes import Kind, Scene, compose

Split = Literal["benchmark", "tuning"]
#: Seeds: the benchmark's is in no training; tuning is for choosing settings, with the backgrounds that trainings see.
SEEDS: dict[Split, int] = {"benchmark": BENCHMARK_SEED, "tuning": TUNING_SEED}
LookSet = Literal["fluent_3d", "seen", "others", "set_aside", "unseen"]
#: Whose drawings the scenes of a set show: those of the first look, of all looks of the trainings, of these without the first, of
#: the one set aside for tuning, and of the one that neither trainings nor tunings see.
LOOK_SETS: dict[LookSet, tuple[str, ...]] = {
    "fluent_3d": (FLUENT_3D,),
    "seen": SEEN_LOOKS,
    "others": tuple(look for look in SEEN_LOOKS if look != FLUENT_3D),
    "set_aside": (TUNING_LOOK,),
    "unseen": (UNSEEN_LOOK,),
}


class Scenes(Samples):
    """Composed scenes, each prompted with one of its objects.

    Args:
        counts: how many of each kind, in each of the sets of looks.
        split: ``benchmark`` or ``tuning``.
        size: side in pixels.
        looks: the sets of looks.
    """

    def __init__(
        self, counts: dict[Kind, int], split: Split = "benchmark", size: int = 128, looks: Sequence[LookSet] = ("fluent_3d",)
    ) -> None:
        self.split, self.size = split, size
        self.items = [(drawn, kind, i) for drawn in looks for kind, count in counts.items() for i in range(count)]
        self.ids = [f"{kind if drawn == 'fluent_3d' else f'{drawn}_{kind}'}-{i:03d}" for drawn, kind, i in self.items]

    def scene(self, index: int) -> Scene:
        """Composes the scene of one sample."""
        drawn, kind, i = self.items[index]
        backgrounds = BACKGROUNDS if self.split == "benchmark" else TRAINING_BACKGROUNDS
        return compose(SEEDS[self.split], i, kind, size=self.size, backgrounds=backgrounds, looks=LOOK_SETS[drawn])

    def load(self, index: int) -> Sample:
        return as_sample(self.ids[index], self.scene(index))


def as_sample(name: str, scene: Scene) -> Sample:
    """Returns a scene as a sample: what its prompt names is the mask, all else that stands in it are the others."""
    target = torch.from_numpy(scene.target)
    return Sample(
        id=name,
        image=torch.from_numpy(scene.image).permute(2, 0, 1).float() / 255,
        prompt=scene.prompt,
        mask=target,
        others=torch.from_numpy(scene.masks.any(0)) & ~target,
    )


class ScenesData(SampleData):
    """The embedded benchmark: 100 single objects, 100 pairs prompted with one of them, 50 referring phrases.

    Args:
        single, pair, referring: number of scenes of each kind, in each of the sets of looks.
        split: ``benchmark``, or ``tuning`` for choosing settings without looking at the benchmark.
        size: side in pixels.
        looks: sets of looks, see ``LOOK_SETS``; ``unseen`` is in the benchmark alone.
        batch_size, limit, num_workers: see :class:`SampleData`.
    """

    def __init__(
        self,
        single: int = 100,
        pair: int = 100,
        referring: int = 50,
        split: Split = "benchmark",
        size: int = 128,
        looks: list[LookSet] = ["fluent_3d"],  # noqa: B006
        batch_size: int = 10,
        limit: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        if split not in get_args(Split):
            raise ValueError(f"split: expected one of {', '.join(get_args(Split))}, got {split!r}")
        if min(single, pair, referring) < 0 or single + pair + referring == 0:
            raise ValueError(f"single, pair, referring: expected some scenes, got {single}, {pair}, {referring}")
        if not looks or not set(looks) <= set(LOOK_SETS):
            raise ValueError(f"looks: expected some of {', '.join(LOOK_SETS)}, got {', '.join(looks) or 'none'}")
        for drawn in looks:  # before anything is composed
            check_looks(LOOK_SETS[drawn], SEEDS[split])
        self.counts: dict[Kind, int] = {"single": single, "pair": pair, "referring": referring}
        self.split, self.size, self.looks = split, size, looks

    def samples(self) -> Scenes:
        return Scenes(self.counts, self.split, self.size, self.looks)

    def group(self, sample_id: str) -> str | None:
        """Returns the kind of the scene, behind its set of looks where that is not Fluent 3D: ``pair``, ``unseen_pair``."""
        return sample_id.partition("-")[0]
