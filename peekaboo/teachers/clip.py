"""A frozen CLIP that judges how well an image fits a text."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Frozen, explain_load_error, locate, quiet_loading


class CLIP(Frozen):
    """A transformers `CLIPModel`, from a hub name, a local folder, or the embedded one.

    Args:
        path: ``embedded``, a folder, or a hub name such as ``openai/clip-vit-base-patch32``.
        revision: branch, tag or commit on the hub.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: str = "embedded", revision: str | None = None) -> None:
        super().__init__()
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        self.name = path
        source = locate(path, "clip", "config.json")
        options = {} if revision is None else {"revision": revision}
        quiet_loading()
        try:
            self.model = CLIPModel.from_pretrained(source, dtype=torch.float32, use_safetensors=True, **options)
            self.tokenizer = CLIPTokenizer.from_pretrained(source, **options)
            processor = CLIPImageProcessor.from_pretrained(source, **options)
        except Exception as error:  # the libraries raise a dozen kinds; the user needs one line
            raise explain_load_error(error, "clip", source) from error
        self.register_buffer("mean", torch.tensor(processor.image_mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(processor.image_std)[:, None, None], persistent=False)
        self.resolution = int(self.model.config.vision_config.image_size)
        self._cache: dict[str, Tensor] = {}
        self.freeze()

    @torch.no_grad()
    def embed_text(self, prompts: list[str]) -> Tensor:
        """Returns unit text embeddings (N, D); each prompt is encoded once and kept."""
        limit = self.model.config.text_config.max_position_embeddings
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._cache:
                tokens = self.tokenizer([prompt], truncation=True, max_length=limit, return_tensors="pt").input_ids
                pooled = self.model.text_model(tokens.to(self.mean.device)).pooler_output
                self._cache[prompt] = F.normalize(self.model.text_projection(pooled)[0], dim=-1)
        return torch.stack([self._cache[prompt].to(self.mean.device) for prompt in prompts])

    def embed_image(self, image: Tensor) -> Tensor:
        """Returns unit image embeddings (N, D) of (N, 3, H, W) in [0, 1], differentiably; any size is resized."""
        pooled = self.model.vision_model(self.preprocess(image)).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    def preprocess(self, image: Tensor) -> Tensor:
        """Resizes (N, 3, H, W) in [0, 1] to the model's square and normalises its colours."""
        side = (self.resolution, self.resolution)
        if image.shape[-2:] != side:
            image = F.interpolate(image, side, mode="bicubic", antialias=True)
        return (image - self.mean) / self.std

    def logits(self, image: Tensor, prompts: list[str]) -> Tensor:
        """Returns CLIP's logit (N,) of each image with its own prompt: temperature times cosine similarity."""
        similarity = (self.embed_image(image) * self.embed_text(prompts)).sum(-1)
        return self.model.logit_scale.exp() * similarity
