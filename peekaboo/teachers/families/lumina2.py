"""Lumina-Image 2.0."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..encoder import TextEncoder, TokenMap
from ..schedule import TimestepTable
from ..text import Text
from .base import Family, TextPart


class Lumina2(Family):
    """Reads the last hidden state but one of Gemma 2, behind a system prompt. Its time runs from noise to image."""

    pipelines = ("Lumina2Pipeline", "Lumina2Text2ImgPipeline")
    network = "Lumina2Transformer2DModel"
    text_parts = (TextPart("Gemma2Model", tokenizer_kind="GemmaTokenizer"),)
    reversed_time = True
    reads = ("embeddings", "mask")
    joint = "first"
    traceable = False

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        return 256

    def make_encoder(self, encoder: TextEncoder) -> TextEncoder:
        encoder.masked = True
        return encoder

    def prepare(self) -> None:
        embedding = self.denoiser.time_caption_embed
        embedding.time_proj = TimestepTable(embedding.time_proj, self.schedule.signal)

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        output, mask = self.encoders[0](self._instructed(prompt), device)
        return Text(output.hidden_states[-2], mask=mask)

    def _instructed(self, prompt: str) -> str:
        """The text that is read; the unconditional one goes without the system prompt."""
        return f"{system_prompt()} <Prompt Start> {prompt}" if prompt else ""

    def tokens(self, prompt: str) -> TokenMap:
        return self.encoders[0].tokens(self._instructed(prompt), prompt)

    def attention_layers(self) -> list[torch.nn.Module]:
        return [layer.attn for layer in self.denoiser.layers]

    def joint_places(self, text: Text, sample: int) -> tuple[slice, slice]:
        assert text.mask is not None
        length, image = int(text.mask[sample].sum()), (self.latent_side // self.patch) ** 2
        return slice(0, length), slice(length, length + image)

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        velocity: Tensor = self.denoiser(
            latents, timestep=t, encoder_hidden_states=text.embeddings, encoder_attention_mask=text.mask
        ).sample
        return velocity


@cache
def system_prompt() -> str:
    """What the pipeline puts before every prompt."""
    from diffusers import Lumina2Pipeline

    parts = dict.fromkeys(("transformer", "scheduler", "vae", "text_encoder", "tokenizer"))
    prompt: str = Lumina2Pipeline(**parts).system_prompt
    return prompt
