"""Reading pictures of any kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peekaboo.data.images import open_image, read_image
from peekaboo.data.masks import read_mask


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)


def channels_first(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def exact(found: torch.Tensor, expected: torch.Tensor, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_colours_are_scaled_to_one(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels[..., :3]).save(tmp_path / "a.png")
    exact(read_image(tmp_path / "a.png"), channels_first(pixels[..., :3]))


def test_grey_is_repeated_and_16_bit_scaled(pixels: np.ndarray, tmp_path: Path) -> None:
    grey = pixels[..., 0]
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    expected = channels_first(np.repeat(grey[..., None], 3, 2))
    exact(read_image(tmp_path / "8.png"), expected)
    exact(read_image(tmp_path / "16.png"), expected)


def test_black_and_white_of_one_bit(tmp_path: Path) -> None:
    bits = np.array([[0, 255, 255], [255, 0, 0]], np.uint8)
    Image.fromarray(bits).convert("1").save(tmp_path / "1.png")
    exact(read_image(tmp_path / "1.png"), channels_first(np.repeat(bits[..., None], 3, 2)))


def test_transparency_lies_over_white(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    opacity = channels_first(pixels[..., 3:])
    expected = channels_first(pixels[..., :3]) * opacity + 1 - opacity
    exact(read_image(tmp_path / "rgba.png"), expected, atol=1.01 / 255)  # Pillow rounds


def test_a_palette_is_looked_up_and_its_transparent_entry_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png")
    exact(read_image(tmp_path / "p.png")[:, 0] * 255, torch.tensor([[10.0, 200], [20, 100], [30, 0]]), atol=1e-4)
    image.save(tmp_path / "t.png", transparency=0)
    exact(read_image(tmp_path / "t.png")[:, 0] * 255, torch.tensor([[255.0, 200], [255, 100], [255, 0]]), atol=1e-4)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "c.jpg")
    red = read_image(tmp_path / "c.jpg")[:, 0, 0]
    assert red[0] > 0.9 and red[1:].max() < 0.1


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(pixels: np.ndarray, tmp_path: Path, orientation: int, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels[..., :3]).save(tmp_path / "o.png", exif=exif)
    exact(read_image(tmp_path / "o.png"), channels_first(np.rot90(pixels[..., :3], turn).copy()))


def test_masks_are_bright_or_not(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png", (1, 4)).foreground.tolist() == [[False, False, True, True]]
    with pytest.raises(ValueError, match="truth: expected the image's size 5 x 1, got 4 x 1"):
        read_mask(tmp_path / "m.png", (1, 5), "truth")


def test_transparent_masks_are_what_is_opaque(tmp_path: Path) -> None:
    inside = np.zeros((6, 8), dtype=bool)
    inside[2:5, 3:7] = True
    alpha = np.where(inside, 255, 0)
    framed = np.where(np.arange(6)[:, None] * np.ones((1, 8)) > 0, 255, 0)
    photo = np.random.default_rng(0).integers(0, 256, (6, 8, 3))
    pictures = {
        "a white object": np.dstack([np.full((6, 8, 3), 255), alpha]),
        "a black object": np.dstack([np.zeros((6, 8, 3)), alpha]),
        "a cut-out": np.dstack([photo, alpha]),
        "white on black in a transparent frame": np.dstack([np.where(inside, 255, 0)[..., None].repeat(3, 2), framed]),
    }
    for name, picture in pictures.items():
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "m.png")
        assert np.array_equal(read_mask(tmp_path / "m.png").foreground.numpy(), inside), name


def test_a_damaged_avif_is_a_corrupt_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plugin raises a RuntimeError."""
    (tmp_path / "x.png").write_bytes(b"x")

    class Broken:
        width = height = 4

        def load(self) -> None:
            raise RuntimeError("Failed to decode image")

    monkeypatch.setattr(Image, "open", lambda path: Broken())
    with pytest.raises(ValueError, match=r"got '.*x.png', which is corrupt or cannot be decoded \(Failed to decode image\)"):
        open_image(tmp_path / "x.png")


def test_errors_name_the_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello")
    Image.new("RGB", (9, 9)).save(tmp_path / "big.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "big.png").read_bytes()[:45])
    expected = {
        "none": "mask: expected an image file, got .*, which does not exist",
        ".": "mask: expected an image file, got the directory",
        "empty": r"mask: expected an image file, got .*, which is empty \(0 bytes\)",
        "text": r"mask: expected an image \(PNG, JPEG, WebP, ...\), got .*, which is none",
        "cut.png": "mask: expected a readable image, got .*, which is corrupt",
        "big.png": "mask: expected at most 0 megapixels, got .* with 9 x 9",
    }
    monkeypatch.setattr("peekaboo.data.images.MAX_PIXELS", 80)
    for name, message in expected.items():
        if name == "cut.png":
            monkeypatch.setattr("peekaboo.data.images.MAX_PIXELS", 1000)
        if name == "big.png":
            monkeypatch.setattr("peekaboo.data.images.MAX_PIXELS", 80)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            open_image(tmp_path / name, "mask")
