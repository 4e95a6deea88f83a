"""What every baseline shares: a list of samples in, an alpha each out."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from ..data.base import Failure, Sample
from ..evaluation.batching import Finished, SampleModule
from ..functional.surroundings import Turns
from ..results.records import versions
from ..results.result import Result, Threshold, make_result


class Baseline(SampleModule):
    """A way to a mask that optimises nothing. Subclasses implement :meth:`masks`.

    Args:
        threshold: of alpha for the mask, or ``otsu``.
        seed: of everything random; a sample's own depends on it and on the sample's id.
    """

    def __init__(self, threshold: Threshold = 0.5, seed: int = 0) -> None:
        super().__init__(seed)
        number = isinstance(threshold, int | float) and 0 <= threshold <= 1
        if threshold != "otsu" and not number:
            raise ValueError(f"threshold: expected `otsu` or a number in [0, 1], got {threshold!r}")
        self.threshold = threshold
        self._given: dict[str, int] = {}
        self._turns = Turns()

    @abstractmethod
    def masks(self, samples: list[Sample]) -> list[Tensor]:
        """Returns the alpha of each sample, (H, W) in [0, 1] at its image's own size.

        Raises:
            ValueError, OSError: if a sample cannot be done; it fails alone.
        """

    def masks_of(self, samples: list[Sample]) -> list[Result]:
        """Makes the masks of some samples."""
        started = time.perf_counter()
        with torch.inference_mode(False), torch.no_grad():
            alphas = [alpha.float().cpu() for alpha in self.masks(samples)]
        seconds = round(time.perf_counter() - started, 4)
        shared = {"variant": self.variant, "teacher": self.teacher_name, "iterations": 0, "seconds": seconds}
        found = []
        for sample, alpha in zip(samples, alphas, strict=True):
            own = {"seed": self.sample_seed(sample.id), "skipped_steps": 0, "pairs_in_batch": len(samples)}
            rest: dict[str, Any] = {"target": sample.mask, "ignore": sample.ignore, "record": {**shared, **own}}
            found.append(make_result(sample.image.cpu(), sample.prompt, alpha, self.threshold, **rest))
        return found

    def segment(self, pairs: list[Sample], seeds: list[int], start: Any = None) -> list[Result]:
        """Makes the masks of some pairs from Python; threads that share a baseline take turns.

        Raises:
            ValueError: if there is a start: nothing is optimised.
        """
        if start is not None:
            raise ValueError(f"start: expected none for {self.variant}, which optimises nothing, got {type(start).__name__}")
        with self._turns, self.forward_context():
            self._given = {pair.id: seed for pair, seed in zip(pairs, seeds, strict=True)}
            try:
                results = self.masks_of(pairs)
            finally:
                self._given = {}
        known = {"precision": self.precision, "configuration": self.configuration(decisive=True), "versions": versions()}
        for result in results:
            result.record.update(known)
        return results

    def sample_seed(self, key: str) -> int:
        return self._given[key] if key in self._given else super().sample_seed(key)

    def run_batch(self, batch: list[Sample | Failure]) -> Finished:
        """As :meth:`SampleModule.run_batch`; a sample that a baseline cannot do fails alone."""
        try:
            return super().run_batch(batch)
        except (ValueError, OSError):  # of one of them: each alone, so that the others are not lost
            return [self._alone(item) for item in batch]

    def _alone(self, item: Sample | Failure) -> tuple[Sample, Result] | Failure:
        if isinstance(item, Failure):
            return item
        try:
            return item, self.masks_of([item])[0]
        except (ValueError, OSError) as error:
            return Failure(item.id, str(error), item.source)


def size_of(sample: Sample) -> tuple[int, int]:
    """Returns the height and width of a sample's image."""
    return sample.image.shape[-2], sample.image.shape[-1]
