"""Batches that fit, and samples that fail alone."""

from __future__ import annotations

import logging
import os
import platform
import zlib
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from ..data.base import Failure, Sample, SampleError
from ..identity import Configured
from ..results.finish import Finish
from ..results.result import Result, Threshold

if not torch.cuda.is_available():
    # Lightning asks PyTorch to look for GPUs through the driver's management library. Where there is none it is looked for
    # anew in each step of an optimiser, a fortieth of a compiled iteration's time.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"

log = logging.getLogger(__name__)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # half precision is the networks'; the alpha itself stays in float32

Run = Callable[[list[Sample]], list[Result]]
NO_TRUTH = "mask: expected a ground truth for `test`, got none; `predict` needs none"
Finished = list[tuple[Sample, Result] | Failure]


def check_precision(precision: str | None) -> None:
    """Makes sure of a precision in which masks can be computed.

    Args:
        precision: of the trainer.

    Raises:
        ValueError: for another one.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"trainer.precision: expected one of {', '.join(PRECISIONS)}, got {precision}")


def best_device() -> str:
    """Returns ``cuda``, ``mps`` or ``cpu``, the first that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def usable_precision(asked: str, device: str) -> str:
    """Returns the precision that a device computes in, in the place of one that it would only emulate.

    x86 processors before AVX-512 have no half precision of their own: a convolution in bfloat16 takes them thirty times as long
    as in float32, for the same result.

    Args:
        asked: of the trainer.
        device: type of the device: ``cpu``, ``cuda``, ...
    """
    emulated = device == "cpu" and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
    if asked in ("bf16-mixed", "16-mixed") and emulated and platform.machine() in ("x86_64", "AMD64"):
        log.warning("precision: this processor would emulate %s, many times slower; the networks run in 32-true", asked)
        return "32-true"
    return asked


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
            except SampleError as error:
                if len(part) == 1:
                    finished[part[0].id] = Failure(part[0].id, str(error), part[0].source)
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


class InPrecision(LightningModule):
    """A module whose networks run in a trainer's precision, or in one of its own where there is no trainer.

    Attributes:
        precision: its own.
    """

    precision = "32-true"

    def forward_context(self) -> AbstractContextManager[Any]:
        """The precision that networks run in."""
        with suppress(RuntimeError):  # Lightning's word for: no trainer has it
            return self.trainer.precision_plugin.forward_context()
        half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.precision)
        return torch.autocast(self.device.type, half, enabled=half is not None)


class SampleModule(Configured, InPrecision):
    """A module that makes masks of batches of samples in ``test`` and ``predict``: the segmenter, and every baseline.

    Args:
        seed: of everything random; a sample's own depends on it and on the sample's id.
    """

    strict_loading = False  # the frozen networks are in no checkpoint
    report: Callable[[int], None] | None = None  # is told of each finished step, or part, of a batch
    iterations = 1  # steps, or parts, of a batch
    threshold: Threshold = 0.5  # that makes a mask of an alpha
    finish: Finish = Finish()  # that makes cut-outs and exports

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        if seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {seed}")
        self.seed = seed
        self._batches = Batches()

    def setup(self, stage: str) -> None:
        check_precision(self.trainer.precision)

    @property
    def variant(self) -> str:
        """What the model is, for tables and names of folders."""
        return type(self).__name__

    @property
    def teacher_name(self) -> str | None:
        """Where the networks came from, for the records."""
        return None

    @property
    def frame_by_frame(self) -> bool:
        """Whether samples are frames of a film, each of which begins at what the last one came to."""
        return False

    def begin_frames(self, alphas: dict[str, Tensor]) -> None:
        """Hears, where samples are frames, that a film begins, or goes on from alphas (H, W) by prompt."""

    @abstractmethod
    def masks_of(self, samples: list[Sample]) -> list[Result]:
        """Makes the masks of some samples."""

    @abstractmethod
    def segment(self, pairs: list[Sample], seeds: list[int], start: Any = None) -> list[Result]:
        """Makes the masks of some pairs from Python.

        Args:
            pairs: images of any size, with their prompts.
            seeds: one for each.
            start: a :class:`peekaboo.starts.Start`, where the model optimises; None for the model's own.
        """

    def sample_seed(self, key: str) -> int:
        """Returns the seed of a sample of a data set: it depends on the sample's id alone, not on its place."""
        return zlib.crc32(f"{self.seed}/{key}".encode())

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # samples go over when they are framed

    def test_step(self, batch: list[Sample | Failure], batch_idx: int) -> Finished:
        """Makes the masks of a batch that can be scored; callbacks take the results."""
        return self.run_batch([_with_truth(item) for item in batch])

    def predict_step(self, batch: list[Sample | Failure], batch_idx: int) -> Finished:
        """As :meth:`test_step`, without a ground truth."""
        return self.run_batch(batch)

    def run_batch(self, batch: list[Sample | Failure]) -> Finished:
        """Makes the masks of a batch, in parts if the memory is too small for it."""
        return self._batches.run(batch, self.masks_of)


def _with_truth(item: Sample | Failure) -> Sample | Failure:
    """A sample that can be scored; one without a ground truth is a failure."""
    return Failure(item.id, NO_TRUTH, item.source) if isinstance(item, Sample) and item.mask is None else item
