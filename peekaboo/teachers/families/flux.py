"""FLUX.1 dev and schnell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..encoder import TokenMap
from ..schedule import TimestepTable, as_digits
from ..text import Text
from .base import Family, TextPart

#: What the pipeline takes where nothing is said.
GUIDANCE = 3.5


class Flux(Family):
    """Reads T5, and CLIP's pooled text. Both were distilled: dev reads its guidance as an input, schnell needs none."""

    pipelines = ("FluxPipeline",)
    network = "FluxTransformer2DModel"
    text_parts = (TextPart("CLIPTextModel"), TextPart("T5EncoderModel", "text_encoder_2", "tokenizer_2", "T5Tokenizer"))
    reads = ("embeddings", "pooled")
    joint = "first"
    traceable = False  # OpenVINO knows no rotation of its tokens

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        if part.kind != "T5EncoderModel":
            return super().length(part, config)
        return 512 if self._is_dev() else 256

    def check(self, config: dict[str, Any]) -> None:
        check_packed(self, config)

    def _is_dev(self) -> bool:
        return bool(self.folder.config(self.part).get("guidance_embeds", False))

    @property
    def classifier_free(self) -> bool:
        return self._is_dev()

    @property
    def embedded_guidance(self) -> float | None:
        if not self._is_dev():
            return super().embedded_guidance
        return GUIDANCE if self.choices.embedded_guidance is None else self.choices.embedded_guidance

    def prepare(self) -> None:
        embedding = self.denoiser.time_text_embed
        embedding.time_proj = TimestepTable(embedding.time_proj, 1000 * self.schedule.noise)
        self._scale = self.embedded_guidance

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        clip, t5 = self.encoders
        pooled = clip(prompt, device, warn=False)[0].pooler_output
        return Text(t5(prompt, device)[0].last_hidden_state, pooled)

    def tokens(self, prompt: str) -> TokenMap:
        return self.encoders[1].tokens(prompt, prompt)

    def attention_layers(self) -> list[torch.nn.Module]:
        blocks = [*self.denoiser.transformer_blocks, *self.denoiser.single_transformer_blocks]
        return [block.attn for block in blocks]

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        n, _, height, width = latents.shape
        rows, columns = height // 2, width // 2
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(latents)
        packed: Tensor = self.denoiser(
            pack(latents),
            encoder_hidden_states=text.embeddings,
            pooled_projections=text.pooled,
            timestep=as_digits(t) / 1000,  # the network multiplies by 1000, in the latents' precision
            img_ids=torch.cat([torch.zeros_like(places[:, :1]), places], 1),
            txt_ids=latents.new_zeros(text.embeddings.shape[1], 3),
            guidance=None if self._scale is None else latents.new_full((n,), self._scale, dtype=torch.float32),
        ).sample
        return unpack(packed, rows, columns)


def check_packed(family: Family, config: dict[str, Any]) -> None:
    """Refuses a denoiser that reads more than the latent: a mask, another image."""
    vae = family.folder.config("vae")
    channels = 4 * (vae.get("latent_channels") or vae.get("z_dim", 16))
    if (found := config.get("in_channels", 64)) != channels:
        raise ValueError(
            f"teacher: expected a transformer of {channels} input channels in {family.folder.source!r}, got {found}: "
            "an inpainting or an editing model"
        )


def pack(latents: Tensor) -> Tensor:
    """Makes one token (n, h/2 w/2, 4 c) of 2 x 2 places of (n, c, h, w), in the order channel, row, column."""
    blocks = latents.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (n, c, h/2, 2, w/2, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The way back from :func:`pack`."""
    blocks = tokens.unflatten(1, (rows, columns)).unflatten(3, (-1, 2, 2))  # (n, h/2, w/2, c, 2, 2)
    return blocks.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
