"""Stable Diffusion 3 and 3.5, with T5 and without."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..encoder import TokenMap
from ..schedule import TimestepTable
from ..text import Text
from .base import Family, TextPart

T5_TOKENS = 256


class StableDiffusion3(Family):
    """Reads two CLIPs side by side and T5 behind them, and both pooled texts."""

    pipelines = ("StableDiffusion3Pipeline",)
    network = "SD3Transformer2DModel"
    text_parts = (
        TextPart("CLIPTextModelWithProjection"),
        TextPart("CLIPTextModelWithProjection", "text_encoder_2", "tokenizer_2"),
        TextPart("T5EncoderModel", "text_encoder_3", "tokenizer_3", "T5Tokenizer"),
    )
    reads = ("embeddings", "pooled")
    joint = "last"

    def used_text_parts(self) -> tuple[TextPart, ...]:
        return self.text_parts[: 3 if self.choices.t5 and self.folder.has("text_encoder_3") else 2]

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        return T5_TOKENS if part.kind == "T5EncoderModel" else super().length(part, config)

    def prepare(self) -> None:
        embedding = self.denoiser.time_text_embed
        embedding.time_proj = TimestepTable(embedding.time_proj, 1000 * self.schedule.noise)

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        warn = [len(self.encoders) < 3, False]  # of what CLIP cuts off T5 reads more
        read = [encoder(prompt, device, warn=said)[0] for encoder, said in zip(self.encoders[:2], warn, strict=True)]
        clip = torch.cat([output.hidden_states[-2].float() for output in read], -1)
        width = self.denoiser.config.joint_attention_dim
        if len(self.encoders) == 3:
            t5 = self.encoders[2](prompt, device)[0].last_hidden_state.float()
        else:
            t5 = clip.new_zeros(1, T5_TOKENS, width)
        embeddings = torch.cat([F.pad(clip, (0, width - clip.shape[-1])), t5.to(clip.device)], 1)
        return Text(embeddings, torch.cat([output.text_embeds.float() for output in read], -1))

    def tokens(self, prompt: str) -> TokenMap:
        found = self.encoders[0].tokens(prompt, prompt)
        if len(self.encoders) < 3:
            return found
        return found.followed_by(self.encoders[2].tokens(prompt, prompt), self.encoders[0].length)

    def attention_layers(self) -> list[torch.nn.Module]:
        return [block.attn for block in self.denoiser.transformer_blocks]

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        velocity: Tensor = self.denoiser(
            latents, encoder_hidden_states=text.embeddings, pooled_projections=text.pooled, timestep=t
        ).sample
        return velocity
