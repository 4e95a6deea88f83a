"""The embedded world: seeded scenes composed of emoji in several looks.

A scene shows 1 to 3 named objects, each in one of the looks that are asked for, resized, flipped, rotated, slightly recoloured
and possibly occluding one another, on a procedural background. With it come the caption, the visible mask of every object and a
depth map, so that the project can train its embedded teacher, CLIP and depth model, and measure masks, without any download.

The same ``(seed, index)`` gives the same scene on every machine; see :func:`compose`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .backgrounds import TRAINING_BACKGROUNDS, paint_background, value_noise
from .looks import FLUENT_3D, check_looks, drawn_by, names_of, sprite, vocabulary
from .variation import degraded, shadow, varied

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
SHADOWS = 0.3  # share of the varied objects that cast a shadow
DROPPED = 0.12  # most opacity of an object that a half-made mask leaves out
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
        looks: the look of each.
        named: indices into ``names`` of the objects that the prompt names.
        background: family of the background.
    """

    image: NDArray[np.uint8]
    prompt: str
    target: NDArray[np.bool_]
    masks: NDArray[np.bool_]
    depth: NDArray[np.float32]
    names: tuple[str, ...]
    looks: tuple[str, ...]
    named: tuple[int, ...]
    background: str


def check_emphasis(names: Sequence[str]) -> None:
    """Raises a ValueError if one of the names to emphasise is not in the vocabulary."""
    if unknown := sorted(set(names) - set(vocabulary())):
        raise ValueError(f"emphasis: expected words of the embedded world, got {', '.join(unknown)}")


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


