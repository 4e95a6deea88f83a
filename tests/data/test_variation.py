"""Varied sprites are still their object: opaque where it is, and the same for the same generator."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from peekaboo.data import variation
from peekaboo.data.looks import SEEN_LOOKS, sprite
from peekaboo.data.scenes import compose
from peekaboo.data.variation import varied

NAMES = ("rocket", "owl", "red apple")


@pytest.mark.parametrize("name", list(variation.SHARES))
def test_every_change_changes_the_sprite_and_is_told_by_its_generator(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variation, "SHARES", dict.fromkeys(variation.SHARES, 0.0) | {name: 1.0})
    for noun in NAMES:
        plain = sprite(noun).copy()
        plain.thumbnail((128, 128))
        first, again, other = (varied(sprite(noun), np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(np.asarray(first), np.asarray(again))
        assert first.mode == "RGBA"
        assert first.size != plain.size or not np.array_equal(np.asarray(first), np.asarray(plain))
        assert first.size != other.size or not np.array_equal(np.asarray(first), np.asarray(other))


@pytest.mark.parametrize("name", ["recoloured", "posterised", "shaded"])
def test_changes_of_colour_keep_the_outline(name: str) -> None:
    image = sprite("owl")
    changed = getattr(variation, name)(image, np.random.default_rng(0))
    assert np.array_equal(np.asarray(image)[..., 3], np.asarray(changed)[..., 3])


def test_few_flat_colours_are_those_of_the_object() -> None:
    """What is transparent has a colour too, black here, and must not become one of the few."""
    pixels = np.zeros((40, 40, 4), dtype=np.uint8)
    pixels[10:30, 10:20] = (250, 200, 30, 255)
    pixels[10:30, 20:30] = (200, 30, 40, 255)
    shown = np.asarray(variation.posterised(Image.fromarray(pixels), np.random.default_rng(0)))[10:30, 10:30, :3]
    colours = np.unique(shown.reshape(-1, 3), axis=0)
    assert len(colours) <= 6 and colours[:, 0].min() > 180
    assert np.abs(shown.astype(int) - pixels[10:30, 10:30, :3]).mean() < 15


def test_an_outline_is_dark_and_around_the_object() -> None:
    image = sprite("lemon")
    changed = variation.outlined(image, np.random.default_rng(3))
    radius = (changed.width - image.width) // 2
    before = np.zeros((changed.height, changed.width), dtype=bool)
    before[radius : radius + image.height, radius : radius + image.width] = np.asarray(image)[..., 3] >= 128
    after = np.asarray(changed)
    line = (after[..., 3] == 255) & ~before
    assert line.sum() > before.sum() ** 0.5 and after[line][:, :3].max() < 60
    assert (after[before][:, 3] >= 128).all()


def test_what_is_cut_away_is_a_part() -> None:
    image = sprite("lemon")
    for seed in range(6):
        left = np.asarray(variation.cut(image, np.random.default_rng(seed)))[..., 3] > 127
        whole = np.asarray(image)[..., 3] > 127
        assert not (left & ~whole).any() and 0.5 < left.sum() / whole.sum() <= 1


def test_a_varied_scene_has_masks_of_what_it_shows_and_other_colours() -> None:
    plain = compose(2000, 3, "pair", looks=SEEN_LOOKS)
    changed, again = (compose(2000, 3, "pair", looks=SEEN_LOOKS, vary=1.0) for _ in range(2))
    assert np.array_equal(changed.image, again.image)
    assert (plain.names, plain.looks, plain.prompt) == (changed.names, changed.looks, changed.prompt)
    assert not np.array_equal(plain.image, changed.image)
    assert changed.masks.any((1, 2)).all()


def test_a_half_made_mask_shows_what_is_named_and_hardly_anything_else() -> None:
    for index in range(6):
        plain, half = (compose(2000, index, "pair", half_made=made) for made in (False, True))
        assert plain.prompt == half.prompt and np.array_equal(plain.masks, half.masks)
        (named,), (other,) = half.named, {0, 1} - set(half.named)
        difference = np.abs(plain.image.astype(int) - half.image.astype(int)).max(-1)
        assert difference[half.masks[named]].mean() < 12  # soft edges let the background through
        solid = plain.image[plain.masks[other]].astype(float)
        assert np.abs(solid - half.image[half.masks[other]]).mean() > 10
