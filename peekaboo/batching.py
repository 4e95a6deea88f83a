"""Batches that fit, and samples that fail alone."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .data.base import Failure, Sample
from .guard import GradientError
from .results import Result

Run = Callable[[list[Sample]], list[Result]]
Finished = list[tuple[Sample, Result] | Failure]


class Batches:
    """Runs lists of samples in as large parts as the device's memory allows, and remembers how large."""

    def __init__(self) -> None:
        self.limit: int | None = None

    def run(self, batch: list[Sample | Failure], run: Run) -> Finished:
        """Runs a batch; its order is kept.

        Args:
            batch: samples, and failures that are handed through.
            run: makes the results of some samples.

        Raises:
            torch.OutOfMemoryError: if not even one sample fits.
        """
        finished: dict[str, tuple[Sample, Result] | Failure] = {}
        waiting = [sample for sample in batch if isinstance(sample, Sample)]
        while waiting:
            part = waiting[: self.limit]
            try:
                results = run(part)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                self.limit = len(part) // 2
            except GradientError as error:
                if len(part) == 1:
                    finished[part[0].id] = Failure(part[0].id, str(error))
                    waiting = waiting[1:]
                else:  # one of them: each alone, so that the others are not lost
                    finished |= {item.id: self.run([item], run)[0] for item in part}  # type: ignore[misc, union-attr]
                    waiting = waiting[len(part) :]
            else:
                finished |= {sample.id: (sample, result) for sample, result in zip(part, results, strict=True)}
                waiting = waiting[len(part) :]
                continue
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return [item if isinstance(item, Failure) else finished[item.id] for item in batch]
