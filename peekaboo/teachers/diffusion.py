"""Latent diffusion and flow models as teachers, from a hub name, a local folder, or the embedded model."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..functional.diffusion import TO_EPS
from ..functional.framing import resize
from .base import PRECISIONS, Precision, Teacher, autocast_dtype
from .families import Choices, family_of
from .loading import ModelFolder
from .network import Compile, Network
from .schedule import TIMESTEPS
from .text import PromptCache, Text

log = logging.getLogger(__name__)

TextDevice = Literal["auto", "cpu"]


class Diffusion(Teacher):
    """A latent diffusion or flow model that diffusers loads: Stable Diffusion, its successors, or the embedded one.

    The class of the pipeline in ``model_index.json`` chooses the adapter, see :mod:`peekaboo.teachers.families`. Only what
    segmentation needs is loaded, from safetensors alone, in the files' precision or the one asked for.

    Args:
        path: ``embedded``, a folder, or a hub name.
        dtype: of the denoiser: ``auto`` follows the trainer's precision; or float32, bfloat16, float16.
        vae_dtype: of the autoencoder. ``auto`` follows the trainer's precision, but for float16, where its gradient
            overflows: then bfloat16 where the device has it, else float32.
        text_dtype: of the text encoders. ``auto`` is that of their files, but for float16: CLIP then computes in float32, T5 and
            its like in bfloat16.
        text_device: where prompts are read: ``auto`` lends the text encoders the teacher's device for the moment; ``cpu`` where
            they do not fit there.
        resolution: side in pixels that images are resized to; None for what the model was trained on.
        compile: compile the denoiser and the encoder, faster afterwards: on a CPU by OpenVINO, which takes some seconds to start
            and for each new batch size, elsewhere, and for families that OpenVINO cannot take, by `torch.compile`, which takes a
            minute or more; ``inductor`` for `torch.compile` on a CPU too.
        checkpointing: compute the encoder twice instead of keeping its activations for the backward pass: less memory, slower.
        variant: of the weight files, ``fp16`` say.
        revision: branch, tag or commit on the hub.
        embedded_guidance: that a distilled model (Flux dev, LCM) reads as an input; None for its own. It is another thing than
            the loss's ``guidance``, which asks the model twice.
        timesteps: that the teacher is asked at, for few-step students (Turbo); None for all, or for those that an LCM says.
        t5: False for zeros in the place of the T5 encoder of Stable Diffusion 3, which is most of its memory.
        decoder: keep the autoencoder's decoder, for :meth:`decode`.
    """

    def __init__(
        self,
        path: str = "embedded",
        dtype: Precision = "auto",
        vae_dtype: Precision = "auto",
        text_dtype: Precision = "auto",
        text_device: TextDevice = "auto",
        resolution: int | None = None,
        compile: Compile = False,
        checkpointing: bool = False,
        variant: str | None = None,
        revision: str | None = None,
        embedded_guidance: float | None = None,
        timesteps: list[int] | None = None,
        t5: bool = True,
        decoder: bool = False,
    ) -> None:
        super().__init__()
        for argument, value in (("dtype", dtype), ("vae_dtype", vae_dtype), ("text_dtype", text_dtype)):
            if value != "auto" and value not in PRECISIONS:
                raise ValueError(f"{argument}: expected auto, {', '.join(PRECISIONS)}, got {value!r}")
        if text_device not in get_args(TextDevice):
            raise ValueError(f"text_device: expected one of {', '.join(get_args(TextDevice))}, got {text_device!r}")
        if timesteps is not None and (not timesteps or min(timesteps) < 0 or max(timesteps) >= TIMESTEPS):
            raise ValueError(f"timesteps: expected some in 0..{TIMESTEPS - 1}, got {timesteps}")
        self.name, self.dtype, self.vae_dtype = path, dtype, vae_dtype
        folder = ModelFolder(path, variant, revision)
        kind = family_of(folder.pipeline, folder.source)
        choices = Choices(dtype, vae_dtype, text_dtype, text_device, resolution, embedded_guidance, t5, decoder, checkpointing)
        self.family = kind(folder, choices)
        self.embedded_guidance = self.family.embedded_guidance
        self.resolution = self.family.resolution
        self.timesteps = self.family.timesteps if timesteps is None else tuple(sorted(set(timesteps)))
        self._words = read_vocabulary(folder.folder)
        self._cache: PromptCache[Text] = PromptCache()
        self.freeze()
        if compile and not self.family.traceable:
            compile = "inductor"
        self._denoiser = Network(self.denoiser, self._denoise, "denoiser", compile)
        self._encoder = Network(self.family.autoencoder.network, self.family.autoencoder.encode, "encoder", compile)

    @property
    def denoiser(self) -> nn.Module:
        """The network of diffusers that predicts: a U-Net or a transformer."""
        network: nn.Module = self.family.denoiser
        return network

    def known_words(self) -> frozenset[str] | None:
        """Returns the words that a closed-vocabulary teacher was trained on, or None for an open vocabulary."""
        return self._words

    def latent_shape(self) -> tuple[int, int, int]:
        return self.family.autoencoder.channels, self.family.latent_side, self.family.latent_side

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        signal, noise = self.family.schedule(t)
        return signal, noise

    def check_guidance(self, scale: float) -> None:
        if scale == 1:
            return
        if not self.family.classifier_free:
            raise ValueError(f"guidance: expected 1 for {self.name}, which was distilled to do without, got {scale:g}")
        if self.embedded_guidance is not None:
            log.warning(
                "guidance: %s reads its guidance as an input (embedded_guidance: %g); a classifier-free scale of %g beside it, "
                "instead of 1, is outside of its training",
                self.name,
                self.embedded_guidance,
                scale,
            )

    def encode(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        image = resize(image, (self.resolution, self.resolution))
        encoded = self._encoder(2 * image - 1, dtype=self._resolve(self.vae_dtype, image.device, vae=True))
        autoencoder = self.family.autoencoder
        return autoencoder.scale(autoencoder.sample(encoded, noise))

    def decode(self, z: Tensor) -> Tensor:
        """Maps latents (N, C, h, w) as :meth:`encode` gives them to images (N, 3, H, W) in about [0, 1], differentiably.

        Raises:
            ValueError: if the decoder was not kept.
        """
        autoencoder = self.family.autoencoder
        if not autoencoder.has_decoder:
            raise ValueError("decoder: expected true for a teacher that decodes, got false")
        self._encoder.cast(self._resolve(self.vae_dtype, z.device, vae=True))
        dtype = next(autoencoder.parameters()).dtype
        with torch.autocast(z.device.type, enabled=False):
            return autoencoder.decode(autoencoder.unscale(z).to(dtype)).float() / 2 + 0.5

    def open(self) -> AbstractContextManager[None]:
        """Runs the denoiser uncompiled for a while, so that hooks inside it hear what passes."""
        return self._denoiser.open()

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Text:
        return Text.cat(self._cache.get(prompts, self._read, self.family.schedule.signal.device))

    def _read(self, prompts: list[str]) -> list[Text]:
        device = self.family.schedule.signal.device
        for prompt in prompts:
            self._warn(prompt)
        read = [self.family.encode_prompt(prompt, device) for prompt in prompts]
        return [Text(x.embeddings.float(), None if x.pooled is None else x.pooled.float(), x.mask) for x in read]

    @torch.no_grad()
    def predict_noise(self, z_t: Tensor, t: Tensor, text: Text) -> Tensor:
        output = self._denoiser(z_t, t, *text.tensors(), dtype=self._resolve(self.dtype, z_t.device))
        return TO_EPS[self.family.prediction](output, z_t, *self.signal_noise(t))

    def _denoise(self, latents: Tensor, t: Tensor, *text: Tensor) -> Tensor:
        """What the denoiser predicts, (N, C, h, w), as a function of tensors alone, which compilers ask for."""
        return self.family.denoise(latents, t, Text(**dict(zip(self.family.reads, text, strict=True))))

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from super()._weights()
        for number, encoder in enumerate(self.family.encoders):
            for name, tensor in encoder.network.state_dict().items():
                yield f"text_encoder_{number}.{name}", tensor

    def _resolve(self, precision: Precision, device: torch.device, vae: bool = False) -> torch.dtype:
        if precision != "auto":
            return PRECISIONS[precision]
        dtype = autocast_dtype(device) or torch.float32
        if vae and dtype == torch.float16:
            has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if has_bfloat16 else torch.float32
        return dtype

    def _warn(self, prompt: str) -> None:
        """Says which words the embedded teacher never saw."""
        unknown = unknown_words(prompt, self._words)
        if unknown:
            log.warning(
                "prompt: the %s teacher has never seen the %s %s; for an open vocabulary add "
                "`--config teachers/sd15` (its words: `peekaboo words`)",
                self.name,
                "word" if len(unknown) == 1 else "words",
                ", ".join(repr(word) for word in unknown),
            )


def unknown_words(prompt: str, known: frozenset[str] | None) -> list[str]:
    """Returns the words of a prompt that are not among the known ones; none for an open vocabulary.

    A prompt without a word, of signs or emojis alone, is itself one that is not known.
    """
    if known is None or not prompt.strip():
        return []
    words = re.findall(r"[^\W_]+", prompt.lower()) or [prompt.strip()]
    return [word for word in dict.fromkeys(words) if word not in known]


def read_vocabulary(folder: str | Path) -> frozenset[str] | None:
    """Returns the words in a teacher folder's ``vocabulary.json``; None where there is no such list."""
    file = Path(folder) / "vocabulary.json"
    return frozenset(json.loads(file.read_text())) if file.is_file() else None
