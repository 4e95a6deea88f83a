"""Pipelines as folders: where they come from, what is in them, and their parts, loaded once and checked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .base import LoadError, explain_load_error, locate, quiet_loading

INDEX = "model_index.json"
#: What safetensors call the types that weights come in.
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_FEW = 3  # keys that an error names; words that make no vocabulary


class ModelFolder:
    """A pipeline in the layout of diffusers, from a folder, the hub or the embedded one.

    Args:
        path: ``embedded``, a folder, or a hub name.
        variant: of the weight files, ``fp16`` say.
        revision: branch, tag or commit on the hub.

    Attributes:
        index: the content of ``model_index.json``.

    Raises:
        FileNotFoundError, ValueError: in one line.
    """

    def __init__(self, path: str, variant: str | None = None, revision: str | None = None) -> None:
        self.source = locate(path, "teacher", INDEX)
        self.name, self.variant, self.revision = path, variant, revision
        self._hub = not Path(self.source).is_dir()
        quiet_loading()
        self.folder = self._fetch([INDEX, "vocabulary.json"]) if self._hub else Path(self.source)
        self.index = self._read(INDEX)

    @property
    def pipeline(self) -> str:
        """The class of the pipeline, which says what family it is of."""
        return str(self.index.get("_class_name"))

    def has(self, part: str) -> bool:
        """Whether the pipeline was saved with such a part."""
        return self.index.get(part, [None])[0] is not None

    def fetch(self, parts: list[str]) -> None:
        """Makes sure of the folders of some parts, from the hub if it is one of its names: weights of one variant alone.

        Raises:
            ValueError: if one is missing, or has weights of another kind than safetensors, or none of the variant.
        """
        if self._hub:
            infix = f".{self.variant}" if self.variant else ""
            weights = ["model", "diffusion_pytorch_model"]
            names = [f"{name}{infix}{rest}" for name in weights for rest in (".safetensors", "-*-of-*.safetensors")]
            names += [f"{name}-*-of-*{infix}.safetensors" for name in weights]
            names += ["*.json", "*.txt", "*.model"]
            self._fetch([f"{part}/{name}" for part in parts for name in names])
        for part in parts:
            if not (self.folder / part).is_dir() or not any((self.folder / part).iterdir()):
                raise ValueError(f"teacher: expected a folder {part}/ in {self.source!r}, whose pipeline is {self.pipeline}")

    def config(self, part: str) -> dict[str, Any]:
        """Returns the configuration of a network."""
        return self._read(f"{part}/config.json")

    def dtype(self, part: str) -> torch.dtype:
        """The type of a network's weights as they are saved."""
        return _dtype_of(self._weights(part))

    def scheduler(self) -> dict[str, Any]:
        """Returns the configuration of the scheduler."""
        return self._read("scheduler/scheduler_config.json")

    def network(self, kind: str, part: str, dtype: torch.dtype | None = None) -> nn.Module:
        """Loads a network, without gradients.

        Args:
            kind: class of diffusers or transformers.
            part: its folder.
            dtype: None for the one of the file.

        Raises:
            ValueError: if weights are missing, truncated, of another network or pickled.
        """
        import diffusers
        import transformers

        files = self._weights(part)
        dtype = dtype or _dtype_of(files)
        options: dict[str, Any] = {"use_safetensors": True, "output_loading_info": True, "local_files_only": True}
        if self.variant:
            options["variant"] = self.variant
        where = str(self.folder)
        try:
            if hasattr(diffusers, kind):
                found = getattr(diffusers, kind).from_pretrained(
                    where, subfolder=part, torch_dtype=dtype, low_cpu_mem_usage=True, **options
                )
            else:
                found = getattr(transformers, kind).from_pretrained(where, subfolder=part, dtype=dtype, **options)
        except Exception as error:  # the libraries raise a dozen kinds; the user needs one line
            raise explain_load_error(error, "teacher", self.source) from error
        network, info = found
        for wrong in ("missing", "unexpected", "mismatched"):
            if keys := sorted(map(str, info[f"{wrong}_keys"])):
                some = ", ".join(keys[:_FEW]) + (", ..." if len(keys) > _FEW else "")
                raise LoadError(
                    f"teacher: expected the weights of a {kind} in {self.source!r}, "
                    f"{part}/ has {len(keys)} {wrong} tensors: {some}"
                )
        return network.requires_grad_(False).eval()

    def tokenizer(self, kind: str, part: str, vocabulary: int) -> Any:
        """Loads a tokenizer.

        Args:
            kind: class of transformers.
            part: its folder.
            vocabulary: how many tokens the text encoder knows. transformers makes an empty tokenizer of a folder without one.
        """
        import transformers

        try:
            tokenizer = getattr(transformers, kind).from_pretrained(str(self.folder), subfolder=part, local_files_only=True)
        except Exception as error:
            raise explain_load_error(error, "teacher", self.source) from error
        if len(tokenizer) > vocabulary or len(tokenizer) - len(tokenizer.all_special_ids) < _FEW:
            raise LoadError(
                f"teacher: expected a tokenizer of {vocabulary} tokens, as its text encoder has, in {self.source!r}, "
                f"{part}/ has {len(tokenizer)}"
            )
        return tokenizer

    def _weights(self, part: str) -> list[Path]:
        """The weight files of a part in the variant asked for."""
        folder, files = self.folder / part, sorted((self.folder / part).glob("*.safetensors"))
        chosen = [file for file in files if _variant(file) == self.variant]
        if chosen:
            return chosen
        where = f"{part}/ of {self.source!r}"
        if variants := sorted({str(_variant(file)) for file in files if _variant(file)}):
            raise LoadError(
                f"teacher: expected weights of variant {self.variant} in {where}, got only {', '.join(variants)}: set `variant`"
            )
        if files:
            raise LoadError(
                f"teacher: expected weights of variant {self.variant} in {where}, which has none: leave `variant` out"
            )
        if any(folder.glob("*.bin")) or any(folder.glob("*.ckpt")):
            raise LoadError(
                f"teacher: expected weights in safetensors in {where}, got pickled ones alone, which are not opened: "
                "convert them (`pipeline.save_pretrained`)"
            )
        if self._hub:
            raise LoadError(
                f"teacher: expected weights in safetensors in {where}, the hub has none: only pickled ones, or another variant"
            )
        raise LoadError(f"teacher: expected a loadable model at {self.source!r}: {part}/ has no *.safetensors")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.folder / name).read_text())
        except FileNotFoundError:
            raise LoadError(f"teacher: expected {name} in {self.source!r}, which has none") from None
        except ValueError as error:
            raise LoadError(f"teacher: expected a loadable model at {self.source!r}: {name} is no valid JSON: {error}") from error
        if not isinstance(content, dict):
            raise LoadError(f"teacher: expected a loadable model at {self.source!r}: {name} is no JSON object")
        return content

    def _fetch(self, patterns: list[str]) -> Path:
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(self.source, revision=self.revision, allow_patterns=patterns))
        except Exception as error:
            raise explain_load_error(error, "teacher", self.source) from error


def _variant(file: Path) -> str | None:
    """``fp16`` of ``model.fp16.safetensors`` and, in shards, of ``model.fp16-1-of-2.`` or ``model-1-of-2.fp16.safetensors``."""
    suffixes = [part.split("-")[0] for part in file.stem.split(".")[1:]]
    return suffixes[0] if suffixes else None


def _dtype_of(files: list[Path]) -> torch.dtype:
    """The floating type that most tensors of the first file have, from its header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(files[0], "pt") as file:
            types = Counter(str(file.get_slice(key).get_dtype()) for key in file.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise explain_load_error(error, "teacher", str(files[0].parent.parent)) from error
    floating = Counter({_DTYPES[name]: count for name, count in types.items() if name in _DTYPES})
    return floating.most_common(1)[0][0] if floating else torch.float32