def _place(
    image: Image.Image, extent: float, centre: tuple[float, float], size: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draws one transformed sprite on an empty canvas: (size, size, 4) float32 in [0, 1], colour not premultiplied."""
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
    sprites: list[Image.Image], extents: list[float], size: int, rng: np.random.Generator, apart: int | None
) -> tuple[list[NDArray[np.float32]], list[tuple[float, float]]]:
    """Places the objects so that each stays at least ``MIN_VISIBLE`` uncovered; ``apart`` is an axis to separate them on."""
    layers: list[NDArray[np.float32]] = []
    centres: list[tuple[float, float]] = []
    for _ in range(30):
        centres = [_centre(extent, rng) for extent in extents]
        if apart is not None and abs(centres[0][apart] - centres[1][apart]) < 0.3:
            continue
        layers = [_place(n, e, c, size, rng) for n, e, c in zip(sprites, extents, centres, strict=True)]
        opaque = np.array([(layer[..., 3] > 0.5).sum() for layer in layers])
        share = _visible(layers).sum((1, 2)) / np.maximum(opaque, 1)
        if (share >= MIN_VISIBLE).all() and opaque.min() >= 16:
            return layers, centres
        extents = [max(e * 0.96, 0.2) for e in extents]
    # Thirty tries failed: shrink onto a diagonal, where the objects cannot cover each other.
    step = 1 / len(sprites)
    centres = [((i + 0.5) * step, (i + 0.5) * step) for i in range(len(sprites))]
    return [_place(n, 0.8 * step, c, size, rng) for n, c in zip(sprites, centres, strict=True)], centres


def _on_ground(layers: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Levels by where the objects stand: the lower, the nearer; of two that overlap the one in front is the nearer."""
    opaque = [layer[..., 3] > 0.5 for layer in layers]
    levels = np.array([0.42 + 0.43 * (np.flatnonzero(shape.any(1)).max() + 1) / len(shape) for shape in opaque])
    for behind in range(len(layers)):
        for front in range(behind + 1, len(layers)):
            if levels[front] < levels[behind] and (opaque[front] & opaque[behind]).any():
                levels[[front, behind]] = levels[[behind, front]]
    return levels


def _depth(
    layers: list[NDArray[np.float32]], visible: NDArray[np.bool_], rng: np.random.Generator, grounded: bool
) -> NDArray[np.float32]:
    """Inverse depth: a tilted background, then one layer an object, each rounded like a relief."""
    size = visible.shape[-1]
    near, far = rng.uniform(0.1, 0.3), rng.uniform(0.0, 0.1)
    depth = np.repeat(np.linspace(far, near, size, dtype=np.float32)[:, None], size, axis=1)
    levels = _on_ground(layers) if grounded else np.sort(rng.uniform(0.42, 0.85, len(layers)))
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


def _choose_names(kind: Kind, rng: np.random.Generator, emphasis: Sequence[str], words: Sequence[str]) -> list[str]:
    names = list(words)
    firsts = list(emphasis) if emphasis and rng.random() < EMPHASISED else names
    first = firsts[rng.integers(len(firsts))]
    if kind == "single":
        return [first]
    if kind == "referring":
        return [first, first]
    chosen = [first]
    while len(chosen) < (2 if kind == "pair" else 3):
        similar = [name for name in _similar_names()[first] if name in names]
        pool = similar if rng.random() < 1 / 3 and similar else names
        other = pool[rng.integers(len(pool))]
        if other not in chosen:
            chosen.append(other)
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _sprites(
    names: list[str], looks: Sequence[str], vary: float, size: int, rng: np.random.Generator
) -> tuple[list[Image.Image], list[str]]:
    """A sprite of each name, each in one of the looks that draw it, and these looks."""
    chosen = []
    for name in names:
        able = [look for look in looks if look in drawn_by()[name]]
        chosen.append(able[rng.integers(len(able))])
    images = [sprite(name, look) for name, look in zip(names, chosen, strict=True)]
    return [varied(image, rng, size) if rng.random() < vary else image for image in images], chosen


def _referring(
    name: str, sprites: list[Image.Image], rng: np.random.Generator, size: int
) -> tuple[list[NDArray[np.float32]], list[str], int]:
    """Two of a kind and phrases that tell them apart by place or by size: layers, the phrase of each, index of the one meant."""
    if rng.random() < 1 / 3:
        extents = [float(rng.uniform(0.26, 0.32)), float(rng.uniform(0.48, 0.6))]
        layers, _ = _draw_objects(sprites, extents, size, rng, apart=None)
        return layers, [f"the small {name}", f"the big {name}"], int(rng.integers(2))
    low, high = SIZES["referring"]
    axis = int(rng.random() < 0.3)
    extents = [float(rng.uniform(low, 0.8 * high)) for _ in range(2)]
    layers, centres = _draw_objects(sprites, extents, size, rng, apart=axis)
    where = (("on the left", "on the right"), ("at the top", "at the bottom"))[axis]
    second = int(centres[0][axis] >= centres[1][axis])  # whether the first of the two is the one on the right, or below
    return layers, [f"the {name} {where[second]}", f"the {name} {where[1 - second]}"], int(rng.integers(2))


def _half_made(
    image: NDArray[np.float32], named: Sequence[int], opacities: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a mask on its way leaves: background in patches before a flat colour, what is not named all but gone."""
    size = image.shape[0]
    patches = np.clip(2 * value_noise(size, int(rng.integers(2, 6)), rng) - rng.uniform(0.3, 1.6), 0, 1)[..., None]
    patches = patches * np.float32(rng.uniform(0, 1))
    flat = rng.random(3).astype(np.float32)
    left_out = np.array([i not in named for i in range(len(opacities))])
    opacities = np.where(left_out, rng.uniform(0, DROPPED, len(opacities)), opacities).astype(np.float32)
    return (flat * (1 - patches) + image * patches).astype(np.float32), opacities


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
    looks: Sequence[str] = (FLUENT_3D,),
    vary: float = 0.0,
    half_made: bool = False,
    grounded: bool = False,
) -> Scene:
    """Composes one scene.

    Args:
        seed: of the data set; training and benchmark use different ones.
        index: of the scene within the data set.
        kind: ``single`` (one object), ``pair``, ``triple`` or ``referring`` (two of a kind told apart by the caption).
        size: side in pixels.
        partial: of several objects, name one only; else name all of them.
        backgrounds: families to choose from.
        recolour: share of the objects that are shown in a colour that is not theirs.
        ghosts: share of the scenes that name several objects in which one of them shines through, at an opacity in ``GHOST``.
        emphasis: names of which half of the scenes show one, whatever else they show.
        looks: whose drawings to choose from, for each object on its own among those that draw it; the names that none of them
            draws do not occur. A look that stands there twice is drawn twice as often.
        vary: share of the objects whose sprite is changed as :mod:`peekaboo.data.variation` does, so that a look is not one
            picture; above 0, the picture as a whole is also blurred or compressed at times.
        half_made: show the scene as the composite of a mask on its way: the background in patches before a flat colour, what
            the caption does not name all but gone.
        grounded: the depth of an object goes by where it stands, which a picture shows; else it is drawn, and only its order is
            that of the objects.

    Returns:
        The scene; equal arguments give equal pixels. Without ``looks`` they are those of Fluent 3D.

    Raises:
        ValueError: for an unknown kind or a size under 16, if ``emphasis`` has a word that is not in the vocabulary, or for
            looks that the seed must not draw (see :func:`peekaboo.data.looks.check_looks`).
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if size < 16:
        raise ValueError(f"size: expected at least 16 pixels, got {size}")
    check_emphasis(emphasis)
    check_looks(looks, seed)
    rng = np.random.default_rng([seed, index, KINDS.index(kind)])
    background = backgrounds[rng.integers(len(backgrounds))]
    names = _choose_names(kind, rng, emphasis, names_of(tuple(looks)))
    drawing = np.random.default_rng([seed, index, KINDS.index(kind), 2])  # looks and changes: the rest of a scene does not differ
    sprites, drawn = _sprites(names, looks, vary, size, drawing)
    if kind == "referring":
        layers, phrases, meant = _referring(names[0], sprites, rng, size)
    else:
        extents = [float(rng.uniform(*SIZES[kind])) for _ in names]
        layers, _ = _draw_objects(sprites, extents, size, rng, apart=None)
        phrases = [noun_phrase(name) for name in names]
        meant = int(rng.integers(len(names))) if partial else 0
    named = (meant,) if partial else tuple(range(len(names)))
    prompt = " and ".join(phrases[i] for i in named)
    paint = np.random.default_rng([seed, index, KINDS.index(kind), 1])  # its own, so that a scene differs by nothing but colour
    changed = [paint.random() < recolour and name not in OF_ONE_COLOUR for name in names]
    layers = [_recoloured(layer, paint) if change else layer for layer, change in zip(layers, changed, strict=True)]
    visible = _visible(layers)
    image = paint_background(background, size, rng)
    opacities = np.ones(len(layers), dtype=np.float32)
    if len(named) > 1 and paint.random() < ghosts:
        opacities[paint.integers(len(layers))] = paint.uniform(*GHOST)
    if half_made:
        image, opacities = _half_made(image, named, opacities, drawing)
    for layer, opacity in zip(layers, opacities, strict=True):
        cover = layer[..., 3:] * opacity
        if drawing.random() < SHADOWS * vary:
            image = image * (1 - opacity * shadow(layer, drawing)[..., None])
        image = image * (1 - cover) + layer[..., :3] * cover
    if drawing.random() < vary:
        image = degraded(image, drawing)
    return Scene(
        image=np.round(np.clip(image, 0, 1) * 255).astype(np.uint8),
        prompt=prompt,
        target=np.asarray(visible[list(named)].any(0)),
        masks=visible,
        depth=_depth(layers, visible, rng, grounded),
        names=tuple(names),
        looks=tuple(drawn),
        named=named,
        background=background,
    )
