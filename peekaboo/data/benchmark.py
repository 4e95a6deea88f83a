"""The embedded benchmark: scenes fixed by seed that no training ever sees."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from .backgrounds import BACKGROUNDS, TRAINING_BACKGROUNDS
from .base import Sample, SampleData, Samples
from .scenes import Kind, Scene, compose

Split = Literal["benchmark", "tuning"]
#: Seeds: the benchmark's is in no training; tuning is for choosing settings, with the backgrounds that trainings see.
SEEDS: dict[Split, int] = {"benchmark": 1, "tuning": 1500}


class Scenes(Samples):
    """Composed scenes, each prompted with one of its objects.

    Args:
        counts: how many of each kind.
        split: ``benchmark`` or ``tuning``.
        size: side in pixels.
    """

    def __init__(self, counts: dict[Kind, int], split: Split = "benchmark", size: int = 128) -> None:
        self.split, self.size = split, size
        self.items = [(kind, i) for kind, count in counts.items() for i in range(count)]
        self.ids = [f"{kind}-{i:03d}" for kind, i in self.items]

    def scene(self, index: int) -> Scene:
        """Composes the scene of one sample."""
        kind, i = self.items[index]
        backgrounds = BACKGROUNDS if self.split == "benchmark" else TRAINING_BACKGROUNDS
        return compose(SEEDS[self.split], i, kind, size=self.size, backgrounds=backgrounds)

    def load(self, index: int) -> Sample:
        scene = self.scene(index)
        target = torch.from_numpy(scene.target)
        return Sample(
            id=self.ids[index],
            image=torch.from_numpy(scene.image).permute(2, 0, 1).float() / 255,
            prompt=scene.prompt,
            mask=target,
            others=torch.from_numpy(scene.masks.any(0)) & ~target,
        )


class ScenesData(SampleData):
    """The embedded benchmark: 100 single objects, 100 pairs prompted with one of them, 50 referring phrases.

    Args:
        single, pair, referring: number of scenes of each kind.
        split: ``benchmark``, or ``tuning`` for choosing settings without looking at the benchmark.
        size: side in pixels.
        batch_size, limit, num_workers: see :class:`SampleData`.
    """

    def __init__(
        self,
        single: int = 100,
        pair: int = 100,
        referring: int = 50,
        split: Split = "benchmark",
        size: int = 128,
        batch_size: int = 10,
        limit: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        if split not in get_args(Split):
            raise ValueError(f"split: expected one of {', '.join(get_args(Split))}, got {split!r}")
        if min(single, pair, referring) < 0 or single + pair + referring == 0:
            raise ValueError(f"single, pair, referring: expected some scenes, got {single}, {pair}, {referring}")
        self.counts: dict[Kind, int] = {"single": single, "pair": pair, "referring": referring}
        self.split, self.size = split, size

    def samples(self) -> Scenes:
        return Scenes(self.counts, self.split, self.size)

    def group(self, sample_id: str) -> str | None:
        """Returns the kind of the scene."""
        return sample_id.partition("-")[0]
