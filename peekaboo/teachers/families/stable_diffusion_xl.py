"""Stable Diffusion XL and its Turbo student."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..encoder import TokenMap
from ..text import Text
from .base import TextPart
from .stable_diffusion import UNetFamily


class StableDiffusionXL(UNetFamily):
    """Reads the last hidden state but one of two CLIPs side by side, the second one's pooled text, and the size of the image."""

    pipelines = ("StableDiffusionXLPipeline",)
    text_parts = (TextPart("CLIPTextModel"), TextPart("CLIPTextModelWithProjection", "text_encoder_2", "tokenizer_2"))
    reads = ("embeddings", "pooled")
    side = 128
    conditions = "text_time"
    time_ids: Tensor

    def prepare(self) -> None:
        super().prepare()
        size = float(self.resolution)
        self.register_buffer("time_ids", torch.tensor([[size, size, 0, 0, size, size]]), persistent=False)

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        (first, _), (second, _) = (encoder(prompt, device, warn=encoder is self.encoders[0]) for encoder in self.encoders)
        text = Text(torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1), second.text_embeds)
        if not prompt and self.folder.index.get("force_zeros_for_empty_prompt", True):  # so it was trained
            return Text(torch.zeros_like(text.embeddings), torch.zeros_like(second.text_embeds))
        return text

    def tokens(self, prompt: str) -> TokenMap:
        return self.encoders[0].tokens(prompt, prompt)

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        conditions: dict[str, Any] = {"text_embeds": text.pooled, "time_ids": self.time_ids.expand(len(latents), -1)}
        return self.predict(latents, t, text.embeddings, added_cond_kwargs=conditions)
