"""Pieces, boundaries and polygons of masks, against pycocotools and against masks that are made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco
from scipy import ndimage

from peekaboo.functional.pieces import Mask, boundary_f, box, clean, polygons


def random_mask(seed: int, height: int = 23, width: int = 31, blur: float = 1.5) -> Mask:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), blur)
    return field > 0


def rasterised(mask: Mask, tolerance: float = 0.0) -> Mask:
    """The mask that pycocotools reads from the polygons."""
    height, width = mask.shape
    rings = [loop.ravel().tolist() for loop in polygons(mask, tolerance)]
    return coco.decode(coco.merge(coco.frPyObjects(rings, height, width))).astype(bool)


@pytest.mark.parametrize("seed", range(8))
def test_polygons_are_the_mask(seed: int) -> None:
    """With holes, islands in holes, corners that touch, and pieces at the border."""
    for blur in (0.6, 1.5, 3.0):
        mask = random_mask(seed, blur=blur)
        assert np.array_equal(rasterised(mask), mask)


def test_fewer_points_are_nearly_the_mask() -> None:
    y, x = np.mgrid[:100, :120]
    ring = (abs(np.hypot(x - 60, y - 50) - 30) < 12) & ~((x < 20) & (y < 20))
    exact, thin = polygons(ring)[0], polygons(ring, 1.0)[0]
    assert len(thin) < len(exact) / 3
    found = rasterised(ring, 1.0)
    assert (found & ring).sum() / (found | ring).sum() > 0.95
    assert not polygons(np.zeros((4, 5), bool))
    np.testing.assert_array_equal(polygons(np.ones((2, 3), bool))[0], [[0, 0], [3, 0], [3, 2], [0, 2]])


def test_the_largest_piece_comes_first() -> None:
    mask = np.zeros((10, 20), bool)
    mask[1:3, 1:3] = mask[4:9, 5:15] = True
    assert [loop.min(0).tolist() for loop in polygons(mask)] == [[5, 4], [1, 1]]


def test_boxes_are_cocos() -> None:
    for seed in range(4):
        mask = random_mask(seed) & random_mask(seed + 50)
        assert list(box(mask) or ()) == coco.toBbox(coco.encode(np.asfortranarray(mask, np.uint8))).tolist()
    assert box(np.zeros((3, 3), bool)) is None


def test_pieces_are_dropped_and_holes_filled() -> None:
    mask = np.zeros((12, 20), bool)
    mask[2:9, 2:9] = True
    mask[4:6, 4:6] = False
    mask[9, 9] = True  # touches by a corner
    mask[2:4, 15:17] = True
    assert np.array_equal(clean(mask), mask)
    largest = clean(mask, largest=True)
    assert largest[9, 9] and not largest[:, 15:].any()
    assert clean(mask, fill_holes=True)[4:6, 4:6].all()
    assert clean(mask, min_area=4 / 240)[2, 15] and not clean(mask, min_area=5 / 240)[2, 15]
    assert clean(mask, min_area=5 / 240)[4:6, 4:6].all() and not clean(mask, min_area=4 / 240)[4:6, 4:6].any()  # a hole of four
    for options in ({"largest": True}, {"min_area": 0.5}, {"fill_holes": True}):
        assert not clean(np.zeros((4, 4), bool), **options).any()


def test_boundary_f() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    assert boundary_f(mask, mask) == 1
    assert boundary_f(np.roll(mask, 2, 0), mask) == 1  # within two pixels
    moved = boundary_f(np.roll(mask, 6, 0), mask)
    assert 0.3 < moved < 0.8
    none = np.zeros_like(mask)
    assert boundary_f(none, none) == 1 and boundary_f(none, mask) == boundary_f(mask, none) == 0
