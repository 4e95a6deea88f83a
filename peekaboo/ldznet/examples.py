"""Training examples: squares of pictures with a mask and a phrase, each known by its position in the training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..data.base import Failure, Sample

TRIES = 50  # offsets of a crop
MIN_AREA = 0.05  # of the whole picture that the object has to cover in a crop
MAX_FAILURES = 100  # samples in a row that cannot be read


def squash(image: Tensor, side: int, mode: str = "bilinear") -> Tensor:
    """Squashes (C, H, W) to a square as LD-ZNet and CLIPSeg do: images bilinear with aligned corners, masks nearest.

    >>> squash(torch.arange(6.0).view(1, 2, 3), 2)[0].tolist()
    [[0.0, 2.0], [3.0, 5.0]]
    """
    if tuple(image.shape[-2:]) == (side, side):
        return image
    options = {} if mode == "nearest" else {"align_corners": True}
    return F.interpolate(image[None].float(), (side, side), mode=mode, **options)[0]  # type: ignore[arg-type]


def crop_offset(mask: Tensor, rng: np.random.Generator, min_area: float = MIN_AREA) -> tuple[int, int]:
    """Chooses where a square of the picture's shorter side is cut out.

    Of up to 50 random offsets the first that leaves more than ``min_area`` of the whole picture's area to the object, else the
    one that leaves most of it (LD-ZNet's and CLIPSeg's code).

    Args:
        mask: (H, W) bool.
        rng: of the offsets.
        min_area: as a share of H x W.

    Returns:
        Top and left.
    """
    height, width = mask.shape
    side = min(height, width)
    best, most = (0, 0), -1
    for _ in range(TRIES):
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        area = int(mask[top : top + side, left : left + side].sum())
        if area > most:
            best, most = (top, left), area
        if area > min_area * height * width:
            break
    return best


class Examples(Dataset[dict[str, Any]]):
    """The examples of a training, by their position in it, from 0.

    Position p shows sample p of a stream without end, or of a data set the sample that a shuffle of epoch p // n puts there.
    Crop, template and everything else that is random depend on the seed and the position alone, so that a training that goes on
    sees what it would have seen.

    Args:
        samples: with ground truth.
        side: of the squares in pixels.
        templates: of the prompts, one drawn for each example.
        seed: of the training.
        crop: cut squares out, see :func:`crop_offset`; else squash the whole picture.
        min_area: see :func:`crop_offset`.
        repeat: show the same crop, template and noise of a sample in every epoch.
        endless: the samples have no end, and come in their order.
    """

    def __init__(
        self,
        samples: Dataset[Sample | Failure],
        side: int,
        templates: Sequence[str],
        seed: int = 0,
        crop: bool = True,
        min_area: float = MIN_AREA,
        repeat: bool = False,
        endless: bool = False,
    ) -> None:
        self.samples, self.side, self.templates, self.seed = samples, side, list(templates), seed
        self.crop, self.min_area, self.repeat, self.endless = crop, min_area, repeat, endless
        self._order: tuple[int, np.ndarray[Any, Any]] | None = None

    def index(self, position: int) -> int:
        """Returns which sample a position shows."""
        if self.endless:
            return position
        epoch, place = divmod(position, len(self.samples))  # type: ignore[arg-type]
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.samples))  # type: ignore[arg-type]
        return int(self._order[1][place])

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Returns ``image`` (3, S, S) in [0, 1], ``mask`` and ``counts`` (1, S, S), ``prompt``, ``seed``, ``key``, ``skipped``.

        ``counts`` is 0 where the ground truth says nothing, ``key`` the number of a sample that comes again. A sample that
        cannot be read, or has no mask, is skipped for another one, and counted.

        Raises:
            ValueError: if a hundred in a row cannot be used, with the last one's reason.
        """
        index = self.index(position)
        rng = np.random.default_rng([self.seed, 2, index if self.repeat else position])
        reason = ""
        for skipped in range(MAX_FAILURES):
            sample = self.samples[index]
            if isinstance(sample, Sample) and sample.mask is not None:
                return self._example(sample, rng) | {"key": index, "skipped": skipped}
            reason = sample.reason if isinstance(sample, Failure) else f"{sample.id} has no mask"
            index = index + 1 if self.endless else int(rng.integers(len(self.samples)))  # type: ignore[arg-type]
        raise ValueError(
            f"data: expected samples with a mask, got {MAX_FAILURES} in a row that cannot be used; the last: {reason}"
        )

    def _example(self, sample: Sample, rng: np.random.Generator) -> dict[str, Any]:
        assert sample.mask is not None
        image, mask = sample.image, sample.mask
        counts = torch.ones_like(mask) if sample.ignore is None else ~sample.ignore
        if self.crop:
            top, left = crop_offset(mask, rng, self.min_area)
            side = min(mask.shape)
            image, mask, counts = (x[..., top : top + side, left : left + side] for x in (image, mask, counts))
        template = self.templates[rng.integers(len(self.templates))]
        return {
            "image": squash(image, self.side).clamp(0, 1),
            "mask": squash(mask[None].float(), self.side, "nearest"),
            "counts": squash(counts[None].float(), self.side, "nearest"),
            "prompt": template.format(sample.prompt),
            "seed": int(rng.integers(2**31)),
        }


class Positions(Sampler[list[int]]):
    """Batches of positions, shared out over ranks; a training that goes on begins behind those that it has had.

    Args:
        batches: of the whole training, on one rank.
        batch_size: on one rank.
        rank, ranks: of the process.
        first: batch to begin with.
    """

    def __init__(self, batches: int, batch_size: int, rank: int = 0, ranks: int = 1, first: int = 0) -> None:
        self.batches, self.batch_size, self.rank, self.ranks, self.first = batches, batch_size, rank, ranks, first

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.first, self.batches):
            start = (batch * self.ranks + self.rank) * self.batch_size
            yield list(range(start, start + self.batch_size))


def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stacks tensors, sums what was skipped, and makes lists of the rest."""
    batch: dict[str, Any] = {name: torch.stack([one[name] for one in examples]) for name in ("image", "mask", "counts")}
    batch |= {name: [one[name] for one in examples] for name in ("prompt", "seed", "key")}
    return batch | {"skipped": sum(one["skipped"] for one in examples)}
