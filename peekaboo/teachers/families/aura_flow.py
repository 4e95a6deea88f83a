"""AuraFlow."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..encoder import TextEncoder, TokenMap
from ..schedule import TimestepTable
from ..text import Text
from .base import Family, TextPart


class AuraFlow(Family):
    """Reads UMT5, whose padding is multiplied to zero."""

    pipelines = ("AuraFlowPipeline",)
    network = "AuraFlowTransformer2DModel"
    text_parts = (TextPart("UMT5EncoderModel", tokenizer_kind="LlamaTokenizer"),)
    joint = "first"

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        return 256

    def most_tokens(self, largest: int) -> int:
        return math.isqrt(largest)

    def make_encoder(self, encoder: TextEncoder) -> TextEncoder:
        encoder.masked = True
        return encoder

    def prepare(self) -> None:
        self.denoiser.time_step_embed = TimestepTable(self.denoiser.time_step_embed, self.schedule.noise)

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        output, mask = self.encoders[0](prompt, device)
        return Text(output.last_hidden_state * mask[..., None])

    def tokens(self, prompt: str) -> TokenMap:
        return self.encoders[0].tokens(prompt, prompt)

    def attention_layers(self) -> list[torch.nn.Module]:
        blocks = [*self.denoiser.joint_transformer_blocks, *self.denoiser.single_transformer_blocks]
        return [block.attn for block in blocks]

    def joint_places(self, text: Text, sample: int) -> tuple[slice, slice]:
        registers = self.denoiser.register_tokens.shape[1]  # tokens of nothing, before the text
        end = registers + text.embeddings.shape[1]
        return slice(registers, end), slice(end, None)

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        velocity: Tensor = self.denoiser(latents, encoder_hidden_states=text.embeddings, timestep=t).sample
        return velocity
