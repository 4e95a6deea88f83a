"""Models of transformers that read an image and a text: CLIP and its kin."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import EMBEDDED, Frozen, explain_load_error, locate, quiet_loading, warn_of_cut


class ImageTextModel(Frozen):
    """A frozen model with its tokenizer and its image normalisation, from a hub name, a local folder, or the embedded one.

    Args:
        model_class: of transformers.
        path: hub name or folder; ``embedded`` where the kind has an embedded model.
        kind: how error messages call it.
        revision: branch, tag or commit on the hub.
        resolution: side in pixels; None for the model's own.
    """

    interpolation = "bilinear"  # of the images
    mean: Tensor
    std: Tensor

    def __init__(
        self, model_class: Any, path: str, kind: str, revision: str | None = None, resolution: int | None = None
    ) -> None:
        super().__init__()
        from transformers import AutoImageProcessor, CLIPTokenizer

        self.name = path
        if path == "embedded" and kind not in EMBEDDED:
            raise ValueError(f"path: expected a hub name or a folder, got 'embedded', but no {kind} is embedded")
        source = locate(path, kind, "config.json")
        quiet_loading()
        options: dict[str, Any] = {} if revision is None else {"revision": revision}
        try:
            self.model = model_class.from_pretrained(source, dtype=torch.float32, use_safetensors=True, **options)
            self.tokenizer = CLIPTokenizer.from_pretrained(source, **options)
            processor = AutoImageProcessor.from_pretrained(source, **options)
        except Exception as error:  # the libraries raise a dozen kinds; the user needs one line
            raise explain_load_error(error, kind, source) from error
        self.register_buffer("mean", torch.tensor(processor.image_mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(processor.image_std)[:, None, None], persistent=False)
        self.resolution = resolution or int(self.model.config.vision_config.image_size)
        self.freeze()

    def tokens(self, prompts: list[str]) -> dict[str, Tensor]:
        """Returns the token ids and the attention mask of N prompts, (N, L) each."""
        limit = self.model.config.text_config.max_position_embeddings
        for prompt in prompts:
            warn_of_cut(prompt, self.tokenizer, limit)
        found = self.tokenizer(prompts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return {key: found[key].to(self.mean.device) for key in ("input_ids", "attention_mask")}

    def preprocess(self, image: Tensor) -> Tensor:
        """Resizes (N, 3, H, W) in [0, 1] to the model's square and normalises its colours, differentiably."""
        side = (self.resolution, self.resolution)
        if tuple(image.shape[-2:]) != side:
            image = F.interpolate(image, side, mode=self.interpolation, antialias=True)
        return (image - self.mean) / self.std
