"""Stable Diffusion and its like as a teacher, from a hub name, a local folder, or the embedded model."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..functional.diffusion import eps_from_sample, eps_from_v
from ..functional.framing import resize
from .base import PRECISIONS, Precision, Teacher, autocast_dtype, explain_load_error, locate, quiet_loading, warn_of_cut
from .network import Compile, Network

log = logging.getLogger(__name__)

KEPT_PROMPTS = 256  # whose embeddings stay on the device, a quarter of a megabyte each in Stable Diffusion


class Diffusion(Teacher):
    """A latent diffusion model in the layout of a StableDiffusionPipeline: Stable Diffusion 1.x, 2.x, or the embedded one.

    Only what segmentation needs is loaded: no safety checker, no feature extractor. Weights come from safetensors alone.

    Args:
        path: ``embedded``, a folder, or a hub name.
        dtype: of the U-Net: ``auto`` follows the trainer's precision; or float32, bfloat16, float16.
        vae_dtype: of the autoencoder. ``auto`` follows the trainer's precision, but for float16, where its gradient
            overflows: then bfloat16 where the device has it, else float32.
        resolution: side in pixels that images are resized to; None for what the model was trained on.
        compile: compile the U-Net and the encoder, faster afterwards: on a CPU by OpenVINO, which takes some seconds to start
            and for each new batch size, elsewhere by `torch.compile`, which takes a minute or more; ``inductor`` for
            `torch.compile` on a CPU too.
        checkpointing: compute the encoder twice instead of keeping its activations for the backward pass: less memory, slower.
        variant: of the weight files on the hub, ``fp16`` say.
        revision: branch, tag or commit on the hub.
    """

    alphas_cumprod: Tensor

    def __init__(
        self,
        path: str = "embedded",
        dtype: Precision = "auto",
        vae_dtype: Precision = "auto",
        resolution: int | None = None,
        compile: Compile = False,
        checkpointing: bool = False,
        variant: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        for argument, value in (("dtype", dtype), ("vae_dtype", vae_dtype)):
            if value != "auto" and value not in PRECISIONS:
                raise ValueError(f"{argument}: expected auto, {', '.join(PRECISIONS)}, got {value!r}")
        self.name, self.dtype, self.vae_dtype = path, dtype, vae_dtype
        source = locate(path, "teacher", "model_index.json")
        self._load(source, {"variant": variant, "revision": revision})
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        if resolution is not None and resolution % factor:
            raise ValueError(f"resolution: expected a multiple of {factor}, got {resolution}")
        self.resolution = resolution or self.unet.config.sample_size * factor
        self._side = self.resolution // factor
        self._words = read_vocabulary(source)
        self._cache: dict[str, Tensor] = {}
        self.freeze()
        if checkpointing:
            self.vae.enable_gradient_checkpointing()
        self.compiled = bool(compile)
        self._denoiser = Network(self.unet, self._denoise, "U-Net", compile)
        self._encoder = Network(self.vae, self._moments, "encoder", compile)

    def _load(self, source: str, options: dict[str, Any]) -> None:
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        options = {key: value for key, value in options.items() if value is not None}
        weights = {"torch_dtype": torch.float32, "use_safetensors": True, "low_cpu_mem_usage": False, **options}
        revision = {key: value for key, value in options.items() if key == "revision"}
        quiet_loading()
        try:
            self.unet = UNet2DConditionModel.from_pretrained(source, subfolder="unet", **weights)
            self.vae = AutoencoderKL.from_pretrained(source, subfolder="vae", **weights)
            weights = {"dtype": torch.float32, "use_safetensors": True, **options}
            self.text_encoder = CLIPTextModel.from_pretrained(source, subfolder="text_encoder", **weights)
            self.tokenizer = CLIPTokenizer.from_pretrained(source, subfolder="tokenizer", **revision)
            schedule = DDIMScheduler.from_pretrained(source, subfolder="scheduler", **revision)
        except Exception as error:  # the libraries raise a dozen kinds; the user needs one line
            raise explain_load_error(error, "teacher", source) from error
        self.unet.to(memory_format=torch.channels_last)
        self.prediction_type = schedule.config.prediction_type
        if self.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(f"teacher: expected epsilon, v_prediction or sample, got {self.prediction_type!r} in {source!r}")
        self.register_buffer("alphas_cumprod", schedule.alphas_cumprod.float(), persistent=False)
        self.unet.time_proj = TimestepTable(self.unet.time_proj, len(self.alphas_cumprod))

    def known_words(self) -> frozenset[str] | None:
        """Returns the words that a closed-vocabulary teacher was trained on, or None for an open vocabulary."""
        return self._words

    def latent_shape(self) -> tuple[int, int, int]:
        return self.vae.config.latent_channels, self._side, self._side

    def alpha_bar(self, t: Tensor) -> Tensor:
        return self.alphas_cumprod[t]

    def encode(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        image = resize(image, (self.resolution, self.resolution))
        moments = self._encoder(2 * image - 1, dtype=self._resolve(self.vae_dtype, image.device, vae=True))
        z, log_variance = moments.chunk(2, 1)
        if noise is not None:
            z = z + (0.5 * log_variance.clamp(-30, 20)).exp() * noise
        return (z - (self.vae.config.shift_factor or 0)) * self.vae.config.scaling_factor

    def _moments(self, image: Tensor) -> Tensor:
        """Mean and log-variance of the posterior, (N, 2 C, h, w)."""
        parameters: Tensor = self.vae.encode(image).latent_dist.parameters
        return parameters

    def _denoise(self, latents: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """What the U-Net predicts, (N, C, h, w)."""
        latents = latents.contiguous(memory_format=torch.channels_last)
        predicted: Tensor = self.unet(latents, t, encoder_hidden_states=text).sample
        return predicted

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Tensor:
        device = self.alphas_cumprod.device
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._cache:
                self._warn(prompt)
                options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
                tokens = self.tokenizer([prompt], max_length=self._max_tokens(), **options).input_ids.to(device)
                with torch.autocast(device.type, enabled=False):
                    self._cache[prompt] = self.text_encoder(tokens).last_hidden_state[0].float()
        embedded = torch.stack([self._cache[prompt].to(device) for prompt in prompts])
        surplus = len(self._cache) - KEPT_PROMPTS  # a data set has tens of thousands
        for prompt in [prompt for prompt in self._cache if prompt not in prompts][: max(surplus, 0)]:
            del self._cache[prompt]
        return embedded

    @torch.no_grad()
    def predict_noise(self, z_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        output = self._denoiser(z_t, t, text, dtype=self._resolve(self.dtype, z_t.device))
        if self.prediction_type == "v_prediction":
            return eps_from_v(output, z_t, self.alpha_bar(t))
        if self.prediction_type == "sample":
            return eps_from_sample(output, z_t, self.alpha_bar(t))
        return output

    def _resolve(self, precision: Precision, device: torch.device, vae: bool = False) -> torch.dtype:
        if precision != "auto":
            return PRECISIONS[precision]
        dtype = autocast_dtype(device) or torch.float32
        if vae and dtype == torch.float16:
            has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if has_bfloat16 else torch.float32
        return dtype

    def _max_tokens(self) -> int:
        return int(self.text_encoder.config.max_position_embeddings)

    def _warn(self, prompt: str) -> None:
        """Says what the text encoder will not see, and which words the embedded teacher never saw."""
        warn_of_cut(prompt, self.tokenizer, self._max_tokens())
        unknown = unknown_words(prompt, self._words)
        if unknown:
            log.warning(
                "prompt: the %s teacher has never seen the %s %s; for an open vocabulary add "
                "`--config teachers/sd15.yaml` (its words: `python -m peekaboo.command_line.words`)",
                self.name,
                "word" if len(unknown) == 1 else "words",
                ", ".join(repr(word) for word in unknown),
            )


class TimestepTable(nn.Module):
    """A U-Net's sinusoidal embedding of its timesteps, looked up.

    It stays exact where a compiler would round the timestep itself to bfloat16, 889 to 888 say.

    Args:
        embedding: diffusers' ``Timesteps``.
        timesteps: how many there are.
    """

    table: Tensor

    def __init__(self, embedding: nn.Module, timesteps: int) -> None:
        super().__init__()
        self.register_buffer("table", embedding(torch.arange(timesteps)), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Maps (N,) int64 to (N, D)."""
        return self.table[t]


def unknown_words(prompt: str, known: frozenset[str] | None) -> list[str]:
    """Returns the words of a prompt that are not among the known ones; none for an open vocabulary."""
    if known is None:
        return []
    words = re.findall(r"[^\W_]+", prompt.lower())
    return [word for word in dict.fromkeys(words) if word not in known]


def read_vocabulary(source: str) -> frozenset[str] | None:
    """Returns the words in a teacher folder's ``vocabulary.json``; None where there is no such list."""
    file = Path(source) / "vocabulary.json"
    return frozenset(json.loads(file.read_text())) if file.is_file() else None
