"""What an adapter of a family of pipelines says and does."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...functional.diffusion import Prediction
from ..autoencoder import Autoencoder
from ..base import PRECISIONS, Precision
from ..encoder import TextEncoder, TokenMap
from ..loading import ModelFolder
from ..schedule import read_schedule
from ..text import Text


@dataclass(frozen=True)
class Choices:
    """What the user chose; see :class:`peekaboo.teachers.Diffusion`."""

    dtype: Precision = "auto"
    vae_dtype: Precision = "auto"
    text_dtype: Precision = "auto"
    text_device: str = "auto"
    resolution: int | None = None
    embedded_guidance: float | None = None
    t5: bool = True
    decoder: bool = False
    checkpointing: bool = False


@dataclass(frozen=True)
class TextPart:
    """A text encoder of a pipeline: its class in transformers, its folder and its tokenizer's."""

    kind: str
    part: str = "text_encoder"
    tokenizer: str = "tokenizer"
    tokenizer_kind: str = "CLIPTokenizer"


class Family(nn.Module):
    """The adapter of one family. A subclass is all that a family takes; its file lies in this folder, and is found there.

    Attributes:
        pipelines: classes of diffusers, as ``model_index.json`` names them.
        network: class of the denoiser.
        part: its folder.
        vae: kind of autoencoder.
        text_parts: its text encoders.
        flow: whether it is a flow model.
        reversed_time: whether its time runs from noise to image, as its velocity then does.
        reads: tensors of a :class:`Text` that the denoiser is given.
        patch: places of the latent a side of one token.
        side: of the latent that it was trained on, where the configuration does not say.
        joint: where the text stands in the joint attention of image and text, ``first`` or ``last``; None for cross-attention.
        traceable: whether OpenVINO can take it, which knows not all operations, and no computation that depends on the values of
            its inputs.
        resolution: side in pixels that images are resized to.
    """

    pipelines: ClassVar[tuple[str, ...]]
    network: ClassVar[str]
    part: ClassVar[str] = "transformer"
    vae: ClassVar[type[Autoencoder]] = Autoencoder
    text_parts: ClassVar[tuple[TextPart, ...]]
    flow: ClassVar[bool] = True
    reversed_time: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ("embeddings",)
    patch: ClassVar[int] = 2
    side: ClassVar[int] = 128
    joint: ClassVar[str | None] = None
    traceable: ClassVar[bool] = True

    def __init__(self, folder: ModelFolder, choices: Choices) -> None:
        super().__init__()
        self.folder, self.choices = folder, choices
        parts = self.used_text_parts()
        folder.fetch([self.part, "vae", "scheduler", *(x for part in parts for x in (part.part, part.tokenizer))])
        config = folder.config(self.part)
        self._check(config)
        _ = self.embedded_guidance  # refused, if at all, before weights are read
        self.vae.check(folder)
        factor = self.vae.factor_of(folder.config("vae"))
        self.resolution = self._resolution(config, factor)
        self.latent_side = self.resolution // factor
        self.schedule = read_schedule(folder.scheduler(), (self.latent_side // self.patch) ** 2)
        if self.schedule.flow != self.flow:
            kind = "flow" if self.flow else "diffusion"
            raise ValueError(f"scheduler: expected that of a {kind} model for {folder.pipeline}, got {folder.scheduler()}")
        self.encoders = [self._load_encoder(part) for part in parts]  # no modules: see TextEncoder
        self.autoencoder = self.vae(folder, PRECISIONS.get(choices.vae_dtype), choices.decoder, choices.checkpointing)
        self.denoiser: Any = folder.network(self.network, self.part, PRECISIONS.get(choices.dtype))
        self.prepare()

    # ---- what a subclass says ------------------------------------------------------------------------------------------------

    def used_text_parts(self) -> tuple[TextPart, ...]:
        """The text encoders that are loaded."""
        if not self.choices.t5:
            raise ValueError(
                f"t5: expected true for {self.folder.pipeline}, which can read without it in Stable Diffusion 3 alone"
            )
        return self.text_parts

    def length(self, part: TextPart, config: dict[str, Any]) -> int:
        """Tokens that a text encoder is given of a prompt."""
        return int(config.get("max_position_embeddings", 77))

    def check(self, config: dict[str, Any]) -> None:
        """Refuses a denoiser that the family cannot run, by its configuration, before its weights are read."""

    def prepare(self) -> None:
        """Changes the loaded denoiser: :class:`TimestepTable` in the place of its embedding of time, say."""

    @abstractmethod
    def encode_prompt(self, prompt: str, device: torch.device) -> Text:
        """Reads one prompt; "" gives the unconditional text."""

    @abstractmethod
    def tokens(self, prompt: str) -> TokenMap:
        """What the tokens of the denoiser's text stand for."""

    @abstractmethod
    def attention_layers(self) -> list[nn.Module]:
        """The layers in which the image attends to the text, in order: by cross-attention, or jointly with itself."""

    def joint_places(self, text: Text, sample: int) -> tuple[slice, slice]:
        """Where the text and the image of one sample stand in joint attention."""
        length, image = text.embeddings.shape[1], (self.latent_side // self.patch) ** 2
        if self.joint == "first":
            return slice(0, length), slice(length, length + image)
        return slice(image, image + length), slice(0, image)

    @abstractmethod
    def denoise(self, latents: Tensor, t: Tensor, text: Text) -> Tensor:
        """Returns what the network predicts, (N, C, h, w), of latents (N, C, h, w) at t (N,) int64."""

    # ---- what is known of any family -----------------------------------------------------------------------------------------

    @property
    def prediction(self) -> Prediction:
        """What the network predicts."""
        return "reversed_flow" if self.reversed_time else self.schedule.prediction

    @property
    def timesteps(self) -> tuple[int, ...] | None:
        """The only timesteps that a few-step student knows."""
        return None

    @property
    def classifier_free(self) -> bool:
        """Whether the model was trained without text, too, so that it can be guided."""
        return True

    @property
    def embedded_guidance(self) -> float | None:
        """The guidance that the network reads as an input."""
        if self.choices.embedded_guidance is not None:
            raise ValueError(f"embedded_guidance: expected none for {self.folder.pipeline}, whose network reads no guidance")
        return None

    def text_dtype(self, part: TextPart) -> torch.dtype | None:
        """The precision of a text encoder: float16 is widened, since T5 and Gemma overflow in it."""
        if self.choices.text_dtype != "auto":
            return PRECISIONS[self.choices.text_dtype]
        if self.folder.dtype(part.part) != torch.float16:
            return None
        return torch.float32 if part.kind.startswith("CLIP") else torch.bfloat16

    def _load_encoder(self, part: TextPart) -> TextEncoder:
        config = self.folder.config(part.part)
        vocabulary = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size", 0)
        tokenizer = self.folder.tokenizer(part.tokenizer_kind, part.tokenizer, vocabulary)
        network = self.folder.network(part.kind, part.part, self.text_dtype(part))
        stays = self.choices.text_device == "cpu"
        return self.make_encoder(TextEncoder(network, tokenizer, self.length(part, config), stays=stays))

    def make_encoder(self, encoder: TextEncoder) -> TextEncoder:
        """Says how a text encoder is used, if otherwise than with padding and without a mask."""
        return encoder

    def _check(self, config: dict[str, Any]) -> None:
        if (found := config.get("_class_name")) not in self.denoiser_names():
            raise ValueError(
                f"teacher: expected a {self.network} in {self.part}/ of {self.folder.source!r}, "
                f"since its pipeline is {self.folder.pipeline}, got {found}"
            )
        self.check(config)

    @classmethod
    def denoiser_names(cls) -> tuple[str, ...]:
        """What the denoiser's configuration may call it."""
        return (cls.network,)

    def _resolution(self, config: dict[str, Any], factor: int) -> int:
        size, step = config.get("sample_size") or self.side, factor * self.patch
        asked = self.choices.resolution
        if asked is not None and (asked % step or asked < step):
            raise ValueError(f"resolution: expected a multiple of {step}, got {asked}")
        largest = config.get("pos_embed_max_size")
        if asked is not None and largest and asked > (most := self.most_tokens(largest) * step):
            raise ValueError(f"resolution: expected at most {most}, where the network's positions end, got {asked}")
        return int(asked or size * factor)

    def most_tokens(self, largest: int) -> int:
        """Tokens a side that ``pos_embed_max_size`` allows."""
        return largest
