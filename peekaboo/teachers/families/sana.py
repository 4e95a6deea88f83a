"""Sana 0.6B and 1.6B."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..autoencoder import DeepCompression
from ..encoder import TextEncoder, TokenMap
from ..schedule import TimestepTable
from ..text import Text
from .base import Family, TextPart
from .pixart import indent, simplified

TOKENS = 300


class Sana(Family):
    """Reads Gemma 2, whose prompt stands behind a long instruction, with its mask; 32 pixels a place of the latent."""

    pipelines = ("SanaPipeline", "SanaPAGPipeline")
    network = "SanaTransformer2DModel"
    vae = DeepCompression
    text_parts = (TextPart("Gemma2Model", tokenizer_kind="GemmaTokenizer"),)
    reads = ("embeddings", "mask")
    patch = 1
    side = 32
    traceable = False  # the way back of OpenVINO knows no grouped convolutions

    def check(self, config: dict[str, Any]) -> None:
        if config.get("guidance_embeds"):
            raise ValueError(
                f"teacher: expected a Sana in {self.folder.source!r}, got a Sprint, which is another parametrisation"
            )
        if config.get("patch_size", 1) != 1:
            raise ValueError(f"teacher: expected a Sana of patch size 1 in {self.folder.source!r}, got {config['patch_size']}")

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        return TOKENS

    def make_encoder(self, encoder: TextEncoder) -> TextEncoder:
        encoder.masked = True
        return encoder

    def prepare(self) -> None:
        embedding = self.denoiser.time_embed.emb
        times = 1000 * self.schedule.noise * self.denoiser.config.timestep_scale
        embedding.time_proj = TimestepTable(embedding.time_proj, times)

    def _instructed(self, prompt: str) -> tuple[str, int]:
        """The text that is read, and of how many tokens; the unconditional one goes without the instruction."""
        if not prompt:
            return "", TOKENS
        return instruction() + simplified(prompt), len(self.encoders[0].tokenizer.encode(instruction())) + TOKENS - 2

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        text, length = self._instructed(prompt)
        output, mask = self.encoders[0](text, device, length)
        chosen = [0, *range(length - TOKENS + 1, length)]
        return Text(output.last_hidden_state[:, chosen], mask=mask[:, chosen])

    def tokens(self, prompt: str) -> TokenMap:
        text, length = self._instructed(prompt)
        found = self.encoders[0].tokens(text, simplified(prompt), length)
        return found.from_place(length - TOKENS).moved(indent(prompt))

    def attention_layers(self) -> list[torch.nn.Module]:
        return [block.attn2 for block in self.denoiser.transformer_blocks]

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        velocity: Tensor = self.denoiser(
            latents, encoder_hidden_states=text.embeddings, encoder_attention_mask=text.mask, timestep=t
        ).sample
        return velocity[:, : latents.shape[1]]


@cache
def instruction() -> str:
    """What the pipeline puts before every prompt: the default of its own argument."""
    from diffusers import SanaPipeline

    lines: list[str] = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
    return "\n".join(lines)
