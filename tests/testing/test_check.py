"""The checks pass what ships, and find each way to break a contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peekaboo.alphas import Alpha, Bilateral, Competing, Fourier, Raster
from peekaboo.backgrounds import Background, FadingImage, FixedColour, RandomColour
from peekaboo.functional.random import Draws
from peekaboo.guides import RGB, Depth, Guide
from peekaboo.losses import CLIPLoss, Loss, ScoreDistillation
from peekaboo.teachers import CLIP, Diffusion
from peekaboo.testing import check

SHIPPED: dict[str, Callable[..., Any]] = {
    "raster": lambda *_: Raster(),
    "fourier": lambda *_: Fourier(features=6, scale=2.0, width=10, depth=2),
    "bilateral": lambda *_: Bilateral(Fourier(features=6, width=10, depth=1), RGB(), passes=3),
    "competing": lambda *_: Competing(Raster()),
    "rgb": lambda *_: RGB(),
    "depth": lambda pipeline, clip, depth: Depth(str(depth)),
    "distillation": lambda pipeline, *_: ScoreDistillation(Diffusion(str(pipeline)), guidance=5.0),
    "clip": lambda pipeline, clip, depth: CLIPLoss(CLIP(str(clip))),
    "random colour": lambda *_: RandomColour(),
    "fixed colour": lambda *_: FixedColour(),
    "fading image": lambda *_: FadingImage(),
}


@pytest.mark.parametrize("make", SHIPPED.values(), ids=SHIPPED)
def test_what_ships_passes(make: Callable[..., Any], pipeline: Path, clip_folder: Path, depth_folder: Path) -> None:
    check(make(pipeline, clip_folder, depth_folder))


class Neighbourly(Raster):
    def logits(self) -> Tensor:
        return super().logits() - super().logits().mean(0, keepdim=True)


class Restless(Raster):
    def logits(self) -> Tensor:
        return super().logits() + torch.rand(())


class Global(Raster):
    def reset(self, image: Tensor, seeds: list[int]) -> None:
        super().reset(image, seeds)
        self.field = nn.Parameter(torch.randn(len(image), 1, *image.shape[-2:]))

    def logits(self) -> Tensor:
        return self.field


class Flat(Raster):
    def logits(self) -> Tensor:
        return super().logits()[:, 0]


class Idle(Raster):
    def reset(self, image: Tensor, seeds: list[int]) -> None:
        super().reset(image, seeds)
        self.unused = nn.Parameter(torch.zeros(len(image)))


class Shared(Raster):
    def reset(self, image: Tensor, seeds: list[int]) -> None:
        super().reset(image, seeds)
        self.gain = nn.Parameter(torch.ones(1))

    def logits(self) -> Tensor:
        return super().logits() * self.gain


def guide(function: Callable[[Tensor], Tensor]) -> Guide:
    return type("Mine", (Guide,), {"forward": lambda self, image: function(image)})()


def loss(function: Callable[[Tensor, Draws], Tensor]) -> Loss:
    return type("Mine", (Loss,), {"forward": lambda self, composite, prompts, draws: function(composite, draws)})()


def background(function: Callable[[Tensor, Draws], Tensor]) -> Background:
    return type("Mine", (Background,), {"forward": lambda self, image, draws: function(image, draws)})()


BROKEN: dict[str, tuple[Any, str]] = {
    "neighbours": (Neighbourly(), "maps that do not depend on their neighbours"),
    "restless": (Restless(), "the same logits from two calls"),
    "global": (Global(), "the same start from the same seeds"),
    "flat": (Flat(), "logits of shape (3, 1, 16, 16), got (3, 16, 16)"),
    "idle": (Idle(), "a finite gradient that is not 0 on `unused`"),
    "shared": (Shared(), "`gain` to begin with one entry for each of 3 maps, got (1,)"),
    "guide of one": (guide(lambda image: image[:1]), "features of shape (3, any, 16, 16)"),
    "guide by batch": (guide(lambda image: image - image.mean()), "the same features of an image alone"),
    "guide in place": (guide(lambda image: image.mul_(0.5)), "the image to stay as it is"),
    "guide of chance": (guide(torch.rand_like), "the same features from two calls"),
    "guide of nan": (guide(lambda image: image / 0 * 0), "finite features"),
    "one loss": (loss(lambda x, draws: x.mean()), "one value a sample"),
    "detached": (loss(lambda x, draws: x.detach().mean((1, 2, 3))), "values that are differentiable"),
    "loss by batch": (loss(lambda x, draws: (x - x.mean()).square().sum((1, 2, 3))), "a value that does not depend"),
    "loss of chance": (loss(lambda x, draws: (x * torch.rand_like(x)).mean((1, 2, 3))), "the same values from the same draws"),
    "constant": (loss(lambda x, draws: 0 * x.sum((1, 2, 3))), "a finite gradient that is not 0"),
    "too bright": (background(lambda image, draws: 2 + draws.uniform(3, 1, 1)), "values in [0, 1]"),
    "chance": (background(lambda image, draws: torch.rand_like(image)), "the same background from the same draws"),
    "wrong shape": (background(lambda image, draws: torch.zeros(7)), "a background that broadcasts to (3, 3, 16, 16)"),
    "by batch": (background(lambda image, draws: image.mean().expand(1, 3, 1, 1)), "the same background alone"),
}


@pytest.mark.parametrize(("part", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_found(part: Alpha | Guide | Loss | Background, message: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(message)) as caught:
        check(part)
    assert str(caught.value).startswith(type(part).__name__) and "\n" not in str(caught.value)


def test_anything_else_is_refused() -> None:
    with pytest.raises(TypeError, match="part: expected an alpha, a guide, a loss or a background, got Linear"):
        check(nn.Linear(2, 2))  # type: ignore[arg-type]
