"""Peekaboo from Python: load once, segment or generate many."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, overload

from torch import Tensor

from .command_line.loading import load
from .data.base import Sample
from .data.checks import check_unicode
from .data.from_python import Picture, image_of, mask_of, source_of
from .data.input import Input
from .data.masks import Foreground
from .evaluation.batching import SampleModule
from .functional.random import pair_seeds
from .functional.surroundings import float32_by_default
from .optimisation.generator import Generator, members
from .optimisation.segmenter import Segmenter
from .results.generated import Generated
from .results.result import Result
from .starts import Given, Start

__all__ = ["generate", "load", "segment"]

Beginning = Result | Tensor | Start
Callback = Callable[[int, Tensor], bool | None]


@overload
def segment(
    image: list[Picture],
    prompt: str | list[str],
    config: str | SampleModule = ...,
    mask: Picture | None = ...,
    foreground: Foreground = ...,
    seed: int = ...,
    start: Beginning | list[Beginning] | None = ...,
    callback: Callback | None = ...,
    progress: bool = ...,
    **overrides: Any,
) -> list[Result]: ...


@overload
def segment(
    image: Picture,
    prompt: list[str],
    config: str | SampleModule = ...,
    mask: Picture | None = ...,
    foreground: Foreground = ...,
    seed: int = ...,
    start: Beginning | list[Beginning] | None = ...,
    callback: Callback | None = ...,
    progress: bool = ...,
    **overrides: Any,
) -> list[Result]: ...


@overload
def segment(
    image: Picture,
    prompt: str,
    config: str | SampleModule = ...,
    mask: Picture | None = ...,
    foreground: Foreground = ...,
    seed: int = ...,
    start: Beginning | list[Beginning] | None = ...,
    callback: Callback | None = ...,
    progress: bool = ...,
    **overrides: Any,
) -> Result: ...


@float32_by_default()
def segment(
    image: Picture | list[Picture],
    prompt: str | list[str],
    config: str | SampleModule = "rgb_bilateral",
    mask: Picture | None = None,
    foreground: Foreground = None,
    seed: int = 0,
    start: Beginning | list[Beginning] | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    **overrides: Any,
) -> Result | list[Result]:
    """Segments what a prompt names.

    Args:
        image: a path, the bytes of a file, an open file, a Pillow image, an array (H, W, 3) or a tensor (3, H, W); or a list of
            them, run side by side. Arrays and tensors are uint8, uint16, or floating point in [0, 1]; see
            :func:`peekaboo.data.from_python.image_of`.
        prompt: for the image, or one for each; several prompts for one image give a mask each.
        config: see :func:`load`; or a segmenter that it returned.
        mask: ground truth of the (first) image, to report IoU: any of those; its void pixels count in no IoU.
        foreground: what of the mask is the object, where it could be more than one thing: an index, ``bright`` or ``opaque``;
            see :func:`peekaboo.data.masks.read_mask`.
        seed: of the random initial values and noise.
        start: where the alpha begins, in the place of the config's: a result or a map (H, W) in [0, 1] of the same image, of the
            frame before, say; or a :class:`peekaboo.starts.Start`. A list has one for each pair.
        callback: called behind each iteration as ``callback(iteration, alphas)``, from 1, with the alphas (N, H, W) as they are
            then, at the resolution of the optimisation; where it returns True, the optimisation ends.
        progress: show a bar of the iterations.
        overrides: see :func:`load`, ``teacher``, ``device`` and ``precision`` included; only with a config.

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
    if any(not isinstance(words, str) or not words.strip() for words in prompts):
        raise ValueError(f"prompt: expected some words, got {prompt!r}")
    prompts = [check_unicode(words, "prompt") for words in prompts]
    pictures = [image_of(item) for item in images]
    truth = None if mask is None else mask_of(mask, (pictures[0].shape[1], pictures[0].shape[2]), "mask", foreground)
    segmenter = _loaded(SampleModule, config, overrides)
    pairs = [
        Sample(str(i), picture, words, source=source_of(item))
        for i, (picture, words, item) in enumerate(zip(pictures, prompts, images, strict=True))
    ]
    if truth is not None:
        pairs[0] = replace(pairs[0], mask=truth.foreground, ignore=truth.void)
    if (progress or callback is not None) and not isinstance(segmenter, Segmenter):
        raise ValueError(f"callback, progress: expected a model that optimises, got {type(segmenter).__name__}")
    with _bar(segmenter.iterations) if progress else nullcontext() as bar:

        def report(step: int) -> bool:
            if bar is not None:
                bar.update()
            return callback is not None and bool(callback(step, segmenter.running.opacity().detach()[:, 0].clone()))

        told = {"report": report} if progress or callback is not None else {}
        results = segmenter.segment(pairs, pair_seeds(seed, len(pairs)), _start(start), **told)
    return results if isinstance(image, list) or isinstance(prompt, list) else results[0]


@float32_by_default()
def generate(
    prompt: str | list[str],
    config: str | Generator = "rgba",
    seed: int = 0,
    seeds: int = 1,
    scene: str | list[str] | None = None,
    **overrides: Any,
) -> Any:
    """Generates images with transparency of what a prompt names.

    Args:
        prompt: one or several, run side by side.
        config: see :func:`load`; or a generator that it returned.
        seed: of the random initial values and noise; the same prompt and seed give the same image, whatever else is asked for.
        seeds: images of each prompt, with the seeds ``seed``, ``seed + 1``, ...
        scene: what the image shows together with its background, for a config that learns one (``"scene"``): one for each prompt.
        overrides: see :func:`load`; only with a config.

    Returns:
        A :class:`Generated` with ``image``, ``alpha``, ``rgba`` and ``save(folder)``; a list of them, all seeds of the first
        prompt and then of the next, where several were asked for.

    Raises:
        ValueError, FileNotFoundError: for input that is wrong, in one line.
    """
    for argument, value, least in (("seed", seed, 0), ("seeds", seeds, 1)):
        if value < least:
            raise ValueError(f"{argument}: expected {least} or more, got {value}")
    prompts, scenes = Input(prompt=prompt, scene=scene).wishes()
    generator = _loaded(Generator, config, overrides)
    batch = members(prompts, scenes, seed, seeds)
    results: list[Generated] = generator.generate(*batch)
    return results if isinstance(prompt, list) or seeds > 1 else results[0]


def _loaded(kind: type[Any], config: Any, overrides: dict[str, Any]) -> Any:
    """A segmenter or a generator, given or built.

    Raises:
        ValueError: for one of another kind, or overrides of one that is given.
    """
    called, other = ("generator", "segment") if kind is Generator else ("segmenter", "generate")
    if isinstance(config, str):
        config = load(config, **overrides)
    elif overrides:
        raise ValueError(f"overrides: expected none with a loaded {called}, got {', '.join(overrides)}")
    if not isinstance(config, kind):
        raise ValueError(f"config: expected one of a {called.title()}, got {type(config).__name__}; see `peekaboo.{other}`")
    return config


def _bar(iterations: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=iterations, desc="segmenting", unit="iteration")


def _start(given: Any) -> Start | None:
    if given is None or isinstance(given, Start):
        return given
    maps = given if isinstance(given, list) else [given]
    return Given([item.alpha if isinstance(item, Result) else item for item in maps])
