"""The connected pieces of a mask: which to keep, and the polygons around them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Polygon = NDArray[np.float64]
TOUCHING = np.ones((3, 3), dtype=bool)  # pieces that meet at a corner are one


def clean(mask: Mask, largest: bool = False, fill_holes: bool = False, min_area: float = 0.0) -> Mask:
    """Drops pieces of a mask and fills its holes.

    Args:
        mask: (H, W) bool.
        largest: keep the largest piece alone.
        fill_holes: make all that the mask encloses a part of it.
        min_area: pieces of a smaller share of the image, in [0, 1], are dropped, and holes of a smaller share are filled.

    Returns:
        (H, W) bool.
    """
    if largest or min_area > 0:
        labels, _ = ndimage.label(mask, structure=TOUCHING)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        keep = (areas >= min_area * mask.size) & (areas > 0)
        if largest:
            keep &= np.arange(len(areas)) == areas.argmax()
        mask = keep[labels]
    if fill_holes:
        return ndimage.binary_fill_holes(mask)
    if min_area > 0 and (holes := ndimage.binary_fill_holes(mask) & ~mask).any():
        labels, _ = ndimage.label(holes)
        small = np.bincount(labels.ravel()) < min_area * mask.size
        mask = mask | (holes & small[labels])
    return mask


def largest_share(mask: Mask) -> float:
    """Returns the share of the image, in [0, 1], that the largest piece of a mask covers."""
    labels, count = ndimage.label(mask, structure=TOUCHING)
    return float(np.bincount(labels.ravel())[1:].max() / mask.size) if count else 0.0


def box(mask: Mask) -> tuple[int, int, int, int] | None:
    """Returns left, top, width and height in pixels of what encloses a mask, as COCO has it; None of an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


def boundary_f(mask: Mask, target: Mask, tolerance: float = 2.0) -> float:
    """The F-measure of a mask's boundary (Martin et al. 2004; DAVIS's F): of precision and recall of boundary pixels.

    Args:
        mask, target: (H, W) bool.
        tolerance: pixels that two boundaries may be apart.

    Returns:
        In [0, 1]; 1 for two masks without a boundary, 0 where one alone has one.
    """
    ours, theirs = (own & ~ndimage.binary_erosion(own, border_value=1) for own in (mask, target))
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = (ndimage.distance_transform_edt(~theirs)[ours] <= tolerance).mean()
    recall = (ndimage.distance_transform_edt(~ours)[theirs] <= tolerance).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def polygons(mask: Mask, tolerance: float = 0.0) -> list[Polygon]:
    """Returns a polygon around each piece of a mask, along the edges of its pixels.

    A hole is a part of its piece's polygon, joined by a cut of no width, there and back, as formats without holes have it.

    Args:
        mask: (H, W) bool.
        tolerance: pixels that a polygon may be off by, for fewer points (Douglas and Peucker 1973); 0 for none.

    Returns:
        (P, 2) each, x and y in pixels from the image's upper left corner; the largest piece first. Pieces that meet at a
        corner alone are two.
    """
    found: list[tuple[int, Polygon]] = []
    labels, _ = ndimage.label(mask)
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        piece = labels[place] == number
        offset = np.array([place[1].start, place[0].start], dtype=np.float64)
        outer, *holes = sorted(_loops(np.pad(piece, 1)), key=lambda loop: -abs(_area(loop)))
        joined = _thinned(outer, tolerance)
        for hole in holes:
            joined = _join(joined, _thinned(hole, tolerance))
        found.append((int(piece.sum()), joined + offset - 1))
    return [loop for _, loop in sorted(found, key=lambda item: -item[0])]


def _loops(padded: Mask) -> Iterator[Polygon]:
    """Walks along the edges of pixels with the piece on the right hand; turns right where two ways go on."""
    inner = padded[1:-1, 1:-1]
    y, x = np.nonzero(inner)
    y, x = y + 1, x + 1
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for dy, dx, start, end in ((-1, 0, (0, 0), (1, 0)), (0, 1, (1, 0), (1, 1)), (1, 0, (1, 1), (0, 1)), (0, -1, (0, 1), (0, 0))):
        edge = ~padded[y + dy, x + dx]
        for a, b in zip(x[edge].tolist(), y[edge].tolist(), strict=True):
            ways.setdefault((a + start[0], b + start[1]), []).append((a + end[0], b + end[1]))
    while ways:
        first = at = next(iter(ways))
        before: tuple[int, int] | None = None
        loop = []
        while True:
            onward = ways[at]
            turn = 0 if before is None or len(onward) == 1 else max(range(2), key=lambda i: _right(before, at, onward[i]))  # type: ignore[arg-type]
            following = onward.pop(turn)
            if not onward:
                del ways[at]
            loop.append(at)
            before, at = at, following
            if at == first:
                break
        yield _corners(np.array(loop, dtype=np.float64))


def _right(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    """Positive where a way from a over b to c turns right, y pointing down."""
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])


def _corners(loop: Polygon) -> Polygon:
    """Leaves out the points between corners."""
    onward, back = np.roll(loop, -1, 0) - loop, loop - np.roll(loop, 1, 0)
    return loop[onward[:, 0] * back[:, 1] != onward[:, 1] * back[:, 0]]


def _area(loop: Polygon) -> float:
    x, y = loop.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _join(outer: Polygon, hole: Polygon) -> Polygon:
    """Enters a hole from the nearest point and comes back the same way: the cut has no area."""
    distance = np.square(outer[:, None] - hole[None]).sum(-1)
    i, j = np.unravel_index(distance.argmin(), distance.shape)
    around = np.concatenate([hole[j:], hole[: j + 1]])
    return np.concatenate([outer[: i + 1], around, outer[i:]])


def _thinned(loop: Polygon, tolerance: float) -> Polygon:
    """Leaves out points, from a closed loop, that lie within the tolerance of what stays."""
    if tolerance <= 0 or len(loop) < 5:
        return loop
    far = int(np.square(loop - loop[0]).sum(1).argmax())
    closed = np.concatenate([loop, loop[:1]])
    keep = np.zeros(len(closed), dtype=bool)
    keep[[0, far, -1]] = True
    waiting = [(0, far), (far, len(loop))]
    while waiting:
        first, last = waiting.pop()
        between = closed[first + 1 : last]
        if not len(between):
            continue
        along = closed[last] - closed[first]
        offset = between - closed[first]
        distance = np.abs(along[0] * offset[:, 1] - along[1] * offset[:, 0]) / max(float(np.hypot(*along)), 1e-12)
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            keep[first + 1 + worst] = True
            waiting += [(first, first + 1 + worst), (first + 1 + worst, last)]
    thinned = loop[keep[:-1]]
    return thinned if len(thinned) > 2 else loop
