"""A frozen CLIP that judges how well an image fits a text."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .image_text import ImageTextModel
from .text import PromptCache


class CLIP(ImageTextModel):
    """A transformers `CLIPModel`, from a hub name, a local folder, or the embedded one.

    Args:
        path: ``embedded``, a folder, or a hub name such as ``openai/clip-vit-base-patch32``.
        revision: branch, tag or commit on the hub.
    """

    interpolation = "bicubic"  # as CLIP's own preprocessing

    def __init__(self, path: str = "embedded", revision: str | None = None) -> None:
        from transformers import CLIPModel

        super().__init__(CLIPModel, path, "clip", revision)
        self._cache: PromptCache[Tensor] = PromptCache()

    @torch.no_grad()
    def embed_text(self, prompts: list[str]) -> Tensor:
        """Returns unit text embeddings (N, D); each prompt is encoded once and kept."""
        return torch.stack(self._cache.get(prompts, self._read, self.mean.device))

    def _read(self, prompts: list[str]) -> list[Tensor]:
        with torch.autocast(self.mean.device.type, enabled=False):  # what is kept serves every precision
            pooled = [self.model.text_model(**self.tokens([prompt])).pooler_output for prompt in prompts]
            return [F.normalize(self.model.text_projection(x)[0], dim=-1) for x in pooled]

    def embed_image(self, image: Tensor) -> Tensor:
        """Returns unit image embeddings (N, D) of (N, 3, H, W) in [0, 1], differentiably; any size is resized."""
        pooled = self.model.vision_model(self.preprocess(image)).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    def logits(self, image: Tensor, prompts: list[str]) -> Tensor:
        """Returns CLIP's logit (N,) of each image with its own prompt: temperature times cosine similarity."""
        similarity = (self.embed_image(image) * self.embed_text(prompts)).sum(-1)
        return self.model.logit_scale.exp() * similarity
