"""The model of a config, built from Python: what `peekaboo.load` does."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch

from ..evaluation.batching import SampleModule, best_device, check_precision, usable_precision
from ..functional.surroundings import float32_by_default
from ..optimisation.generator import Generator
from .configs import ConfigFile, with_input
from .messages import one_line
from .names import find_config, teacher_of

#: Precisions as people say them, beside a trainer's own names.
_PRECISIONS = {
    **dict.fromkeys(("32", "fp32", "float32", "float"), "32-true"),
    **dict.fromkeys(("bf16", "bfloat16"), "bf16-mixed"),
    **dict.fromkeys(("16", "fp16", "float16", "half"), "16-mixed"),
}
_OF_COMMANDS = ("verbose", "weights_only", "return_predictions")  # what a saved configuration has beside its parts
#: Settings of a trainer that only say what is shown and written of a fit.
_OF_FILES = {"logger", "callbacks", "log_every_n_steps", "default_root_dir", "use_distributed_sampler"} | {
    f"enable_{what}" for what in ("checkpointing", "progress_bar", "model_summary")
}


@float32_by_default()
def load(
    config: str = "rgb_bilateral",
    *overlays: str,
    teacher: str | Path | None = None,
    device: str | torch.device | None = None,
    precision: str | int | torch.dtype | None = None,
    **overrides: Any,
) -> Any:
    """Builds a segmenter, another way to a mask (``baselines/clipseg``, ``ldznet``) or a generator, once for many images.

    Args:
        config: name of a config in ``configs/`` or a YAML file.
        overlays: further configs that are merged over it: ``"trainers/gpu_bf16"``.
        teacher: a config of ``configs/teachers/`` by its name, ``sd15``; or a folder or a hub name in the layout of diffusers,
            ``owner/model``, which the config's own settings are kept for. None for the config's.
        device: ``cpu``, ``cuda`` (or ``gpu``), ``cuda:1``, ``mps``; None for the best there is.
        precision: of the networks: ``32``, ``float32``, ``bf16``, ``bfloat16``, ``fp16``, ``float16``, a dtype of torch, or a
            trainer's own name, ``bf16-mixed``. None for the config's trainer's, else float32.
        overrides: arguments of its class, as in YAML; a double underscore steps into an object:
            ``iterations=60``, ``loss__guidance=50.0``.

    Of the config's trainer, ``precision`` and (without ``device``) ``accelerator`` count here, too.

    Returns:
        A :class:`peekaboo.Segmenter`, which :func:`peekaboo.segment` takes in the place of a config; of a config of a generator a
        :class:`peekaboo.Generator`, which :func:`peekaboo.generate` takes.

    Raises:
        ValueError, FileNotFoundError: for a config or an override that is wrong, in one line.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    wanted = None if precision is None else _precision(precision)
    place_asked = None if device is None else device_of(device)
    if teacher is not None:
        more, changes = _teacher(str(teacher))
        overlays, overrides = (*more, *overlays), {**changes, **overrides}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ConfigFile)
    parser.add_subclass_arguments((SampleModule, Generator), "model", required=True)
    for ignored in ("trainer", "data", "evaluation", "seed_everything", "ckpt_path", *_OF_COMMANDS):
        parser.add_argument(f"--{ignored}", type=Any)
    arguments = [f"--config={find_config(name)}" for name in (config, *overlays)]
    arguments += [f"--model.{name.replace('__', '.')}={_as_yaml(value)}" for name, value in overrides.items()]
    try:
        parsed = parser.parse_args(with_input(arguments))
        model = parser.instantiate_classes(parsed).model
    except (ArgumentError, ValueError) as error:
        raise ValueError(one_line(str(error))) from error
    trainer = dict(parsed.trainer or {})
    configured = trainer.pop("precision", None) or model.precision
    check_precision(wanted or configured)
    accelerator = trainer.pop("accelerator", None) or "auto"
    _refuse_trainer(trainer)
    place = place_asked or torch.device(best_device() if accelerator in ("auto", "gpu") else accelerator)
    model.precision = usable_precision(wanted or configured, place.type)
    return model.to(place)


def _teacher(name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Returns the overlays and the overrides that a teacher stands for.

    Raises:
        ValueError: for a name that is none.
    """
    overlay, path = teacher_of(name)
    return ((overlay,) if overlay else ()), ({} if path is None else {"loss__teacher__path": path})


def _precision(asked: str | int | torch.dtype) -> str:
    """Returns a trainer's name of a precision."""
    name = str(asked).removeprefix("torch.")
    return _PRECISIONS.get(name.lower(), name)


def device_of(asked: str | torch.device) -> torch.device:
    """Returns a device that is there.

    Raises:
        ValueError: for one that is not.
    """
    name = str(asked).lower().replace("gpu", "cuda")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind, _, number = name.partition(":")
    if not there.get(kind) or (number and not (number.isdigit() and int(number) < max(torch.cuda.device_count(), 1))):
        found = ", ".join(one for one, is_there in there.items() if is_there)
        raise ValueError(f"device: expected one that this machine and this PyTorch have ({found}), got {str(asked)!r}")
    return torch.device(name)


def _refuse_trainer(asked: dict[str, Any]) -> None:
    """Makes sure that no setting of a trainer, which there is none of in Python, goes unheeded.

    Raises:
        ValueError: for one that would change masks, or share the work out.
    """
    from lightning import Trainer

    usual = {name: parameter.default for name, parameter in inspect.signature(Trainer).parameters.items()}
    usual |= {"devices": 1, "max_epochs": 1}
    changed = [name for name, value in asked.items() if name not in _OF_FILES and value not in (None, usual.get(name), "auto")]
    if changed:
        raise ValueError(
            f"{', '.join(f'trainer.{name}' for name in changed)}: expected with the command line, got `peekaboo.load`, "
            "which has no trainer; of its settings it knows `precision` and `accelerator`"
        )


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
