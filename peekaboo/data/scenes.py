"""The embedded world: seeded scenes composed of Fluent 3D emoji.

A scene shows 1 to 3 named objects, resized, flipped, rotated, slightly recoloured and possibly occluding one another, on a
procedural background. With it come the caption, the visible mask of every object and a depth map, so that the project can
train its embedded teacher, CLIP and depth model, and measure masks, without any download.

The same ``(seed, index)`` gives the same scene on every machine; see :func:`compose`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .backgrounds import TRAINING_BACKGROUNDS, paint_background

ASSETS = Path(__file__).resolve().parent.parent / "assets"
Kind = Literal["single", "pair", "triple", "referring"]
KINDS: tuple[Kind, ...] = ("single", "pair", "triple", "referring")
#: Names that are said without an article ("scissors", not "a scissors").
WITHOUT_ARTICLE = frozenset({"grapes", "cherries", "scissors", "broccoli", "corn"})
#: Ranges of an object's longer side, as a fraction of the scene's side.
SIZES: dict[Kind, tuple[float, float]] = {
    "single": (0.34, 0.86),
    "pair": (0.32, 0.58),
    "triple": (0.26, 0.44),
    "referring": (0.28, 0.56),
}
#: Names that say a colour, and are never recoloured.
OF_ONE_COLOUR = frozenset({"red car", "red apple", "green apple"})
GHOST = (0.2, 0.9)  # opacities of an object that shines through
MIN_VISIBLE = 0.65  # every object keeps this share of its own area uncovered
EMPHASISED = 0.5  # share of the scenes that show one of the words to emphasise
SIMILAR = 8  # a "similar" distractor is one of that many nearest names by mean colour


@dataclass(frozen=True)
class Scene:
    """One composed scene of ``size`` x ``size`` pixels.

    Attributes:
        image: (H, W, 3) uint8.
        prompt: the caption; empty for guidance samples.
        target: (H, W) bool, the visible pixels of all objects that the prompt names.
        masks: (n, H, W) bool, the visible pixels of each object.
        depth: (H, W) float32 in [0, 1], inverse depth as MiDaS has it: 1 is nearest.
        names: the n objects, back to front.
        named: indices into ``names`` of the objects that the prompt names.
        background: family of the background.
    """

    image: NDArray[np.uint8]
    prompt: str
    target: NDArray[np.bool_]
    masks: NDArray[np.bool_]
    depth: NDArray[np.float32]
    names: tuple[str, ...]
    named: tuple[int, ...]
    background: str


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, str]:
    """Returns the 122 names of the embedded world and their code points, in the order of the vocabulary file."""
    with (ASSETS / "vocabulary.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row["code_points"] for row in csv.DictReader(file)}


def check_emphasis(names: Sequence[str]) -> None:
    """Raises a ValueError if one of the names to emphasise is not in the vocabulary."""
    if unknown := sorted(set(names) - set(vocabulary())):
        raise ValueError(f"emphasis: expected words of the embedded world, got {', '.join(unknown)}")


@cache
def sprite(name: str) -> Image.Image:
    """Returns the RGBA sprite of one name, cropped to its visible pixels.

    Raises:
        ValueError: if ``name`` is not in the vocabulary.
    """
    if name not in vocabulary():
        raise ValueError(f"name: expected one of the {len(vocabulary())} words of the embedded world, got {name!r}")
    image = Image.open(ASSETS / "sprites" / f"{vocabulary()[name]}.webp").convert("RGBA")
    return image.crop(image.getchannel("A").point([0] * 16 + [255] * 240).getbbox())


@lru_cache(maxsize=1)
def _similar_names() -> dict[str, list[str]]:
    """For each name, the names of most similar mean colour (L2 in RGB), nearest first."""
    names = list(vocabulary())
    colours = []
    for name in names:
        pixels = np.asarray(sprite(name), dtype=np.float32)
        weight = pixels[..., 3:] / 255
        colours.append((pixels[..., :3] * weight).sum((0, 1)) / weight.sum())
    distance = np.linalg.norm(np.stack(colours)[:, None] - np.stack(colours)[None], axis=-1)
    return {name: [names[j] for j in np.argsort(row)[1 : SIMILAR + 1]] for name, row in zip(names, distance, strict=True)}


def noun_phrase(name: str) -> str:
    """Returns the name with its indefinite article: "a rocket", "an owl", "scissors"."""
    if name in WITHOUT_ARTICLE:
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _place(name: str, extent: float, centre: tuple[float, float], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draws one transformed sprite on an empty canvas: (size, size, 4) float32 in [0, 1], colour not premultiplied."""
    image = sprite(name)
    scale = extent * size / max(image.size)
    image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)), Image.Resampling.BOX)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(float(rng.normal(0, 9)), Image.Resampling.BICUBIC, expand=True)
    canvas = Image.new("RGBA", (size, size))
    canvas.paste(image, (round(centre[0] * size - image.width / 2), round(centre[1] * size - image.height / 2)))
    pixels = np.asarray(canvas, dtype=np.float32) / 255
    jitter = np.append(rng.uniform(0.9, 1.1, 3), 1).astype(np.float32)
    return np.clip(pixels * jitter, 0, 1)


