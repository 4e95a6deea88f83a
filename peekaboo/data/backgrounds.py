"""Procedural backgrounds of the embedded world: (size, size, 3) float32 in [0, 1], from a family name and a generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Canvas = NDArray[np.float32]


def _colour(rng: np.random.Generator) -> Canvas:
    return rng.random(3).astype(np.float32)


def _blend(weight: Canvas, first: Canvas, second: Canvas) -> Canvas:
    return (first * (1 - weight[..., None]) + second * weight[..., None]).astype(np.float32)


def _axis(size: int, rng: np.random.Generator) -> Canvas:
    """Coordinate along a random direction, about [-0.7, 0.7]: (size, size)."""
    angle = rng.uniform(0, 2 * np.pi)
    t = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    return (np.cos(angle) * t[None] + np.sin(angle) * t[:, None]).astype(np.float32)


def value_noise(size: int, cells: int, rng: np.random.Generator) -> Canvas:
    """Smooth noise in [0, 1]: a random grid of ``cells`` x ``cells`` values, bicubically enlarged."""
    grid = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / np.float32(255)


def _fractal(size: int, rng: np.random.Generator) -> Canvas:
    octaves = [3, 6, 12, 24]
    noise = sum(value_noise(size, c, rng) / 2**i for i, c in enumerate(octaves))
    return np.asarray(noise / sum(1 / 2**i for i in range(len(octaves))), dtype=np.float32)


def _flat(size: int, rng: np.random.Generator) -> Canvas:
    return np.broadcast_to(_colour(rng), (size, size, 3)).astype(np.float32)


def _graded(size: int, rng: np.random.Generator) -> Canvas:
    return _blend((_axis(size, rng) + 0.7) / 1.4, _colour(rng), _colour(rng))


def _noisy(size: int, rng: np.random.Generator) -> Canvas:
    grain = rng.normal(0, rng.uniform(0.03, 0.15), (size, size, 3))
    return (_graded(size, rng) + grain).astype(np.float32)


def _striped(size: int, rng: np.random.Generator) -> Canvas:
    wave = np.sin(2 * np.pi * _axis(size, rng) * rng.uniform(3, 10))
    return _blend((wave > 0).astype(np.float32), _colour(rng), _colour(rng))


def _checkered(size: int, rng: np.random.Generator) -> Canvas:
    t = np.arange(size) // max(int(size / rng.integers(3, 10)), 1)
    return _blend(((t[None] + t[:, None]) % 2).astype(np.float32), _colour(rng), _colour(rng))


def _textured(size: int, rng: np.random.Generator) -> Canvas:
    return _blend(_fractal(size, rng), _colour(rng), _colour(rng))


def _photo(size: int, rng: np.random.Generator) -> Canvas:
    """Photograph-like: sky and ground with a rough horizon, soft lights, blur, vignette and grain."""
    sky, ground = _graded(size, rng), _textured(size, rng)
    rows = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    edge = rng.uniform(0.35, 0.75) + 0.2 * (value_noise(size, int(rng.integers(3, 9)), rng)[:1] - 0.5)
    image = _blend((rows > edge).astype(np.float32), sky, ground)
    t = np.linspace(0, 1, size, dtype=np.float32)
    for _ in range(int(rng.integers(0, 5))):
        x, y, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.04, 0.2)
        light = np.exp(-((((t[None] - x) ** 2 + (t[:, None] - y) ** 2) / radius**2) ** 2)).astype(np.float32)
        image = _blend(light * rng.uniform(0.3, 0.9), image, _colour(rng)).astype(np.float32)
    pixels = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    image = np.asarray(pixels.filter(ImageFilter.GaussianBlur(size / 128 * rng.uniform(0, 3))), dtype=np.float32) / np.float32(
        255
    )
    vignette = 1 - rng.uniform(0, 0.6) * ((t[None] - 0.5) ** 2 + (t[:, None] - 0.5) ** 2)[..., None]
    return (image * vignette + rng.normal(0, 0.015, image.shape)).astype(np.float32)


def _dotted(size: int, rng: np.random.Generator) -> Canvas:
    period = size / rng.integers(4, 11)
    t = (np.arange(size) % period) / period - 0.5
    disc = t[None] ** 2 + t[:, None] ** 2 < rng.uniform(0.04, 0.14)
    return _blend(disc.astype(np.float32), _colour(rng), _colour(rng))


def _marbled(size: int, rng: np.random.Generator) -> Canvas:
    wave = np.sin(2 * np.pi * (_axis(size, rng) * rng.uniform(2, 5) + 1.5 * _fractal(size, rng)))
    return _blend((0.5 + 0.5 * wave).astype(np.float32), _colour(rng), _colour(rng))


_FAMILIES: dict[str, Callable[[int, np.random.Generator], Canvas]] = {
    "flat": _flat,
    "graded": _graded,
    "noisy": _noisy,
    "striped": _striped,
    "checkered": _checkered,
    "textured": _textured,
    "photo": _photo,
    "dotted": _dotted,
    "marbled": _marbled,
}
#: Families that no training ever sees; the benchmark shows them beside the others.
HELD_OUT_BACKGROUNDS = ("dotted", "marbled")
TRAINING_BACKGROUNDS = tuple(name for name in _FAMILIES if name not in HELD_OUT_BACKGROUNDS)
BACKGROUNDS = tuple(_FAMILIES)


def paint_background(family: str, size: int, rng: np.random.Generator) -> Canvas:
    """Returns a (size, size, 3) float32 background in [0, 1].

    Raises:
        ValueError: for an unknown family.
    """
    if family not in _FAMILIES:
        raise ValueError(f"family: expected one of {', '.join(_FAMILIES)}, got {family!r}")
    return np.clip(_FAMILIES[family](size, rng), 0, 1)
