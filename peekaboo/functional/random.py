"""Randomness that belongs to one sample, one step and one purpose, so that a result depends on nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


class Draws:
    """The random numbers of N samples at one step for one purpose, each sample's from a generator of its own.

    A generator is made from (seed, purpose, step, rank) alone. So a sample gets the same numbers alone or in a batch, on any
    device, and after a resume, with no state to save; ranks that share a sample draw different noise for it; and what is drawn
    for one purpose (:meth:`of`) says nothing of what is drawn for another.

    Args:
        seeds: one for each sample.
        step: number of the iteration, from 0.
        total: iterations in all, for schedules.
        rank: of the process, where several work on the same samples.
        device: where the numbers go. They are drawn on the CPU, whose generators give the same values everywhere.
        purpose: what they are for. Without one they are the initial values of an alpha.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        step: int = 0,
        total: int = 1,
        rank: int = 0,
        device: torch.device | str = "cpu",
        purpose: str = "start",
    ) -> None:
        self.seeds, self.step, self.total, self.rank = list(seeds), step, total, rank
        self.device, self.purpose = torch.device(device), purpose

    def __len__(self) -> int:
        return len(self.seeds)

    def of(self, purpose: str) -> Draws:
        """Returns the draws of the same samples and step for a purpose within this one: ``noise``, ``background``, ..."""
        return Draws(self.seeds, self.step, self.total, self.rank, self.device, f"{self.purpose}/{purpose}")

    def at(self, step: int) -> Draws:
        """Returns the draws of the same samples and purpose at another step; its progress is that step's."""
        return Draws(self.seeds, step, self.total, self.rank, self.device, self.purpose)

    @property
    def progress(self) -> float:
        """The share of the optimisation that lies behind, in [0, 1]."""
        return self.step / max(self.total - 1, 1)

    @cached_property
    def _generators(self) -> list[torch.Generator]:
        key = [zlib.crc32(self.purpose.encode()), self.step, self.rank]
        states = [np.random.SeedSequence([seed, *key]).generate_state(1)[0] for seed in self.seeds]
        return [torch.Generator().manual_seed(int(state)) for state in states]

    def normal(self, *shape: int) -> Tensor:
        """Returns (N, *shape) of N(0, 1)."""
        return self._stack(lambda generator: torch.randn(shape, generator=generator))

    def uniform(self, *shape: int) -> Tensor:
        """Returns (N, *shape) of U[0, 1)."""
        return self._stack(lambda generator: torch.rand(shape, generator=generator))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Returns (N, *shape) int64 of U{low..high}, both ends included."""
        return self._stack(lambda generator: torch.randint(low, high + 1, shape, generator=generator))

    def _stack(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        drawn = torch.stack([draw(generator) for generator in self._generators])
        if self.device.type == "cuda":  # pinned, so that the copy does not wait for the device
            return drawn.pin_memory().to(self.device, non_blocking=True)
        return drawn.to(self.device)


def pair_seeds(seed: int, pairs: int) -> list[int]:
    """Returns the seeds of the pairs of one run: its own for the first, others for the others that no neighbouring run has.

    >>> pair_seeds(0, 2)[0], pair_seeds(1, 2)[0]
    (0, 1)
    >>> pair_seeds(0, 2)[1] == pair_seeds(1, 2)[0]
    False
    """
    return [seed, *(int(np.random.SeedSequence([seed, i]).generate_state(1)[0]) for i in range(1, pairs))]
