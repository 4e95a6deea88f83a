"""Peekaboo from Python: load once, segment many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .command_line.configs import ConfigFile, find_config, with_input
from .command_line.messages import one_line
from .data.base import Sample
from .data.images import read_image, read_mask, to_mask, to_rgb
from .evaluation.batching import check_precision
from .functional.random import pair_seeds
from .optimisation.segmenter import Segmenter
from .results.result import Result

_OF_COMMANDS = ("verbose", "weights_only", "return_predictions")  # what a saved configuration has beside its parts
Picture = str | Path | Image.Image | Tensor


def load(config: str = "rgb_bilateral", *overlays: str, device: str | None = None, **overrides: Any) -> Segmenter:
    """Builds a segmenter with its frozen networks, once for any number of images.

    Args:
        config: name of a config in ``configs/`` or a YAML file.
        overlays: further configs that are merged over it: ``"teachers/sd15"``.
        device: ``cpu``, ``cuda``, ``mps``; None for the best there is.
        overrides: arguments of :class:`Segmenter`, as in YAML; a double underscore steps into an object:
            ``iterations=60``, ``loss__guidance=50.0``.

    Returns:
        A segmenter; :func:`segment` takes it in the place of a config.

    Raises:
        ValueError, FileNotFoundError: for a config or an override that is wrong, in one line.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ConfigFile)
    parser.add_subclass_arguments(Segmenter, "model", required=True)
    for ignored in ("trainer", "data", "evaluation", "seed_everything", "ckpt_path", *_OF_COMMANDS):
        parser.add_argument(f"--{ignored}", type=Any)
    arguments = [f"--config={_config_file(name)}" for name in (config, *overlays)]
    arguments += [f"--model.{name.replace('__', '.')}={_as_yaml(value)}" for name, value in overrides.items()]
    try:
        parsed = parser.parse_args(with_input(arguments))
        segmenter = parser.instantiate_classes(parsed).model
    except (ArgumentError, ValueError) as error:
        raise ValueError(one_line(str(error))) from error
    asked = (parsed.trainer or {}).get("precision") or segmenter.precision
    check_precision(asked)
    segmenter.precision = asked
    return segmenter.to(device or best_device())


def segment(
    image: Picture | list[Picture],
    prompt: str | list[str],
    config: str | Segmenter = "rgb_bilateral",
    mask: Picture | None = None,
    seed: int = 0,
    **overrides: Any,
) -> Any:
    """Segments what a prompt names.

    Args:
        image: a file, a PIL image, or a (3, H, W) tensor in [0, 1]; or a list of them, run side by side.
        prompt: for the image, or one for each; several prompts for one image give a mask each.
        config: see :func:`load`; or a segmenter that it returned.
        mask: ground truth of the (first) image, to report IoU.
        seed: of the random initial values and noise.
        overrides: see :func:`load`; only with a config.

    Returns:
        A :class:`Result` with ``alpha``, ``mask``, ``iou`` and ``save(folder)``; a list of them where lists came in.

    Raises:
        ValueError, FileNotFoundError: for input that is wrong, in one line.
    """
    images = image if isinstance(image, list) else [image]
    prompts = prompt if isinstance(prompt, list) else [prompt] * len(images)
    if not images or not prompts:
        raise ValueError("image, prompt: expected at least one of each, got an empty list")
    if len(images) == 1:
        images = images * len(prompts)
    if len(images) != len(prompts):
        raise ValueError(f"prompt: expected one for each of {len(images)} images, got {len(prompts)}")
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    if any(not isinstance(p, str) or not p.strip() for p in prompts):
        raise ValueError(f"prompt: expected some words, got {prompt!r}")
    pictures = [_picture(item) for item in images]
    truth = None if mask is None else _mask(mask, pictures[0])
    if isinstance(config, Segmenter):
        if overrides:
            raise ValueError(f"overrides: expected none with a loaded segmenter, got {', '.join(overrides)}")
        segmenter = config
    else:
        segmenter = load(config, **overrides)
    sources = [str(item) if isinstance(item, str | Path) else None for item in images]
    pairs = [
        Sample(str(i), picture, words, truth if i == 0 else None, source=source)
        for i, (picture, words, source) in enumerate(zip(pictures, prompts, sources, strict=True))
    ]
    results: list[Result] = segmenter.segment(pairs, pair_seeds(seed, len(pairs)))
    return results if isinstance(image, list) or isinstance(prompt, list) else results[0]


def best_device() -> str:
    """Returns ``cuda``, ``mps`` or ``cpu``, the first that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _config_file(name: str) -> str:
    path = find_config(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not Path(path).is_file():
        raise FileNotFoundError(f"config: expected the name of a config or a YAML file, got {name!r}")
    return path


def _as_yaml(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, default=str)


def _picture(item: Picture) -> Tensor:
    if isinstance(item, Image.Image):
        return to_rgb(item)
    if isinstance(item, Tensor):
        if item.ndim != 3 or item.shape[0] != 3 or not item.is_floating_point():
            raise ValueError(f"image: expected a float tensor (3, H, W) in [0, 1], got {item.dtype} {tuple(item.shape)}")
        return item.detach().float().clamp(0, 1).cpu()
    return read_image(item)


def _mask(item: Picture, image: Tensor) -> Tensor:
    size = (image.shape[1], image.shape[2])
    if isinstance(item, str | Path):
        return read_mask(item, size)
    mask = (item if item.dtype == torch.bool else item >= 0.5).cpu() if isinstance(item, Tensor) else to_mask(item)
    if tuple(mask.shape) != size:
        got = " x ".join(str(side) for side in reversed(mask.shape))
        raise ValueError(f"mask: expected the image's size {size[1]} x {size[0]}, got {got}")
    return mask
