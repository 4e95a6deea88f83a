"""GroupViT: segments that emerge from image-text pairs alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing, frame, unframe
from ..functional.maps import rescale
from ..results.result import Threshold
from ..teachers.image_text import ImageTextModel
from .base import Baseline, size_of


class GroupViT(Baseline):
    """How well the group of each pixel fits the prompt (Xu et al., arXiv 2202.11094).

    Args:
        path: hub name or folder.
        revision: branch, tag or commit on the hub.
        against: prompts that the groups may fit better; alpha is then the prompt's probability among them all. Without any
            it is the similarity, scaled to [0, 1] over the image.
        framing: see :class:`Segmenter`.
        threshold, seed: see :class:`Baseline`.
    """

    def __init__(
        self,
        path: str = "nvidia/groupvit-gcc-yfcc",
        revision: str | None = None,
        against: list[str] | None = None,
        framing: Framing = "stretch",
        threshold: Threshold = "otsu",
        seed: int = 0,
    ) -> None:
        super().__init__(threshold, seed)
        from transformers import GroupViTModel

        self.network = ImageTextModel(GroupViTModel, path, "groupvit", revision)
        self.against, self.framing = against or [], framing

    @property
    def teacher_name(self) -> str:
        return self.network.name

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        images = torch.stack([frame(s.image.to(self.device), self.network.resolution, self.framing) for s in samples])
        prompts = [sample.prompt for sample in samples]
        pixels, tokens = self.network.preprocess(images), self.network.tokens([*prompts, *self.against])
        found = self.network.model(pixel_values=pixels, **tokens, output_segmentation=True)
        logits = found.segmentation_logits / self.network.model.logit_scale.exp()  # the model scales twice
        own = logits[range(len(samples)), range(len(samples))]
        if self.against:
            rivals = logits[:, len(samples) :]
            maps = torch.cat([own[:, None], rivals], 1).softmax(1)[:, 0]
        else:
            maps = rescale(own)
        return [unframe(m, size_of(s), self.framing) for m, s in zip(maps, samples, strict=True)]
