"""Varies a sprite, so that a look is not one picture: what is learned from it must hold for other drawings.

Each change is drawn on its own; all of them keep what the object is. None is applied to the scenes of the benchmark.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

#: Share of the varied sprites that each change is applied to.
SHARES = {"warped": 0.5, "recoloured": 0.6, "posterised": 0.25, "shaded": 0.35, "outlined": 0.35, "cut": 0.1}


def _colours(image: Image.Image, pixels: NDArray[np.float32]) -> Image.Image:
    """The image with other colours, (H, W, 3) in [0, 255], and its own opacity."""
    changed = Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
    changed.putalpha(image.getchannel("A"))
    return changed


def _flat(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The RGB image in 3 to 6 flat colours: those of its opaque part, found on a thumbnail, which is as good and much quicker."""
    pixels = np.asarray(image, dtype=np.float32)
    weight = pixels[..., 3:]
    mean = (pixels[..., :3] * weight).sum((0, 1)) / weight.sum().clip(1)
    filled = Image.new("RGB", image.size, tuple(int(value) for value in mean))
    filled.paste(image, (0, 0), image)
    few = filled.resize((32, 32), Image.Resampling.BILINEAR).quantize(int(rng.integers(3, 7)), Image.Quantize.MEDIANCUT)
    return filled.quantize(palette=few, dither=Image.Dither.NONE).convert("RGB")


def warped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Moves the four corners: a slight perspective, shear and change of proportions."""
    w, h = image.size
    pad = max(round(0.12 * max(w, h)), 1)
    canvas = Image.new("RGBA", (w + 2 * pad, h + 2 * pad))
    canvas.paste(image, (pad, pad))
    corners = np.array([(0, 0), (0, canvas.height), (canvas.width, canvas.height), (canvas.width, 0)], dtype=np.float64)
    moved = corners + rng.uniform(-pad, pad, (4, 2))
    return canvas.transform(canvas.size, Image.Transform.QUAD, tuple(moved.ravel()), Image.Resampling.BILINEAR)


def recoloured(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shifts the hue by up to 15 degrees, and scales saturation, brightness and contrast."""
    hue, saturation, value = image.convert("RGB").convert("HSV").split()
    shift = int(rng.integers(-10, 11))
    hue = hue.point([(v + shift) % 256 for v in range(256)])
    strength = rng.uniform(0.1, 0.5) if rng.random() < 0.15 else rng.uniform(0.7, 1.4)
    saturation = saturation.point([min(round(v * strength), 255) for v in range(256)])
    pixels = np.asarray(Image.merge("HSV", (hue, saturation, value)).convert("RGB"), dtype=np.float32)
    return _colours(image, (pixels - 128) * rng.uniform(0.75, 1.25) + 128 + rng.uniform(-30, 30))


def posterised(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Keeps 3 to 6 flat colours."""
    return _colours(image, np.asarray(_flat(image, rng), dtype=np.float32))


def shaded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light from one side: brighter there, darker on the other, by up to a third."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.35)
    x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in image.size)
    light = 1 + strength * (np.cos(angle) * x[None] + np.sin(angle) * y[:, None])
    return _colours(image, np.asarray(image.convert("RGB"), dtype=np.float32) * light[..., None])


def outlined(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draws a line in a dark colour around the object and, of the same width, where its colours meet."""
    radius = max(round(rng.uniform(0.01, 0.028) * max(image.size)), 1)
    padded = Image.new("RGBA", (image.width + 2 * radius, image.height + 2 * radius))
    padded.paste(image, (radius, radius))
    solid = padded.getchannel("A").point([0] * 128 + [255] * 128)
    grown = solid.filter(ImageFilter.MaxFilter(2 * radius + 1))
    line = ImageChops.subtract(grown, solid)
    if rng.random() < 0.7:
        smooth = _flat(padded, rng).filter(ImageFilter.MedianFilter(3)).convert("L")
        step = ImageChops.subtract(smooth.filter(ImageFilter.MaxFilter(3)), smooth.filter(ImageFilter.MinFilter(3)))
        inner = step.point([0] * 26 + [255] * 230)
        if radius > 1:  # a window of one pixel changes nothing, and ends the process in Pillow 12
            inner = inner.filter(ImageFilter.MaxFilter(2 * (radius // 2) + 1))
        line = ImageChops.lighter(line, ImageChops.darker(inner, solid))
    ink = Image.new("RGBA", padded.size, (*(int(v) for v in rng.integers(0, 60, 3)), 255))
    padded.paste(ink, (0, 0), line)
    return padded


def cut(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Takes away what lies beyond a straight line, up to a third of the extent: as if something hid it."""
    angle, share = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.33)
    x, y = (np.linspace(-1, 1, n) for n in image.size)
    along = np.cos(angle) * x[None] + np.sin(angle) * y[:, None]
    keep = along < along.min() + (1 - share) * np.ptp(along)
    pixels = np.asarray(image).copy()
    pixels[..., 3] *= keep
    return Image.fromarray(pixels)


_CHANGES: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "posterised": posterised,
    "recoloured": recoloured,
    "shaded": shaded,
    "outlined": outlined,
    "warped": warped,
    "cut": cut,
}


def varied(image: Image.Image, rng: np.random.Generator, side: int = 128) -> Image.Image:
    """Returns the RGBA sprite with each of the changes in ``SHARES`` applied or not; equal generators give equal sprites.

    Args:
        image: the sprite; it stays as it is.
        rng: what is changed, and how.
        side: of the scene that it is for: a larger sprite is reduced to it first, since its pixels would cost time for nothing.
    """
    image = image.copy()
    image.thumbnail((side, side))
    for name, change in _CHANGES.items():
        if rng.random() < SHARES[name]:
            image = change(image, rng)
    return image


def shadow(layer: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns the (H, W) darkness that a layer's object casts on what lies behind it: soft, aside and below."""
    size = layer.shape[0]
    opacity = Image.fromarray(np.round(layer[..., 3] * 255).astype(np.uint8))
    soft = opacity.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.005, 0.04)))
    dx, dy = round(size * rng.uniform(-0.05, 0.05)), round(size * rng.uniform(0.0, 0.06))
    moved = Image.new("L", soft.size)
    moved.paste(soft, (dx, dy))
    return np.asarray(moved, dtype=np.float32) / np.float32(255) * np.float32(rng.uniform(0.1, 0.5))


def degraded(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns the (H, W, 3) picture in [0, 1] blurred (three in ten) or compressed as a JPEG (three in ten), or as it is."""
    draw = rng.random()
    if draw >= 0.6:
        return image
    picture = Image.fromarray(np.round(np.clip(image, 0, 1) * 255).astype(np.uint8))
    if draw < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0) * image.shape[0] / 128))
    else:
        memory = io.BytesIO()
        picture.save(memory, "JPEG", quality=int(rng.integers(35, 90)))
        picture = Image.open(memory)
    return np.asarray(picture, dtype=np.float32) / np.float32(255)
