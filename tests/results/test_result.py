"""What a result can do: pictures, boxes, polygons, run lengths, one line, files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from peekaboo.results.drawing import PALETTE, all_of, colours_for, outlined
from peekaboo.results.result import Result, is_empty, make_result


def result_of(colour: tuple[float, float, float] = (0.9, 0.1, 0.1), **rest: object) -> Result:
    alpha = torch.full((40, 60), 0.1)
    alpha[10:30, 20:45] = 0.9
    alpha[2:4, 2:4] = 0.9  # a speck
    image = torch.full((3, 40, 60), 0.4)
    image[:, 10:30, 20:45] = torch.tensor(colour)[:, None, None]
    record = {"iterations": 40, "seconds": 3.52, "resolution": 20}
    return make_result(image, "a teddy bear", alpha, 0.5, **{"record": record, **rest})


def with_specks() -> Result:
    """A bear of 2,400 pixels with a hole of 4 and a hole of 100, and a speck of 4: a thousandth of the image is 9.6."""
    alpha = torch.full((80, 120), 0.1)
    alpha[20:60, 40:100] = 0.9
    alpha[30:32, 50:52] = alpha[40:50, 60:70] = 0.1
    alpha[2:4, 2:4] = 0.8
    return make_result(torch.rand(3, 80, 120), "a teddy bear", alpha, 0.5)


def test_specks_are_in_the_mask_alone() -> None:
    result = with_specks()
    shape, mask = result.shape, result.mask
    assert mask[2, 2] and not shape[2, 2]
    assert shape[30, 50] and not shape[45, 65]  # a hole that is a speck, and one that may be the object's
    opacity = result.finished(edges="enlarged").cutout_tensor[3]
    assert not opacity[:10, :10].any() and opacity[30, 50] == 1 and opacity[45, 65] == 0
    assert torch.equal(result.finished(min_area=0).shape, mask)
    assert torch.equal(result.finished(cutout="raw").cutout_tensor[3], result.alpha)
    assert not result.finished(cutout="raw", min_area=0.002).cutout_tensor[3, 2:4, 2:4].any()
    assert result.box == (40, 20, 60, 40)


def test_a_dropped_piece_takes_its_soft_edge_along() -> None:
    alpha = torch.zeros(40, 40)
    alpha[10:30, 20:38], alpha[10:30, 14:20] = 1.0, 0.4  # an object with a wide soft edge
    alpha[3:6, 3:6] = 0.4
    alpha[4, 4] = 1.0
    cut = make_result(torch.rand(3, 40, 40), "a bear", alpha, 0.5).finished(cutout="raw", largest=True).cutout_tensor[3]
    assert not cut[:8, :8].any()
    assert torch.equal(cut[10:30, 14:38], alpha[10:30, 14:38])


@pytest.mark.parametrize(("pieces", "empty"), [([], True), ([9] * 40, True), ([16], False), ([9, 16], False)])
def test_specks_are_nothing_however_many(pieces: list[int], empty: bool) -> None:
    """Pieces of so many pixels in an image of 10,000: forty of nine cover 3.6 % of it."""
    mask = torch.zeros(100, 100, dtype=torch.bool)
    for number, pixels in enumerate(pieces):
        side, row, column = round(pixels**0.5), 12 * (number // 8), 12 * (number % 8)
        mask[row : row + side, column : column + side] = True
    assert is_empty(mask) is empty
    result = make_result(torch.rand(3, 100, 100), "a bear", mask.float(), 0.5)
    assert result.empty is empty and bool(result.shape.any()) is not empty


def test_a_label_hides_neither_masks_nor_labels_where_there_is_room() -> None:
    image = torch.full((3, 120, 160), 0.5)
    masks = [torch.zeros(120, 160, dtype=torch.bool) for _ in range(2)]
    masks[0][40:80, 60:100] = True
    masks[1][0:38, 60:100] = True  # where the first one's label would be, and at the upper edge
    bare = np.asarray(outlined(image, masks, ["", ""]))
    labelled = np.asarray(outlined(image, masks, ["a bear", "a bus"]))
    changed = torch.from_numpy((bare != labelled).any(-1))
    assert changed.any() and not (changed & (masks[0] | masks[1])).any()
    alone = sum(int((np.asarray(outlined(image, masks, own)) != bare).any(-1).sum()) for own in (["a bear", ""], ["", "a bus"]))
    assert abs(int(changed.sum()) - alone) < 10  # neither is under the other
    corner = (np.asarray(outlined(image, masks, ["a bear", "a bus"], in_corner=True)) != bare).any(-1)
    assert corner[0, 0] and corner[18, 0] and not corner[36:].any()


def test_one_line() -> None:
    assert repr(result_of()) == "Result('a teddy bear', 60x40, 21.0% of the image, 40 iterations, 3.5 s)"
    assert "IoU 1.000" in repr(result_of(target=result_of().mask))


def test_box_polygons_and_run_lengths_are_of_the_shape() -> None:
    result = result_of()
    assert result.box == (2, 2, 43, 28)
    assert np.array_equal(coco.decode(result.rle).astype(bool), result.mask.numpy())
    assert len(result.polygons) == 2
    one = result.finished(largest=True)
    assert one.box == (20, 10, 25, 20) and len(one.polygons) == 1
    assert coco.decode(one.rle).sum() == one.shape.sum() == 500
    assert torch.equal(one.mask, result.mask)  # what is scored stays
    with pytest.raises(ValueError, match=r"^finish\.cutout: expected one of raw, clean, hard, got 'soft'$"):
        result.finished(cutout="soft")


def test_a_tidied_result_has_its_shape_everywhere() -> None:
    result = result_of(target=result_of().mask).finished(largest=True)
    tidy = result.tidied()
    assert torch.equal(tidy.mask, result.shape) and torch.equal(tidy.shape, result.shape)
    assert torch.equal(tidy.alpha[10:30, 20:45], result.alpha[10:30, 20:45]) and tidy.alpha[2:4, 2:4].max() == 0
    assert tidy.iou == pytest.approx(500 / 504) and tidy.record["finish"]["largest"] is True
    assert torch.equal(result_of().tidied().alpha, result_of().alpha)  # nothing was asked for


def test_a_cut_out_alone(tmp_path: Path) -> None:
    result = result_of().finished(largest=True)
    assert result.save(tmp_path / "new" / "bear.png").is_file()
    picture = np.asarray(Image.open(tmp_path / "new" / "bear.png"))
    assert picture.shape == (40, 60, 4)
    assert picture[20, 30, 3] == 255 and picture[3, 3, 3] == picture[35, 5, 3] == 0
    assert result_of().finished(cutout="raw").cutout.getpixel((5, 35))[3] == round(0.1 * 255)


@pytest.mark.parametrize("colour", [*PALETTE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.9, 0.1, 0.3)])
def test_an_outline_stands_out_from_any_colour(colour: tuple[float, float, float]) -> None:
    """Across the edge of an object of the background's own colour, brightness swings from black to white."""
    mask = torch.zeros(40, 60, dtype=torch.bool)
    mask[10:30, 20:45] = True
    picture = np.asarray(outlined(torch.tensor(colour)[:, None, None].expand(3, 40, 60), [mask], [""])).astype(float)
    across = picture[20, 15:25].mean(-1)
    assert across.min() < 20 and across.max() > 235


