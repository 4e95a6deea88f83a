"""Qwen-Image."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..autoencoder import QwenImage as QwenAutoencoder
from ..encoder import TextEncoder, TokenMap
from ..schedule import TimestepTable, as_digits
from ..text import Text
from .base import Family, TextPart
from .flux import check_packed, pack, unpack

TOKENS = 512


class QwenImage(Family):
    """Reads the last hidden state of Qwen 2.5 VL, without the system prompt at its start."""

    pipelines = ("QwenImagePipeline",)
    network = "QwenImageTransformer2DModel"
    vae = QwenAutoencoder
    text_parts = (TextPart("Qwen2_5_VLForConditionalGeneration", tokenizer_kind="Qwen2Tokenizer"),)
    reads = ("embeddings", "mask")
    joint = "first"
    traceable = False

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        return TOKENS + template()[1]

    def check(self, config: dict[str, Any]) -> None:
        check_packed(self, config)

    def make_encoder(self, encoder: TextEncoder) -> TextEncoder:
        encoder.padded = False
        return encoder

    def prepare(self) -> None:
        embedding = self.denoiser.time_text_embed
        embedding.time_proj = TimestepTable(embedding.time_proj, self.schedule.noise)

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        form, start = template()
        output, mask = self.encoders[0](form.format(prompt), device)
        return Text(output.hidden_states[-1][:, start:], mask=mask[:, start:])

    def tokens(self, prompt: str) -> TokenMap:
        form, start = template()
        return self.encoders[0].tokens(form.format(prompt), prompt).from_place(start)

    def attention_layers(self) -> list[torch.nn.Module]:
        return [block.attn for block in self.denoiser.transformer_blocks]

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        n, _, height, width = latents.shape
        rows, columns = height // 2, width // 2
        packed: Tensor = self.denoiser(
            pack(latents),
            encoder_hidden_states=text.embeddings,
            encoder_hidden_states_mask=text.mask,
            timestep=as_digits(t),
            img_shapes=[[(1, rows, columns)]] * n,
        ).sample
        return unpack(packed, rows, columns)


@cache
def template() -> tuple[str, int]:
    """The pipeline's chat around every prompt, and how many of its tokens are dropped."""
    from diffusers import QwenImagePipeline

    parts = dict.fromkeys(("transformer", "scheduler", "vae", "text_encoder", "tokenizer"))
    pipeline = QwenImagePipeline(**parts)
    return pipeline.prompt_template_encode, pipeline.prompt_template_encode_start_idx
