"""What every alpha, guide, loss and background has to keep, tried out on small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import torch
from torch import Tensor, nn

from ..alphas.base import Alpha
from ..backgrounds.base import Background
from ..functional.random import Draws
from ..guides.base import Guide
from ..losses.base import Loss

SEEDS = (3, 14, 15)
PROMPTS = ("a red apple", "a teddy bear", "a bus")


def check(part: Alpha | Guide | Loss | Background, size: tuple[int, int] = (16, 16), prompts: Sequence[str] = PROMPTS) -> None:
    """Tries out whether a part of yours keeps its contract: shapes, ranges, gradients, independence of neighbours, determinism.

    Args:
        part: an alpha, a guide, a loss or a background. An alpha is started anew.
        size: height and width in pixels of the pictures that it is given; a loss with a network may need its own.
        prompts: three, for a loss that does not know the usual ones.

    Raises:
        AssertionError: in one line, with what was expected and what came.
        TypeError: for anything else.

    Example:
        >>> from peekaboo.alphas import Raster
        >>> check(Raster())
    """
    if len(prompts) != len(SEEDS):
        raise ValueError(f"prompts: expected {len(SEEDS)}, got {len(prompts)}")
    images = torch.rand(len(SEEDS), 3, *size, generator=torch.Generator().manual_seed(0))
    own = next((parameter.device for parameter in part.parameters()), torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):  # numbers from the global generator would differ from one call to the next
        _check(part, images.to(own), list(prompts))


@singledispatch
def _check(part: object, images: Tensor, prompts: list[str]) -> None:
    raise TypeError(f"part: expected an alpha, a guide, a loss or a background, got {type(part).__name__}")


def _expect(holds: bool, part: object, what: str) -> None:
    if not holds:
        raise AssertionError(f"{type(part).__name__}: expected {what}")


def _same(first: Tensor, second: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two tensors are the same but for rounding, which may depend on the number of samples."""
    return first.shape == second.shape and torch.allclose(first, second, rtol=tolerance, atol=tolerance)


@_check.register
def _(part: Alpha, images: Tensor, prompts: list[str]) -> None:
    image = images[:1].expand_as(images) if part.coupled else images
    count, size = len(images), tuple(images.shape[-2:])

    def started(seeds: Sequence[int], of: Tensor) -> Tensor:
        part.reset(of, list(seeds))
        return part.logits()

    started(SEEDS[:1], torch.rand(1, 3, 9, 7).to(images))  # `reset` has to forget another size and number
    logits = started(SEEDS, image)
    _expect(logits.shape == (count, 1, *size), part, f"logits of shape {(count, 1, *size)}, got {tuple(logits.shape)}")
    _expect(bool(logits.isfinite().all()), part, "finite logits")
    _expect(torch.equal(part.logits(), logits), part, "the same logits from two calls")
    _expect(part().shape == logits.shape and bool((part() >= 0).all() and (part() <= 1).all()), part, "opacities in [0, 1]")
    trained = [(name, p) for name, p in part.named_parameters() if p.requires_grad]
    _expect(bool(trained), part, "parameters that train, made by `reset`")
    for name, parameter in trained:
        shape = tuple(parameter.shape)
        _expect(shape[:1] == (count,), part, f"`{name}` to begin with one entry for each of {count} maps, got {shape}")
    (logits * torch.rand_like(logits)).sum().backward()
    for name, parameter in trained:
        reached = parameter.grad is not None and bool(parameter.grad.isfinite().all() and parameter.grad.any())
        _expect(reached, part, f"a finite gradient that is not 0 on `{name}`")
    _expect(torch.equal(started(SEEDS, image), logits), part, "the same start from the same seeds")
    if part.coupled:
        return
    gradients = torch.autograd.grad(part.logits()[0].sum(), _parameters(part), allow_unused=True)
    leaked = any(gradient is not None and gradient[1:].any() for gradient in gradients)
    _expect(not leaked, part, "maps that do not depend on their neighbours' parameters (or `coupled = True`)")
    alone = started(SEEDS[1:2], image[1:2])
    _expect(_same(alone[0], logits[1]), part, "the same map alone as beside others; draw with `Draws(seeds)`")


def _parameters(part: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in part.parameters() if parameter.requires_grad]


@_check.register
def _(part: Guide, images: Tensor, prompts: list[str]) -> None:
    before = images.clone()
    part.begin("stretch")
    features = part(images)
    count, size = len(images), tuple(images.shape[-2:])
    fits = features.ndim == 4 and features.shape[0] == count and tuple(features.shape[-2:]) == size
    _expect(fits, part, f"features of shape ({count}, any, {size[0]}, {size[1]}), got {tuple(features.shape)}")
    _expect(bool(features.isfinite().all()), part, "finite features")
    _expect(not features.requires_grad, part, "features without a gradient; subclass `Frozen` for a network")
    _expect(torch.equal(images, before), part, "the image to stay as it is")
    _expect(torch.equal(part(images), features), part, "the same features from two calls")
    _expect(_same(part(images[1:2])[0], features[1], 1e-3), part, "the same features of an image alone as beside others")


@_check.register
def _(part: Loss, images: Tensor, prompts: list[str]) -> None:
    def judged(of: Tensor, words: list[str], seeds: Sequence[int]) -> Tensor:
        return part(of, words, Draws(list(seeds), step=1, total=4, device=of.device, purpose="check"))

    composite = images.clone().requires_grad_()
    values = judged(composite, prompts, SEEDS)
    _expect(values.shape == (len(images),), part, f"one value a sample, ({len(images)},), got {tuple(values.shape)}")
    _expect(bool(values.isfinite().all()), part, "finite values")
    _expect(values.requires_grad, part, "values that are differentiable in the composite")
    (gradient,) = torch.autograd.grad(values[0], composite, retain_graph=True, allow_unused=True)
    _expect(gradient is not None and bool(gradient.isfinite().all() and gradient.any()), part, "a finite gradient that is not 0")
    assert gradient is not None
    _expect(not gradient[1:].any(), part, "a value that does not depend on its neighbours")
    values.sum().backward()
    trained = [name for name, parameter in part.named_parameters() if parameter.grad is not None]
    _expect(not trained, part, f"no gradient on networks, got one on {', '.join(trained[:3])}; subclass `Frozen` for a network")
    again = judged(images, prompts, SEEDS)
    _expect(
        _same(again, values.detach(), 1e-6), part, "the same values from the same draws; random numbers come from `draws` alone"
    )
    alone = judged(images[1:2], prompts[1:2], SEEDS[1:2])
    _expect(_same(alone[0], values[1].detach(), 1e-3), part, "the same value alone as beside others")


@_check.register
def _(part: Background, images: Tensor, prompts: list[str]) -> None:
    def drawn(of: Tensor, seeds: Sequence[int], step: int) -> Tensor:
        found = part(of, Draws(list(seeds), step=step, total=4, device=of.device, purpose="check"))
        try:
            return found.expand_as(of)
        except RuntimeError:
            _expect(False, part, f"a background that broadcasts to {tuple(of.shape)}, got {tuple(found.shape)}")
            raise

    for step in (0, 3):
        colours = drawn(images, SEEDS, step)
        inside = bool(colours.isfinite().all() and (colours >= 0).all() and (colours <= 1).all())
        _expect(inside, part, "values in [0, 1]")
        same = torch.equal(drawn(images, SEEDS, step), colours)
        _expect(same, part, "the same background from the same draws; random numbers come from `draws` alone")
        alone = _same(drawn(images[1:2], SEEDS[1:2], step)[0], colours[1])
        _expect(alone, part, "the same background alone as beside others")
