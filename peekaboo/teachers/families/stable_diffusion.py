"""Stable Diffusion 1.x and 2.x, their Turbo and LCM students, and the embedded model."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..encoder import TokenMap
from ..schedule import TIMESTEPS, TimestepTable
from ..text import Text
from .base import Family, TextPart

#: What LCM's pipeline takes where nothing is said.
LCM_GUIDANCE = 8.5


class UNetFamily(Family):
    """What all families around a `UNet2DConditionModel` share."""

    network = "UNet2DConditionModel"
    part = "unet"
    flow = False
    patch = 1
    side = 64
    distilled = False  # whether it is a latent consistency model, which reads its guidance as an input
    _guidance: Tensor
    conditions: ClassVar[str | None] = None  # what beside the text and the time: ``addition_embed_type``

    def check(self, config: dict[str, Any]) -> None:
        self.distilled = config.get("time_cond_proj_dim") is not None
        latents = self.folder.config("vae").get("latent_channels", 4)
        if (channels := config.get("in_channels", 4)) != latents:
            kind = "an inpainting or an editing model" if channels in (8, 9) else "another kind of model"
            raise ValueError(
                f"teacher: expected a U-Net of {latents} input channels in {self.folder.source!r}, got {channels}, as {kind} has"
            )
        for key, expected in (
            ("addition_embed_type", self.conditions),
            ("class_embed_type", None),
            ("num_class_embeds", None),
            ("encoder_hid_dim_type", None),
        ):
            if config.get(key) != expected:
                raise ValueError(
                    f"teacher: expected a U-Net with {key} {expected} in {self.folder.source!r}, got {config[key]!r}: "
                    f"its conditions are not those of a {self.folder.pipeline}"
                )

    def prepare(self) -> None:
        self.denoiser.to(memory_format=torch.channels_last)
        self.denoiser.time_proj = TimestepTable(self.denoiser.time_proj, torch.arange(TIMESTEPS))
        width, scale = self.denoiser.config.time_cond_proj_dim, self.embedded_guidance
        if width is not None and scale is not None:
            self.register_buffer("_guidance", embed_guidance(scale, width), persistent=False)

    @property
    def timesteps(self) -> tuple[int, ...] | None:
        if not self.distilled:
            return None
        steps = int(self.folder.scheduler().get("original_inference_steps", 50))
        return tuple(range(TIMESTEPS // steps - 1, TIMESTEPS, TIMESTEPS // steps))

    @property
    def classifier_free(self) -> bool:
        return not self.distilled

    @property
    def embedded_guidance(self) -> float | None:
        if not self.distilled:
            return super().embedded_guidance
        return LCM_GUIDANCE if self.choices.embedded_guidance is None else self.choices.embedded_guidance

    def attention_layers(self) -> list[torch.nn.Module]:
        return [module for name, module in self.denoiser.named_modules() if name.endswith("attn2")]

    def predict(self, latents: Tensor, t: Tensor, embeddings: Tensor, **conditions: Any) -> Tensor:
        """Runs the U-Net."""
        latents = latents.contiguous(memory_format=torch.channels_last)
        if self.distilled:
            conditions["timestep_cond"] = self._guidance.to(latents.dtype).expand(len(latents), -1)
        predicted: Tensor = self.denoiser(latents, t, encoder_hidden_states=embeddings, **conditions).sample
        return predicted


class StableDiffusion(UNetFamily):
    """Reads the last hidden state of one CLIP."""

    pipelines = ("StableDiffusionPipeline", "LatentConsistencyModelPipeline")
    text_parts = (TextPart("CLIPTextModel"),)

    def check(self, config: dict[str, Any]) -> None:
        super().check(config)
        width, read = config.get("cross_attention_dim"), self.folder.config("text_encoder").get("hidden_size")
        if read is not None and width != read:
            raise ValueError(
                f"teacher: expected a text encoder of width {width} for the U-Net of {self.folder.source!r}, got {read}"
            )

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        output, _ = self.encoders[0](prompt, device)
        return Text(output.last_hidden_state)

    def tokens(self, prompt: str) -> TokenMap:
        return self.encoders[0].tokens(prompt, prompt)

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        return self.predict(latents, t, text.embeddings)


def embed_guidance(scale: float, width: int) -> Tensor:
    """The sinusoidal embedding (1, width) of 1000 (scale - 1) that a latent consistency model reads (Luo et al. 2023)."""
    half = width // 2
    rates = torch.exp(-torch.arange(half) * (torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = 1000 * (scale - 1) * rates
    return torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()]), (0, width % 2))[None]
