"""Any data set at the size that a network works at: how LD-ZNet and CLIPSeg score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data.base import Sample, SampleData, Samples
from ..data.content import Content
from .examples import squash


class SquashedSamples(Samples):
    """The samples of a data set, each squashed to a square."""

    def __init__(self, samples: Samples, side: int) -> None:
        self.samples, self.side, self.ids = samples, side, samples.ids

    def load(self, index: int) -> Sample:
        sample = self.samples.load(index)
        masks = {
            name: None if mask is None else squash(mask[None].float(), self.side, "nearest")[0] > 0.5
            for name, mask in (("mask", sample.mask), ("ignore", sample.ignore), ("others", sample.others))
        }
        return replace(sample, image=squash(sample.image, self.side).clamp(0, 1), **masks)  # type: ignore[arg-type]

    def files(self, index: int) -> Sequence[Path]:
        return self.samples.files(index)

    def annotation(self, index: int) -> Any:
        return self.samples.annotation(index)

    def content(self, index: int) -> Content | None:
        return self.samples.content(index)


class SquashedData(SampleData):
    """A data set in LD-ZNet's and CLIPSeg's protocol: the whole image squashed to the network's square, and scored there.

    Images are resized bilinearly with aligned corners, masks to the nearest pixel. Every other protocol of this program scores at
    the image's own size.

    Args:
        data: the data set.
        side: of the squares in pixels; 384 for LD-ZNet, 352 for CLIPSeg.
        batch_size, limit, num_workers: see :class:`SampleData`; those of ``data`` do not count.
    """

    def __init__(
        self, data: SampleData, side: int = 384, batch_size: int = 8, limit: int | None = None, num_workers: int = 0
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        if side < 16:
            raise ValueError(f"side: expected at least 16 pixels, got {side}")
        if data.limit is not None:
            raise ValueError(
                f"data.data.limit: expected null inside of a squashed data set, whose own is `data.limit`, got {data.limit}"
            )
        self.data, self.side = data, side

    def samples(self) -> SquashedSamples:
        return SquashedSamples(self.data.samples(), self.side)

    def group(self, sample_id: str) -> str | None:
        return self.data.group(sample_id)
