"""Randomness that belongs to one sample and one step, so that a result depends on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


class Draws:
    """The random numbers of N samples at one step, each from a generator of its own.

    A generator is made from (seed, step, rank) alone. So a sample gets the same numbers alone or in a batch, on any device,
    and after a resume, with no state to save; and ranks that share a sample draw different noise for it.

    Args:
        seeds: one for each sample.
        step: number of the iteration, from 0.
        total: iterations in all, for schedules.
        rank: of the process, where several work on the same samples.
        device: where the numbers go. They are drawn on the CPU, whose generators give the same values everywhere.
    """

    def __init__(
        self, seeds: Sequence[int], step: int = 0, total: int = 1, rank: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.seeds, self.step, self.total, self.device = list(seeds), step, total, torch.device(device)
        states = [np.random.SeedSequence([seed, step, rank]).generate_state(1)[0] for seed in seeds]
        self._generators = [torch.Generator().manual_seed(int(state)) for state in states]

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def progress(self) -> float:
        """The share of the optimisation that lies behind, in [0, 1]."""
        return self.step / max(self.total - 1, 1)

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
