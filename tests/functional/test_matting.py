"""Cut-outs: levels, edges, colours; each against what it must be on a picture that is made by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from peekaboo.functional.matting import _box, closed_form, filter_at_full_size, foreground_colours, levels
from peekaboo.results.finish import Finish

SIDE, SCALE = 64, 8


def scene(softness: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A red disc on blue, and its true opacity."""
    y, x = torch.meshgrid(torch.arange(SIDE) - 31.5, torch.arange(SIDE) - 31.5, indexing="ij")
    distance = 20 - (x**2 + y**2).sqrt()
    opacity = (distance / softness + 0.5).clamp(0, 1) if softness else (distance > 0).float()
    front, back = torch.tensor([0.9, 0.1, 0.1])[:, None, None], torch.tensor([0.1, 0.2, 0.9])[:, None, None]
    return front * opacity + back * (1 - opacity), opacity


def coarse(opacity: torch.Tensor) -> torch.Tensor:
    """What an optimisation at an eighth of the size gives: between .1 and .9, with edges that wide."""
    small = interpolate(opacity[None, None], scale_factor=1 / SCALE, mode="area")
    return 0.1 + 0.8 * interpolate(small, (SIDE, SIDE), mode="bilinear")[0, 0]


def test_levels_leave_no_veil_and_keep_the_mask() -> None:
    alpha = coarse(scene()[1])
    found = levels(alpha, 0.5)
    assert torch.equal(found > 0.5, alpha > 0.5)
    assert found[alpha < 0.12].max() == 0 and found[alpha > 0.88].min() == 1
    for threshold in (0.3, 0.7):
        assert torch.equal(levels(alpha, threshold) > 0.5, alpha > threshold)
    assert torch.equal(levels(torch.full((3, 4), 0.2), 0.5), torch.zeros(3, 4))
    assert torch.equal(levels(torch.full((3, 4), 0.8), 0.5), torch.ones(3, 4))


def test_edges_follow_the_image() -> None:
    image, opacity = scene()
    blurred = levels(coarse(opacity), 0.5)
    found = filter_at_full_size(image, blurred, SCALE)
    before, after = (((one > 0.5) != (opacity > 0.5)).sum() for one in (blurred, found))
    assert after < before / 4
    assert torch.equal(filter_at_full_size(image, blurred, 1.0), blurred)
    assert (filter_at_full_size(torch.zeros_like(image), blurred, SCALE) - blurred).abs().max() > 0.1  # without edges: a blur


def test_strips_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image, opacity = scene()
    image = (image + 0.05 * torch.randn(image.shape)).clamp(0, 1)
    whole = filter_at_full_size(image, coarse(opacity), 3)
    monkeypatch.setattr("peekaboo.functional.matting.STRIP", 1)
    torch.testing.assert_close(filter_at_full_size(image, coarse(opacity), 3), whole, rtol=0, atol=1e-6)


def test_colours_at_the_edge_are_the_objects() -> None:
    image, opacity = scene(softness=10)
    found = foreground_colours(image, opacity)
    edge = (opacity > 0.2) & (opacity < 0.8)
    true = torch.tensor([0.9, 0.1, 0.1])[:, None]
    before, after = ((one[:, edge] - true).abs().mean() for one in (image, found))
    assert after < before / 4
    assert torch.equal(found[:, opacity == 1], image[:, opacity == 1])


def test_the_blur_is_that_of_pytorch() -> None:
    x = torch.rand(2, 3, 9, 14)
    expected = avg_pool2d(x, 5, 1, 2, count_include_pad=False)
    torch.testing.assert_close(_box(2)(x), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(_box(20)(x), x.mean((2, 3), keepdim=True).expand_as(x), rtol=0, atol=1e-6)


@pytest.mark.slow  # PyMatting compiles itself at its first import
def test_the_closed_form_finds_the_soft_edge() -> None:
    pytest.importorskip("pymatting")
    image, opacity = scene(softness=6)
    found = closed_form(image, levels(coarse(opacity), 0.5), SCALE)
    assert (found - opacity).abs().mean() < 0.25 * (levels(coarse(opacity), 0.5) - opacity).abs().mean()
    sure = torch.zeros(8, 8)
    assert torch.equal(closed_form(torch.rand(3, 8, 8), sure, 1.0), sure)


def test_a_cut_out_has_nothing_of_the_background() -> None:
    image, opacity = scene()
    alpha = coarse(opacity)
    raw, clean, hard = (Finish(way).cut_out(image, alpha, 0.5, SCALE) for way in ("raw", "clean", "hard"))
    assert torch.equal(raw, torch.cat([image, alpha[None]]))
    assert raw[3][opacity == 0].mean() > 0.1
    assert clean[3][opacity == 0].mean() < 0.03
    assert set(hard[3].unique().tolist()) == {0.0, 1.0}
    assert not Finish().cut_out(image, torch.full_like(alpha, 0.2), 0.5)[3].any()


def test_pieces_of_a_cut_out() -> None:
    image, opacity = scene()
    alpha = coarse(opacity)
    alpha[2:4, 2:4] = 0.9
    alpha[30:33, 30:33] = 0.1
    kept = Finish(edges="enlarged", largest=True, fill_holes=True).cut_out(image, alpha, 0.5, 1.0)[3]
    assert not kept[:6, :6].any() and kept[30:33, 30:33].min() == 1
    assert Finish(edges="enlarged", min_area=5 / SIDE**2).cut_out(image, alpha, 0.5, 1.0)[3][:6, :6].max() == 0
    assert Finish(edges="enlarged", min_area=4 / SIDE**2).cut_out(image, alpha, 0.5, 1.0)[3][2:4, 2:4].min() == 1


@pytest.mark.parametrize(("argument", "value"), [("cutout", "soft"), ("edges", "sharp"), ("min_area", 1.0), ("min_area", -0.1)])
def test_nonsense_is_refused(argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^finish\.{argument}: expected "):
        Finish(**{argument: value})
