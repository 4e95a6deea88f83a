"""What an evaluation is, as plain values: its identity, and the configuration that repeats it."""

from __future__ import annotations

import hashlib
from typing import Any

import yaml
from torch import nn

from ..data.base import SampleData
from ..teachers.base import Frozen
from .batching import SampleModule


def identity_of(stage: str, model: SampleModule, data: SampleData, precision: str) -> dict[str, Any]:
    """Returns all that decides the results of a run.

    Args:
        stage: ``test`` or ``predict``.
        model, data: their constructor arguments count, without those that change no result.
        precision: of the trainer.
    """
    parts = {"model": model.configuration(decisive=True), "data": data.configuration(decisive=True)}
    return {"stage": stage, **parts, "precision": precision, "weights": weights_digest(model)}


def weights_digest(module: nn.Module) -> str:
    """A digest of the weights of the frozen networks in a module."""
    digest = hashlib.sha256()
    for part in (part for part in module.modules() if isinstance(part, Frozen)):
        digest.update(part.digest)
    return digest.hexdigest()[:16]


def command_config(model: SampleModule, data: SampleData, precision: str) -> str:
    """Returns the YAML with which the command line repeats a run that Python made."""
    parts = {"model": model.configuration(), "data": data.configuration(), "trainer": {"precision": precision}}
    return yaml.safe_dump(parts, sort_keys=False, allow_unicode=True)