def _centre(extent: float, rng: np.random.Generator) -> tuple[float, float]:
    margin = 0.42 * extent  # a little may leave the image
    low, high = margin, max(1 - margin, margin + 1e-3)
    x, y = rng.uniform(low, high, 2)
    return float(x), float(y)


def _visible(layers: list[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Visible pixels of each layer, back to front: opaque, and covered by no layer before it."""
    opaque = np.stack([layer[..., 3] > 0.5 for layer in layers])
    covered = np.zeros_like(opaque)
    for i in range(len(layers)):
        covered[i] = opaque[i + 1 :].any(0)
    return opaque & ~covered


def _draw_objects(
    names: list[str], extents: list[float], size: int, rng: np.random.Generator, apart: int | None
) -> tuple[list[NDArray[np.float32]], list[tuple[float, float]]]:
    """Places the objects so that each stays at least ``MIN_VISIBLE`` uncovered; ``apart`` is an axis to separate them on."""
    layers: list[NDArray[np.float32]] = []
    centres: list[tuple[float, float]] = []
    for _ in range(30):
        centres = [_centre(extent, rng) for extent in extents]
        if apart is not None and abs(centres[0][apart] - centres[1][apart]) < 0.3:
            continue
        layers = [_place(n, e, c, size, rng) for n, e, c in zip(names, extents, centres, strict=True)]
        opaque = np.array([(layer[..., 3] > 0.5).sum() for layer in layers])
        share = _visible(layers).sum((1, 2)) / np.maximum(opaque, 1)
        if (share >= MIN_VISIBLE).all() and opaque.min() >= 16:
            return layers, centres
        extents = [max(e * 0.96, 0.2) for e in extents]
    # Thirty tries failed: shrink onto a diagonal, where the objects cannot cover each other.
    step = 1 / len(names)
    centres = [((i + 0.5) * step, (i + 0.5) * step) for i in range(len(names))]
    return [_place(n, 0.8 * step, c, size, rng) for n, c in zip(names, centres, strict=True)], centres


def _depth(layers: list[NDArray[np.float32]], visible: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Inverse depth: a tilted background, then one layer an object, each rounded like a relief."""
    size = visible.shape[-1]
    near, far = rng.uniform(0.1, 0.3), rng.uniform(0.0, 0.1)
    depth = np.repeat(np.linspace(far, near, size, dtype=np.float32)[:, None], size, axis=1)
    levels = np.sort(rng.uniform(0.42, 0.85, len(layers)))
    for layer, mask, level in zip(layers, visible, levels, strict=True):
        opaque = Image.fromarray(((layer[..., 3] > 0.5) * 255).astype(np.uint8))
        relief = np.asarray(opaque.filter(ImageFilter.GaussianBlur(size / 16)), dtype=np.float32) / 255
        depth[mask] = (level + 0.15 * (2 * relief - 1).clip(0, 1))[mask]
    return depth


def _recoloured(layer: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Turns a layer's hue by any angle and scales its saturation by 0 (grey) to 1.2; brightness and shape stay."""
    hsv = np.asarray(Image.fromarray(np.round(layer[..., :3] * 255).astype(np.uint8)).convert("HSV"), dtype=np.float32)
    hsv = np.stack(((hsv[..., 0] + rng.uniform(0, 256)) % 256, hsv[..., 1] * rng.uniform(0, 1.2), hsv[..., 2]), axis=-1)
    rgb = np.asarray(Image.fromarray(np.clip(hsv, 0, 255).astype(np.uint8), "HSV").convert("RGB"), dtype=np.float32) / 255
    return np.concatenate((rgb, layer[..., 3:]), axis=-1).astype(np.float32)


def _choose_names(kind: Kind, rng: np.random.Generator, emphasis: Sequence[str]) -> list[str]:
    names = list(vocabulary())
    firsts = list(emphasis) if emphasis and rng.random() < EMPHASISED else names
    first = firsts[rng.integers(len(firsts))]
    if kind == "single":
        return [first]
    if kind == "referring":
        return [first, first]
    chosen = [first]
    while len(chosen) < (2 if kind == "pair" else 3):
        pool = _similar_names()[first] if rng.random() < 1 / 3 else names
        other = pool[rng.integers(len(pool))]
        if other not in chosen:
            chosen.append(other)
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _referring(name: str, rng: np.random.Generator, size: int) -> tuple[list[NDArray[np.float32]], str, int]:
    """Two of a kind and a phrase that tells them apart by place or by size: layers, caption, index of the one meant."""
    if rng.random() < 1 / 3:
        extents = [float(rng.uniform(0.26, 0.32)), float(rng.uniform(0.48, 0.6))]
        layers, _ = _draw_objects([name, name], extents, size, rng, apart=None)
        meant = int(rng.integers(2))
        return layers, f"the {('small', 'big')[meant]} {name}", meant
    low, high = SIZES["referring"]
    axis = int(rng.random() < 0.3)
    extents = [float(rng.uniform(low, 0.8 * high)) for _ in range(2)]
    layers, centres = _draw_objects([name, name], extents, size, rng, apart=axis)
    meant = int(rng.integers(2))
    first = centres[meant][axis] < centres[1 - meant][axis]
    where = (("on the right", "on the left"), ("at the bottom", "at the top"))[axis][int(first)]
    return layers, f"the {name} {where}", meant


def compose(
    seed: int,
    index: int,
    kind: Kind = "single",
    *,
    size: int = 128,
    partial: bool = True,
    backgrounds: tuple[str, ...] = TRAINING_BACKGROUNDS,
    recolour: float = 0.0,
    ghosts: float = 0.0,
    emphasis: Sequence[str] = (),
) -> Scene:
    """Composes one scene.

    Args:
        seed: of the data set; training and benchmark use different ones.
        index: of the scene within the data set.
        kind: ``single`` (one object), ``pair``, ``triple`` or ``referring`` (two of a kind told apart by the caption).
        size: side in pixels.
        partial: of a pair or triple, name one object only; else name all of them.
        backgrounds: families to choose from.
        recolour: share of the objects that are shown in a colour that is not theirs.
        ghosts: share of the scenes that name several objects in which one of them shines through, at an opacity in ``GHOST``.
        emphasis: names of which half of the scenes show one, whatever else they show.

    Returns:
        The scene; equal arguments give equal pixels.

    Raises:
        ValueError: for an unknown kind or a size under 16, or if ``emphasis`` has a word that is not in the vocabulary.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if size < 16:
        raise ValueError(f"size: expected at least 16 pixels, got {size}")
    check_emphasis(emphasis)
    rng = np.random.default_rng([seed, index, KINDS.index(kind)])
    background = backgrounds[rng.integers(len(backgrounds))]
    names = _choose_names(kind, rng, emphasis)
    if kind == "referring":
        layers, prompt, meant = _referring(names[0], rng, size)
        named: tuple[int, ...] = (meant,)
    else:
        extents = [float(rng.uniform(*SIZES[kind])) for _ in names]
        layers, _ = _draw_objects(names, extents, size, rng, apart=None)
        named = (int(rng.integers(len(names))),) if partial else tuple(range(len(names)))
        prompt = " and ".join(noun_phrase(names[i]) for i in named)
    paint = np.random.default_rng([seed, index, KINDS.index(kind), 1])  # its own, so that a scene differs by nothing but colour
    changed = [paint.random() < recolour and name not in OF_ONE_COLOUR for name in names]
    layers = [_recoloured(layer, paint) if change else layer for layer, change in zip(layers, changed, strict=True)]
    visible = _visible(layers)
    image = paint_background(background, size, rng)
    opacities = np.ones(len(layers), dtype=np.float32)
    if len(named) > 1 and paint.random() < ghosts:
        opacities[paint.integers(len(layers))] = paint.uniform(*GHOST)
    for layer, opacity in zip(layers, opacities, strict=True):
        cover = layer[..., 3:] * opacity
        image = image * (1 - cover) + layer[..., :3] * cover
    return Scene(
        image=np.round(np.clip(image, 0, 1) * 255).astype(np.uint8),
        prompt=prompt,
        target=np.asarray(visible[list(named)].any(0)),
        masks=visible,
        depth=_depth(layers, visible, rng),
        names=tuple(names),
        named=named,
        background=background,
    )
