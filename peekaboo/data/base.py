"""What a data set is here: a sequence of samples, and a data module that deals them out in lists."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..identity import Configured
from .content import Content, content_of, printable


@dataclass(frozen=True)
class Sample:
    """One (image, prompt) pair.

    Attributes:
        id: unique within its data set, usable as a file name.
        image: (3, H, W) float in [0, 1], at its own size.
        prompt: what to segment.
        mask: (H, W) bool ground truth, or None.
        ignore: (H, W) bool, pixels that no metric counts (VOC's void), or None.
        others: (H, W) bool, other objects that the mask should leave out, or None; only the embedded scenes know them.
        source: the file of the image, for the records, or None.
        content: size and checksum of what the sample was read from, or None; :class:`Samples` sees to both.
    """

    id: str
    image: Tensor
    prompt: str
    mask: Tensor | None = None
    ignore: Tensor | None = None
    others: Tensor | None = None
    source: str | None = None
    content: Content | None = None


@dataclass(frozen=True)
class Failure:
    """A sample that could not be read: it is listed in the results and does not stop the run."""

    id: str
    reason: str
    source: str | None = None


class SampleError(RuntimeError):
    """A sample that cannot be done, while its neighbours can."""


class Samples(Dataset[Sample | Failure]):
    """A map-style data set of samples. Subclasses implement ``ids`` and ``load``, and ``files`` where there are some.

    Attributes:
        scored: whether any sample has a ground truth; False where it is known that none has.
    """

    ids: Sequence[str]
    scored: bool = True

    @abstractmethod
    def load(self, index: int) -> Sample:
        """Reads one sample.

        Raises:
            ValueError, OSError: if it cannot be read.
        """

    def files(self, index: int) -> Sequence[Path]:
        """Returns the files that a sample is read from, its image first; none for one that is made."""
        return ()

    def annotation(self, index: int) -> Any:
        """Returns what beside the files decides a sample (its prompt, its polygons), as plain values."""
        return None

    def source(self, index: int) -> str | None:
        """Returns the image file of a sample as printable text, or None."""
        return printable(self.files(index)[0]) if self.files(index) else None

    def content(self, index: int) -> Content | None:
        """Returns size and checksum of what a sample is read from as it is now, without decoding it; None without files.

        Raises:
            OSError: if a file cannot be read.
        """
        return content_of(self.files(index), self.annotation(index)) if self.files(index) else None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample | Failure:
        try:
            return replace(self.load(index), source=self.source(index), content=self.content(index))
        except (ValueError, OSError) as error:
            return Failure(self.ids[index], str(error), self.source(index))


class SampleData(Configured, LightningDataModule):
    """Deals samples out for ``test`` and ``predict``: a batch is a list of :class:`Sample` and :class:`Failure`.

    Every rank deals its own share, each sample to one rank alone; finished ones are left out (see :class:`Evaluation`).

    Args:
        batch_size: pairs that are optimised side by side; their results do not depend on it.
        limit: use only that many samples, evenly spread over the data set; None for all.
        num_workers: processes that read images.

    Attributes:
        finished: ids that an earlier run of the same evaluation finished.
    """

    indifferent = frozenset({"batch_size", "num_workers"})
    finished: frozenset[str] = frozenset()
    _opened: Dataset[Sample | Failure] | None = None
    _place_of: dict[str, int] | None = None

    def __init__(self, batch_size: int = 8, limit: int | None = None, num_workers: int = 0) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit: expected at least 1 or null, got {limit}")
        self.batch_size, self.limit, self.num_workers = batch_size, limit, num_workers
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more ranks than samples

    @abstractmethod
    def samples(self) -> Samples:
        """Opens the data set; called once a run.

        Raises:
            FileNotFoundError: if the data are not there, with what is missing and where to get it.
        """

    def dataset(self) -> Dataset[Sample | Failure]:
        """Returns the samples that this run uses."""
        samples = self.samples()
        if self.limit is None or self.limit >= len(samples):
            return samples
        chosen = torch.linspace(0, len(samples) - 1, self.limit).round().long().tolist()
        return torch.utils.data.Subset(samples, chosen)

    def opened(self) -> Dataset[Sample | Failure]:
        """Returns :meth:`dataset`, opened once a run."""
        if self._opened is None:
            self._opened = self.dataset()
        return self._opened

    def _behind(self) -> Any:
        """The :class:`Samples` that this run uses, or takes some of."""
        dataset = self.opened()
        return dataset.dataset if isinstance(dataset, torch.utils.data.Subset) else dataset

    @property
    def scored(self) -> bool:
        """Whether any sample may have a ground truth, as far as that is known without reading them."""
        return bool(self._behind().scored)

    def ids(self) -> list[str]:
        """Returns the ids of the samples that this run uses, in order."""
        dataset, ids = self.opened(), self._behind().ids
        return [ids[i] for i in dataset.indices] if isinstance(dataset, torch.utils.data.Subset) else list(ids)

    def content(self, sample_id: str) -> Content | None:
        """Returns what a sample of this run would be read from now; None for one that is made, or whose files are gone."""
        try:
            return self._behind().content(self._places()[sample_id])
        except (ValueError, OSError):
            return None

    def _places(self) -> dict[str, int]:
        """Where each id of this run lies in its :class:`Samples`."""
        if self._place_of is None:
            dataset = self.opened()
            places = dataset.indices if isinstance(dataset, torch.utils.data.Subset) else range(len(self.ids()))
            self._place_of = dict(zip(self.ids(), places, strict=True))
        return self._place_of

    def group(self, sample_id: str) -> str | None:
        """Names the part of the data set that a sample belongs to, for tables by part; None for no parts."""
        return None

    def share(self, rank: int, ranks: int) -> list[int]:
        """Returns the indices of the unfinished samples that one of several ranks takes."""
        return [i for i, name in enumerate(self.ids()) if name not in self.finished][rank::ranks]

    def _loader(self) -> DataLoader[Sample | Failure]:
        rank, ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        own = torch.utils.data.Subset(self.opened(), self.share(rank, ranks))
        return DataLoader(own, batch_size=self.batch_size, num_workers=self.num_workers, collate_fn=list)

    def test_dataloader(self) -> DataLoader[Sample | Failure]:
        return self._loader()

    def predict_dataloader(self) -> DataLoader[Sample | Failure]:
        return self._loader()
