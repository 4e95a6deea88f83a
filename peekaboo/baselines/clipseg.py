"""CLIPSeg: a decoder on CLIP that was trained for masks of phrases."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing, frame, unframe
from ..results.result import Threshold
from ..teachers.image_text import ImageTextModel
from .base import Baseline, size_of


class CLIPSeg(Baseline):
    """The sigmoid of CLIPSeg's logits (Lüddecke & Ecker, arXiv 2112.10003).

    Args:
        path: hub name or folder.
        revision: branch, tag or commit on the hub.
        resolution: side in pixels that images are resized to; the published one is 352.
        framing: see :class:`Segmenter`.
        threshold, seed: see :class:`Baseline`.
    """

    def __init__(
        self,
        path: str = "CIDAS/clipseg-rd64-refined",
        revision: str | None = None,
        resolution: int = 352,
        framing: Framing = "stretch",
        threshold: Threshold = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(threshold, seed)
        from transformers import CLIPSegForImageSegmentation

        self.network = ImageTextModel(CLIPSegForImageSegmentation, path, "clipseg", revision, resolution)
        self.framing = framing

    @property
    def teacher_name(self) -> str:
        return self.network.name

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        images = torch.stack([frame(s.image.to(self.device), self.network.resolution, self.framing) for s in samples])
        tokens = self.network.tokens([sample.prompt for sample in samples])
        logits = self.network.model(pixel_values=self.network.preprocess(images), **tokens).logits
        maps = logits.view(len(samples), *logits.shape[-2:]).sigmoid()  # the model drops the batch dimension of one
        return [unframe(own, size_of(s), self.framing) for own, s in zip(maps, samples, strict=True)]
