"""Z-Image, the base model and Turbo."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..encoder import TextEncoder, TokenMap
from ..text import Text
from .base import Family, TextPart

PADDED_TO = 32  # tokens of the image, and those of the text, each


class ZImage(Family):
    """Reads the last hidden state but one of Qwen 3, without its padding. Its time runs from noise to image."""

    pipelines = ("ZImagePipeline",)
    network = "ZImageTransformer2DModel"
    text_parts = (TextPart("Qwen3Model", tokenizer_kind="Qwen2Tokenizer"),)
    reversed_time = True
    reads = ("embeddings", "mask")
    joint = "last"
    traceable = False

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        return 512

    def make_encoder(self, encoder: TextEncoder) -> TextEncoder:
        encoder.padded = False
        return encoder

    def _as_chat(self, prompt: str) -> str:
        messages = [{"role": "user", "content": prompt}]
        options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": True}
        text: str = self.encoders[0].tokenizer.apply_chat_template(messages, **options)
        return text

    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        output, mask = self.encoders[0](self._as_chat(prompt), device)
        return Text(output.hidden_states[-2], mask=mask)

    def tokens(self, prompt: str) -> TokenMap:
        return self.encoders[0].tokens(self._as_chat(prompt), prompt)

    def attention_layers(self) -> list[torch.nn.Module]:
        return [layer.attention for layer in self.denoiser.layers]

    def joint_places(self, text: Text, sample: int) -> tuple[slice, slice]:
        assert text.mask is not None
        image = (self.latent_side // self.patch) ** 2
        start = image + -image % PADDED_TO
        return slice(start, start + int(text.mask[sample].sum())), slice(0, image)

    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        assert text.mask is not None
        prompts = [own[mask] for own, mask in zip(text.embeddings, text.mask, strict=True)]
        images = list(latents[:, :, None].unbind())
        velocities: list[Tensor] = self.denoiser(images, self.schedule.signal[t], prompts).sample
        return torch.stack(velocities)[:, :, 0]
