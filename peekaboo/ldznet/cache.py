"""The teacher's part of a training's examples on disk: what is read again costs no pass through the teacher."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..data.checks import user_path
from ..identity import differences
from ..results.writing import write_bytes, write_json
from .conditions import Inputs

RECORD = "cache.json"


class FeatureCache:
    """Keeps latents and features of examples that come again, one file each, in half precision.

    Args:
        folder: of the cache; made if it does not exist.
        identity: what decides its content, as plain values.
        count: examples that there will be.

    Raises:
        ValueError: if the folder holds another cache, or the disk has no room for it.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any], count: int) -> None:
        self.folder, self.count = user_path(folder), count
        record = self.folder / RECORD
        if record.is_file():
            then = json.loads(record.read_text(encoding="utf-8"))
            if changes := differences(then, identity):
                raise ValueError(
                    f"cache: expected a new folder or the cache of this training, got {str(folder)!r} with another: {changes}"
                )
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise ValueError(f"cache: expected a new folder, got {str(folder)!r} with something else in it")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.identity = identity

    def announce(self, bytes_each: int) -> int:
        """Says how large the cache gets, and that there is room; returns its bytes.

        Raises:
            ValueError: if there is not enough room.
        """
        size = bytes_each * self.count
        there = sum(1 for _ in self.folder.glob("*.safetensors"))
        missing = bytes_each * max(self.count - there, 0)
        free = shutil.disk_usage(self.folder).free
        rank_zero_info(
            f"cache: {self.count} examples of {bytes_each / 1e6:.3f} MB in {str(self.folder)!r}: {size / 1e9:.2f} GB in all, "
            f"{there} are there; {free / 1e9:.1f} GB are free"
        )
        if missing > free:
            raise ValueError(
                f"cache: expected room for {missing / 1e9:.2f} GB more in {str(self.folder)!r}, got {free / 1e9:.2f} GB; "
                "leave it out, or train on fewer samples (`limit`)"
            )
        write_json(self.folder / RECORD, self.identity)
        return size

    def file(self, key: int) -> Path:
        """The file of one example."""
        return self.folder / f"{key:08d}.safetensors"

    def read(self, keys: list[int], device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        """Returns x and features of some examples; None if one of them is not there, or broken."""
        found: list[list[Tensor]] = []
        for key in keys:
            try:
                with safe_open(self.file(key), "pt") as content:
                    names = sorted(content.keys())
                    found.append([content.get_tensor(name) for name in names])
            except (OSError, SafetensorError):
                return None
        x, *features = (torch.stack(own).to(device).float() for own in zip(*found, strict=True))
        return x, tuple(features)

    def write(self, keys: list[int], inputs: Inputs) -> None:
        """Keeps x and features of some examples."""
        for place, key in enumerate(keys):
            tensors = [inputs.x, *inputs.features]
            named = {f"{i:02d}": tensor[place].detach().half().cpu().contiguous() for i, tensor in enumerate(tensors)}
            write_bytes(self.file(key), save(named))


def bytes_of(inputs: Inputs) -> int:
    """Returns what one example takes in the cache, by the size of some that were made."""
    return sum(2 * tensor[0].numel() for tensor in (inputs.x, *inputs.features)) + 400  # and the header
