"""Where in a denoiser its features are read, and where in a segmentation network they come in: by position, not by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusers import Transformer2DModel
from torch import nn


@dataclass(frozen=True)
class Place:
    """One spatial transformer of a U-Net. What it gives out, residual included, is a feature map.

    Attributes:
        number: from 1, in the order of the forward pass, as LD-ZNet numbers them.
        name: of the module within the U-Net.
        path: of the U-Net that it lies on: ``down``, ``mid`` or ``up``.
        level: of that path.
        channels: of the feature map.
        stride: places of the latent a side of one of the feature map.
    """

    number: int
    name: str
    path: str
    level: int
    channels: int
    stride: int


def places_of(unet: Any) -> list[Place]:
    """Returns the spatial transformers of a `UNet2DConditionModel` in the order of its forward pass: 16 in Stable Diffusion 1.x.

    Args:
        unet: of diffusers, on any device, the meta device included.
    """
    deepest = len(unet.down_blocks) - 1
    levels = [("down", f"down_blocks.{i}", i, 2**i, block) for i, block in enumerate(unet.down_blocks)]
    levels.append(("mid", "mid_block", 0, 2**deepest, unet.mid_block))
    levels += [("up", f"up_blocks.{i}", i, 2 ** (deepest - i), block) for i, block in enumerate(unet.up_blocks)]
    found: list[Place] = []
    for path, name, level, stride, block in levels:
        for i, attention in enumerate(getattr(block, "attentions", None) or ()):
            if isinstance(attention, Transformer2DModel):
                found.append(
                    Place(len(found) + 1, f"{name}.attentions.{i}", path, level, int(attention.in_channels), int(stride))
                )
    return found


def published_places(places: Sequence[Place]) -> list[Place]:
    """Returns the places around the middle that LD-ZNet reads (section 3.2.1): blocks 6 to 10 of Stable Diffusion 1.x.

    In any U-Net these are the last transformer before the middle, those of the middle, and those of the first level of the way
    up that has any.

    Raises:
        ValueError: if the U-Net has no transformer in its middle.
    """
    before = [place for place in places if place.path == "down"][-1:]
    middle = [place for place in places if place.path == "mid"]
    up = [place for place in places if place.path == "up"]
    behind = [place for place in up if place.level == up[0].level]
    if not middle:
        raise ValueError("blocks: expected a U-Net with attention in its middle, got one without; say which blocks")
    return [*before, *middle, *behind]


def chosen_places(places: Sequence[Place], numbers: Sequence[int] | None) -> list[Place]:
    """Returns the places of some numbers in the order of the forward pass; None for :func:`published_places`.

    Raises:
        ValueError: for a number that there is not, or none at all.
    """
    if numbers is None:
        return published_places(places)
    if not numbers or len(set(numbers)) < len(numbers) or not set(numbers) <= {place.number for place in places}:
        raise ValueError(f"blocks: expected different ones of the blocks 1..{len(places)} of this U-Net, got {list(numbers)}")
    return [place for place in places if place.number in numbers]


def at(unet: nn.Module, place: Place) -> nn.Module:
    """Returns the module of a place."""
    return unet.get_submodule(place.name)
