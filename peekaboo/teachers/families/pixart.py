"""PixArt-alpha and PixArt-Sigma."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..encoder import TextEncoder, TokenMap
from ..schedule import TIMESTEPS, TimestepTable
from ..text import Text
from .base import Family, TextPart


class PixArt(Family):
    """Reads T5 with its mask by cross-attention. A diffusion model of linear betas, whose t = 980 is purer noise than others'."""

    pipelines = ("PixArtAlphaPipeline", "PixArtSigmaPipeline")
    network = "PixArtTransformer2DModel"
    text_parts = (TextPart("T5EncoderModel", tokenizer_kind="T5Tokenizer"),)
    flow = False
    reads = ("embeddings", "mask")

    @classmethod
    def denoiser_names(cls) -> tuple[str, ...]:
        return cls.network, "Transformer2DModel"  # of before it had a class of its own

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        return 300 if self.folder.pipeline == "PixArtSigmaPipeline" else 120

    def make_encoder(self, encoder: TextEncoder) -> TextEncoder:
        encoder.masked = True
        return encoder

    def prepare(self) -> None:
        embedding = self.denoiser.adaln_single.emb
        embedding.time_proj = TimestepTable(embedding.time_proj, torch.arange(TIMESTEPS))

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        output, mask = self.encoders[0](simplified(prompt), device)
        return Text(output.last_hidden_state, mask=mask)

    def tokens(self, prompt: str) -> TokenMap:
        return self.encoders[0].tokens(simplified(prompt), simplified(prompt)).moved(indent(prompt))

    def attention_layers(self) -> list[torch.nn.Module]:
        return [block.attn2 for block in self.denoiser.transformer_blocks]

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        n = len(latents)
        conditions: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if self.denoiser.use_additional_conditions:
            conditions = {
                "resolution": latents.new_full((n, 2), self.resolution),
                "aspect_ratio": latents.new_ones(n, 1),
            }
        predicted: Tensor = self.denoiser(
            latents,
            encoder_hidden_states=text.embeddings,
            encoder_attention_mask=text.mask,
            timestep=t,
            added_cond_kwargs=conditions,
        ).sample
        return predicted[:, : latents.shape[1]]  # the variance behind it is for samplers


def indent(prompt: str) -> int:
    """Characters before the first word, which :func:`simplified` takes away."""
    return len(prompt) - len(prompt.lstrip())


def simplified(prompt: str) -> str:
    """The prompt as PixArt and Sana were trained to read it."""
    return prompt.lower().strip()
