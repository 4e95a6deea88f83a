"""Learned images: what they start as, that members do not know of one another, and what a teacher must have for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

from peekaboo.functional.random import Draws
from peekaboo.images import Fourier, Image, Latent, Raster
from peekaboo.images.channel import Channel
from peekaboo.teachers import Diffusion

SIZE = (16, 16)
SMALL = {"features": 4, "width": 6, "depth": 2}
KINDS: list[Callable[[], Image]] = [Raster, lambda: Fourier(**SMALL), Latent]


@pytest.fixture(scope="module")
def teacher(pipeline: Path) -> Diffusion:
    return Diffusion(str(pipeline), decoder=True)


def started(make: Callable[[], Image], teacher: Diffusion, seeds: list[int]) -> Image:
    image = make()
    image.reset(Draws(seeds, purpose="image"), SIZE, teacher)
    return image


@pytest.mark.parametrize("make", KINDS)
def test_an_image_is_in_range_trains_and_does_not_depend_on_its_neighbours(make: Callable[[], Image], teacher: Diffusion) -> None:
    both = started(make, teacher, [3, 5])
    found = both()
    assert found.shape == (2, 3, *SIZE)
    assert found.dtype == torch.float32
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    torch.testing.assert_close(found[1:], started(make, teacher, [5])(), rtol=0, atol=1e-6)
    assert not torch.equal(found[0], found[1])
    found[0].sum().backward()
    for p in both.parameters():
        assert p.grad is not None and p.grad[0].abs().sum() > 0
        assert p.grad[1].abs().sum() == 0
    assert not any(p.requires_grad for p in teacher.parameters())


def test_a_latent_is_what_the_decoder_makes_of_it(teacher: Diffusion) -> None:
    image = started(Latent, teacher, [0])
    torch.testing.assert_close(image(), teacher.decode(image.latents).clamp(0, 1))
    assert [name for name, _ in image.named_parameters()] == ["latents"]


def test_a_fourth_channel_is_an_alpha_of_the_same_network(teacher: Diffusion) -> None:
    image = started(lambda: Fourier(**SMALL, opacity=True), teacher, [0, 1])
    alpha = Channel(image)
    assert alpha().shape == (2, 1, *SIZE)
    assert list(alpha.parameters()) == []
    alpha()[0].sum().backward()
    assert image.field.weights[0].grad is not None and image.field.weights[0].grad[0].abs().sum() > 0
    with pytest.raises(
        ValueError, match="alpha: expected one beside an image that has no opacity of its own, got null beside Ras"
    ):
        Channel(started(Raster, teacher, [0]))()


def test_what_a_latent_cannot_do_with_is_refused_in_one_line(pipeline: Path, teacher: Diffusion) -> None:
    with pytest.raises(
        ValueError, match="image: expected a loss whose teacher keeps its decoder for Latent, got one without; `--"
    ):
        started(Latent, Diffusion(str(pipeline)), [0])
    with pytest.raises(
        ValueError, match="resolution: expected a multiple of 2, the pixels of a place of the teacher's latents, "
    ):
        Latent().reset(Draws([0]), (15, 15), teacher)


def test_the_docs_image_is_an_image(teacher: Diffusion) -> None:
    page = (ROOT / "docs" / "generation.md").read_text(encoding="utf-8")
    example = next(block for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "class Flat" in block)
    names: dict[str, Any] = {}
    exec(compile(example, "generation.md", "exec"), names)
    assert started(names["Flat"], teacher, [0, 1])().shape == (2, 3, *SIZE)
