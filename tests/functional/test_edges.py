"""Colours at the edge of a transparent picture: the object's own, whatever stood behind it."""

from __future__ import annotations

import torch

from peekaboo.functional.edges import filled, own_colour, spread_colours


def disc(side: int = 32) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    return ((0.6 - (x**2 + y**2).sqrt()) * 8 + 0.5).clamp(0, 1)[None, None]


def test_edges_have_the_objects_colour_and_the_inside_stays_as_it_is() -> None:
    alpha, red, green = disc(), torch.tensor([0.9, 0.1, 0.2])[:, None, None], torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    mixed = torch.lerp(green.expand(1, 3, 32, 32), red.expand(1, 3, 32, 32), alpha)  # a picture of the disc on green
    found = spread_colours(mixed, alpha)
    assert torch.equal(found[:, :, alpha[0, 0] == 1], mixed[:, :, alpha[0, 0] == 1])
    edge = (alpha > 0.05) & (alpha < 0.95)
    before, after = ((x - red).abs().mean(1, keepdim=True)[edge].mean() for x in (mixed, found))
    assert after < 0.25 * before
    torch.testing.assert_close(found[..., 0, 0], red[None, :, 0, 0], atol=0.08, rtol=0)  # far outside, too


def test_two_objects_keep_their_colours_apart() -> None:
    alpha = torch.zeros(1, 1, 16, 16)
    alpha[..., 4:12, 1:4] = alpha[..., 4:12, 12:15] = 1
    image = torch.zeros(1, 3, 16, 16)
    image[:, 0, :, :8], image[:, 2, :, 8:] = 1, 1
    found = spread_colours(image, alpha)
    assert found[0, 0, 8, 4] > 0.8 and found[0, 2, 8, 11] > 0.8


def test_nothing_opaque_changes_nothing_and_faint_objects_count_by_their_own_most() -> None:
    image = torch.rand(2, 3, 9, 7)
    alpha = torch.zeros(2, 1, 9, 7)
    torch.testing.assert_close(spread_colours(image, alpha), image)
    alpha[1, :, 3:6, 3:6] = 0.3
    assert torch.equal(own_colour(alpha)[1], (alpha[1] > 0).float())


def test_a_constant_stays_a_constant_however_little_of_it_is_trusted() -> None:
    trust = torch.zeros(1, 1, 13, 10)
    trust[..., 2, 3] = 1
    torch.testing.assert_close(filled(torch.full((1, 3, 13, 10), 0.4), trust), torch.full((1, 3, 13, 10), 0.4))
