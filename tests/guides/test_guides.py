"""What the filter respects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peekaboo.guides import RGB, Depth, RGBDepth
from peekaboo.teachers.base import LoadError


def test_rgb_is_the_image() -> None:
    image = torch.rand(2, 3, 5, 6)
    assert torch.equal(RGB()(image), image)


def test_depth_fills_the_unit_interval_in_every_image(depth_folder: Path) -> None:
    depth = Depth(str(depth_folder))(torch.rand(2, 3, 20, 28))
    assert depth.shape == (2, 1, 20, 28)
    for one in depth:
        assert float(one.min()) == pytest.approx(0, abs=1e-6)
        assert float(one.max()) == pytest.approx(1, abs=1e-6)


def test_depth_is_the_networks_own_up_to_scale(depth_folder: Path) -> None:
    from transformers import DPTForDepthEstimation

    image = torch.rand(1, 3, 32, 32)  # the network's side: nothing is resized
    with torch.no_grad():
        predicted = DPTForDepthEstimation.from_pretrained(depth_folder)(2 * image - 1).predicted_depth
    expected = (predicted - predicted.min()) / (predicted.max() - predicted.min())
    torch.testing.assert_close(Depth(str(depth_folder))(image)[:, 0], expected, rtol=0, atol=1e-4)  # divided by a small range


def test_rgb_and_depth_are_one_guide(depth_folder: Path) -> None:
    image = torch.rand(2, 3, 20, 28)
    found = RGBDepth(0.5, path=str(depth_folder))(image)
    assert torch.equal(found[:, :3], image)
    assert torch.equal(found[:, 3:], 0.5 * Depth(str(depth_folder))(image))
    guide = RGBDepth(path=str(depth_folder))
    guide.begin("crop")
    assert guide.depth._framing == "crop"
    with pytest.raises(ValueError, match="depth_weight: expected a positive number, got 0"):
        RGBDepth(0.0, path=str(depth_folder))


def test_depth_of_an_image_does_not_depend_on_its_neighbours(depth_folder: Path) -> None:
    guide, images = Depth(str(depth_folder)), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(guide(images)[1:], guide(images[1:]), rtol=0, atol=1e-4)


def test_depth_is_frozen_and_leaves_no_gradient(depth_folder: Path) -> None:
    guide = Depth(str(depth_folder))
    guide.train()
    assert not any(module.training for module in guide.modules())
    assert not any(p.requires_grad for p in guide.parameters())
    assert not guide(torch.rand(1, 3, 16, 16, requires_grad=True)).requires_grad


def test_a_depth_map_is_taken_as_it_is_from_a_file(tmp_path: Path) -> None:
    ramp = (np.arange(12)[None] * 5000 * np.ones((10, 1))).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "depth.png")
    depth = Depth(map=str(tmp_path / "depth.png"))(torch.rand(1, 3, 10, 12).expand(2, -1, -1, -1))
    expected = (torch.arange(12) / 11).expand(2, 1, 10, 12)
    torch.testing.assert_close(depth, expected, rtol=0, atol=1e-6)
    assert Depth(map=str(tmp_path / "depth.png"))(torch.rand(1, 3, 5, 5)).shape == (1, 1, 5, 5)


def test_a_depth_map_is_framed_as_its_image_and_is_of_one_image(tmp_path: Path) -> None:
    map = torch.zeros(20, 40)
    map[:, 10:20] = 1  # its left half in the centred square
    Image.fromarray((map * 255).byte().numpy()).save(tmp_path / "depth.png")
    guide = Depth(map=str(tmp_path / "depth.png"))
    guide.begin("crop")
    picture = torch.rand(1, 3, 20, 20)
    expected = (torch.arange(20) < 10).float().expand(1, 1, 20, 20)
    torch.testing.assert_close(guide(picture), expected, rtol=0, atol=1e-6)
    guide(torch.cat([picture, picture]))  # two prompts
    with pytest.raises(ValueError, match="map: expected one image for the depth map .*, got another one"):
        guide(torch.rand(1, 3, 20, 20))


def test_a_flat_depth_map_is_no_division_by_zero(tmp_path: Path) -> None:
    Image.new("L", (6, 6), 90).save(tmp_path / "flat.png")
    assert torch.equal(Depth(map=str(tmp_path / "flat.png"))(torch.rand(1, 3, 6, 6)), torch.zeros(1, 1, 6, 6))


def test_a_depth_model_without_a_fixed_size_is_refused(depth_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GLPN takes any multiple of 32 and names none."""
    monkeypatch.setattr("transformers.AutoImageProcessor.from_pretrained", lambda *_, **__: object())
    with pytest.raises(LoadError, match="depth: expected a model with a fixed input size"):
        Depth(str(depth_folder))


def test_errors_name_the_depth_map_or_the_folder(tmp_path: Path, pipeline: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"depth map: expected an image file, got 'nowhere\.png', which does not exist"):
        Depth(map="nowhere.png")
    with pytest.raises(ValueError, match=r"depth: expected a model folder with config\.json"):
        Depth(str(tmp_path))
