"""From any image to the square, and back to its own size."""

from __future__ import annotations

import pytest
import torch

from peekaboo.functional.framing import frame, unframe

SIZES = [(1, 1), (1, 9), (8, 8), (13, 40), (40, 13), (100, 60)]


@pytest.mark.parametrize("framing", ["stretch", "crop"])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_becomes_the_square_and_comes_back(size: tuple[int, int], framing: str) -> None:
    image = torch.rand(3, *size)
    square = frame(image, 16, framing)
    assert square.shape == (3, 16, 16)
    assert float(square.min()) >= 0 and float(square.max()) <= 1
    back = unframe(square[0], size, framing)
    assert back.shape == size
    assert float(back.min()) >= 0 and float(back.max()) <= 1


def test_a_smooth_picture_survives_the_roundtrip() -> None:
    ramp = torch.linspace(0, 1, 48)[None].expand(32, 48)
    back = unframe(frame(ramp[None], 64)[0], (32, 48))
    torch.testing.assert_close(back, ramp, rtol=0, atol=0.02)  # bilinear: the ends of the ramp are flattened by half a pixel


def test_the_right_size_is_left_untouched() -> None:
    image = torch.rand(3, 16, 16)
    assert torch.equal(frame(image, 16), image)
    assert torch.equal(unframe(image[0], (16, 16)), image[0])


@pytest.mark.parametrize("tall", [False, True])
def test_crop_takes_the_centred_square_and_is_zero_outside(tall: bool) -> None:
    image = torch.zeros(3, 8, 20)
    image[..., 6:14] = torch.rand(3, 8, 8)
    square = image[..., 6:14]
    if tall:
        image, square = image.transpose(1, 2), square.transpose(1, 2)
    assert torch.equal(frame(image, 8, "crop"), square)
    back = unframe(square[0], tuple(image.shape[-2:]), "crop")
    assert torch.equal(back, image[0])


def test_stretch_keeps_everything() -> None:
    image = torch.zeros(1, 16, 64)
    image[..., :16] = 1
    square = frame(image, 16)
    assert square[0, :, :3].min() > 0.99 and square[0, :, 5:].max() < 0.01  # the first quarter stays the first quarter


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 64, 64)
    torch.testing.assert_close(frame(stripes, 8), torch.full((1, 8, 8), 0.5), rtol=0, atol=0.05)


@pytest.mark.parametrize("size", [(40, 1000), (1000, 40)])
def test_a_thin_object_survives_where_only_one_side_shrinks(size: tuple[int, int]) -> None:
    image = torch.zeros(3, *size)
    across = image if size[1] > size[0] else image.mT
    across[..., 500:503] = 1
    torch.testing.assert_close(frame(image, 64).mean(), image.mean(), rtol=0.02, atol=0)
