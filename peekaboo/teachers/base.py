"""Frozen networks, where their weights come from, and the contract of a diffusion teacher."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

ASSETS = Path(__file__).resolve().parent.parent / "assets"
#: Names of the models that the project trained itself and ships.
EMBEDDED = {"teacher": ASSETS / "teacher", "clip": ASSETS / "clip", "depth": ASSETS / "depth"}
Precision = str  # "auto" | "float32" | "bfloat16" | "float16"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Frozen(nn.Module):
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
        for name, tensor in self.state_dict().items():
            flat = tensor.detach().flatten()
            some = flat[:: max(len(flat) // 64, 1)].float().cpu()
            digest.update(name.encode() + some.numpy().tobytes())
        return digest.digest()


class Teacher(Frozen):
    """A frozen latent diffusion model, of any prediction type.

    Attributes:
        resolution: side in pixels of the images that it was trained on.
        name: where it came from, for the records.
    """

    resolution: int
    name: str

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
    def embed(self, prompts: list[str]) -> Tensor:
        """Returns the text conditioning (N, L, D); each prompt is encoded once and kept."""

    @abstractmethod
    def predict_noise(self, z_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """Predicts eps (N, C, h, w) without gradient from z_t (N, C, h, w), t (N,) int64 and text (N, L, D)."""

    @abstractmethod
    def alpha_bar(self, t: Tensor) -> Tensor:
        """Returns the schedule's cumulative product at t (N,), float32 (N,)."""


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
    if dtype.itemsize > now.itemsize:
        name = type(module).__name__
        log.warning("%s: its weights were rounded to %s before, and stay so; load it anew for %s", name, now, dtype)
    # Not module.to: diffusers overrides it with a warning about modules that are to stay in float32, even if there are none.
    return nn.Module.to(module, dtype)