def test_colours_differ_and_are_not_the_objects() -> None:
    image = torch.full((3, 10, 10), 0.5)
    masks = [torch.zeros(10, 10, dtype=torch.bool) for _ in PALETTE]
    for number, mask in enumerate(masks):
        mask[number] = True
        image[:, number] = torch.tensor(PALETTE[number])[:, None]
    found = colours_for(image, masks)
    assert len(set(found)) == len(PALETTE)
    assert found[0] != PALETTE[0]
    assert len(colours_for(image, masks * 2)) == 2 * len(PALETTE)


def test_several_prompts_are_one_picture() -> None:
    first = result_of()
    second = make_result(first.image, "a red apple", 1 - first.alpha, 0.5)
    assert all_of([first, second]).size == (60, 40)
    with pytest.raises(ValueError, match="results: expected some of one image"):
        all_of([first, result_of((0.1, 0.9, 0.1))])


def test_a_notebook_shows_a_picture() -> None:
    picture = Image.open(BytesIO(result_of()._repr_png_()))
    assert picture.format == "PNG" and picture.width > 3 * 60


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_nothing_and_everything_are_drawn_too(alpha: float, tmp_path: Path) -> None:
    result = make_result(
        torch.rand(3, 9, 300), "a dog with a very long description that has no room", torch.full((9, 300), alpha), 0.5
    )
    folder = result.save(tmp_path)
    opacity = np.asarray(Image.open(folder / "cutout.png"))[..., 3]
    assert (opacity == round(255 * alpha)).all()
    assert result.box == (None if alpha == 0 else (0, 0, 300, 9))
