"""The folder of one evaluation: a small JSON file for every finished sample, and what says whose they are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..alphas.base import Alpha
from ..teachers.base import Frozen

#: Arguments that change no result: a run with other ones goes on with the same folder.
INDIFFERENT = {"model": ("input", "max_skipped"), "data": ("batch_size", "num_workers")}
STATE = ("training", "input", "optimisation")  # attributes that a run leaves
COUNTS = ("intersection", "union")  # of a row's scores, over thresholds


def write_text(path: Path, text: str) -> None:
    """Writes a file atomically and for good: no reader, crash or power cut ever sees half of it."""
    partial = path.with_name(f".{hashlib.sha1(path.name.encode()).hexdigest()[:16]}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def decisive(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a run's configuration that decides its results: model, data and precision."""
    kept = {}
    for part, indifferent in INDIFFERENT.items():
        described = dict(config.get(part) or {})
        arguments = described.get("init_args") or {}
        described["init_args"] = {key: value for key, value in arguments.items() if key not in indifferent}
        kept[part] = described
    return {**kept, "precision": (config.get("trainer") or {}).get("precision")}


def plain_attributes(module: nn.Module, data: Any, precision: str) -> dict[str, Any]:
    """What stands for the configuration of a run that was started from Python: the plain attributes of its objects.

    Args:
        module: the model, with its optimiser where it has one.
        data: the data module.
        precision: of the trainer.
    """
    networks = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, Frozen))
    made = nn.ParameterList | nn.ParameterDict  # when an alpha is reset
    parts = {name: p for name, p in module.named_modules() if not name.startswith(networks) and not isinstance(p, made)}
    found = {f"model.{name}".rstrip("."): {"class": type(part).__name__, **plain(part)} for name, part in parts.items()}
    if hasattr(module, "make_optimizer"):
        optimizer = module.make_optimizer([nn.Parameter(torch.zeros(1))])  # type: ignore[operator]
        found["optimizer"] = {"class": type(optimizer).__name__, **optimizer.defaults}
    return {**found, "data": {"class": type(data).__name__, **arguments_of(data)}, "precision": precision}


def arguments_of(data: Any) -> dict[str, Any]:
    """The plain attributes of a data module that decide which samples it has."""
    return {key: value for key, value in plain(data).items() if key not in INDIFFERENT["data"]}


def plain(thing: Any) -> dict[str, Any]:
    """The attributes that can be written to JSON, paths as text, without what a run leaves in them; of a module its small
    buffers too.
    """

    def written(value: Any) -> Any:
        return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value

    attributes = {key: written(value) for key, value in vars(thing).items() if not key.startswith("_") and key not in STATE}
    if isinstance(thing, nn.Module) and not isinstance(thing, Alpha):  # an alpha makes its own anew for each batch
        small = {name: buffer for name, buffer in thing.named_buffers(recurse=False) if buffer.numel() <= 16}
        attributes |= {name: buffer.flatten().tolist() for name, buffer in small.items()}
    kept: dict[str, Any] = json.loads(json.dumps({k: v for k, v in attributes.items() if _is_plain(v)}, default=str))
    return kept


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
    if isinstance(value, torch.Size):  # of an image: alphas keep it
        return False
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    return isinstance(value, int | float | str | Path | None)


def weights_digest(module: nn.Module) -> str:
    """A digest of the weights of the frozen networks in a module."""
    digest = hashlib.sha256()
    for part in (part for part in module.modules() if isinstance(part, Frozen)):
        digest.update(part.digest)
    return digest.hexdigest()[:16]


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested dicts as ``("a.b", value)``."""
    if not isinstance(tree, dict) or not tree:
        yield prefix, tree
        return
    for key, value in tree.items():
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))


class RunFolder:
    """Where an evaluation keeps what it has.

    Args:
        path: of the folder.
        identity: what decides the results, as nested dicts of plain values.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path, self.rows = path, path / "samples"
        self.identity = json.loads(json.dumps(identity, default=str))

    def check(self) -> None:
        """Makes sure that the folder is new, or holds this very run.

        Raises:
            ValueError: if it holds another one, with what differs.
        """
        file = self.path / "run.json"
        if not file.is_file():
            if self.rows.is_dir() and any(self.rows.glob("*.json")):
                raise ValueError(
                    f"evaluation.folder: expected a folder of this program, got {str(self.path)!r} with samples but no run.json"
                )
            return
        then, now = (dict(flatten(tree)) for tree in (json.loads(file.read_text())["identity"], self.identity))
        differing = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
        if differing:
            changes = [f"{key} was {then.get(key)!r}, is {now.get(key)!r}" for key in differing[:3]]
            more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise ValueError(
                f"evaluation.folder: expected a new folder or one of this configuration, got {str(self.path)!r} with another: "
                f"{'; '.join(changes)}{more}"
            )

    def open(self, about: dict[str, Any], config: str | None) -> None:
        """Makes the folder and says whose it is; on one rank only.

        Args:
            about: what else ``run.json`` tells.
            config: YAML that repeats the run.
        """
        self.rows.mkdir(parents=True, exist_ok=True)
        write_text(self.path / "run.json", json.dumps({**about, "identity": self.identity}, indent=2) + "\n")
        if config is not None:
            write_text(self.path / "config.yaml", config)
        for left in (*self.path.glob(".*.partial"), *self.path.glob("*/.*.partial")):
            left.unlink(missing_ok=True)  # of a run that was killed

    def add(self, row: dict[str, Any]) -> None:
        """Keeps the row of a sample; call it when everything else about the sample is written."""
        write_text(self.rows / f"{row['id']}.json", json.dumps(row) + "\n")

    def row(self, name: str) -> dict[str, Any] | None:
        """Returns the row of a sample, or None if it has not finished."""
        try:
            row = json.loads((self.rows / f"{name}.json").read_text(encoding="utf-8"))
            for key in COUNTS if row["scores"] else ():
                row["scores"][key] = np.array(row["scores"][key], dtype=np.int64)  # a tenth of the memory of a list
            return row
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # broken by something else than us: do the sample again
            return None

    def all(self, ids: list[str]) -> list[dict[str, Any]]:
        """Returns the rows of the finished samples among some, in their order."""
        return [row for row in map(self.row, ids) if row is not None]

    def finished(self, ids: list[str], needed: dict[str, str]) -> frozenset[str]:
        """Returns which samples need not be done again: those without an error and with all the files they should have.

        Args:
            ids: of the samples.
            needed: suffix of the file that each of some subfolders should have of every sample.
        """
        rows = (row for row in map(self.row, ids) if row is not None and row["error"] is None)
        good = (row["id"] for row in rows)
        return frozenset(i for i in good if all((self.path / sub / f"{i}{suffix}").is_file() for sub, suffix in needed.items()))

    def save_picture(self, kind: str, name: str, picture: Any) -> None:
        """Writes ``<kind>/<name>.png`` atomically."""
        target = self.path / kind / f"{name}.png"
        target.parent.mkdir(exist_ok=True)
        partial = target.with_name(f".{hashlib.sha1(name.encode()).hexdigest()[:16]}.{os.getpid()}.partial")
        picture.save(partial, format="PNG")
        os.replace(partial, target)


def digest(identity: dict[str, Any]) -> str:
    """Returns eight letters that stand for an identity."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def to_16_bit(alpha: torch.Tensor) -> Any:
    """Makes a 16-bit picture of an (H, W) alpha."""
    from PIL import Image

    return Image.fromarray((alpha.double().cpu() * 65535).round().to(torch.int32).numpy().astype("uint16"))
