"""Files as people have them: one table a kind; what is wrong with one is said in one line that names it."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin, TiffImagePlugin

from peekaboo.data import images
from peekaboo.data.base import Failure, Sample
from peekaboo.data.checks import read_names, user_path
from peekaboo.data.content import content_of, printable
from peekaboo.data.from_python import image_of, mask_of
from peekaboo.data.image_folder import ImageFolderData, ImageFolderSamples
from peekaboo.data.images import open_image, read_image
from peekaboo.data.manifest import ManifestData
from peekaboo.data.masks import check_foreground, read_alpha, read_mask
from peekaboo.data.phrasecut import PhraseCutData
from peekaboo.data.refcoco import RefCOCOData
from peekaboo.data.voc_crop import VOCCropData

RAMP = np.linspace(0, 255, 30).reshape(5, 6).astype(np.uint8)
RGB = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
TRUTH = np.zeros((12, 16), bool)
TRUTH[3:9, 4:12] = True
RIM = np.zeros_like(TRUTH)
RIM[2:10, 3:13] = True
RIM &= ~TRUTH


def jpeg(pixels: np.ndarray, exif: bytes | Image.Exif = b"") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


def png(image: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    return exif


def tiff(pixels: np.ndarray, **tags: int) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag.removeprefix("tag"))] = value
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "TIFF", tiffinfo=info)
    return out.getvalue()


def chunks(*extra: bytes) -> bytes:
    """A good PNG with more chunks before its pixels."""
    whole = png(Image.fromarray(RGB))
    return whole[:33] + b"".join(extra) + whole[33:]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def one_line(message: str) -> str:
    assert message and "\n" not in message
    return message


# ---- A: damaged EXIF ---------------------------------------------------------------------------------------------------

SIGNED = (
    b"Exif\0\0MM\0*"
    + struct.pack(">IH", 8, 2)
    + struct.pack(">HHII", 0x011A, 10, 1, 38)
    + struct.pack(">HHIHH", 0x0112, 3, 1, 3, 0)
) + struct.pack(">Iii", 0, -1, 0)


@pytest.mark.parametrize(
    ("exif", "turned"),
    [
        (SIGNED, True),  # resolution of -1/0, orientation 3
        (SIGNED[:30], False),
        (b"Exif\0\0MM\0*" + struct.pack(">I", 2**31), False),
        (b"Exif\0\0" + bytes(range(64)), False),
        (b"Exif\0\0MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 99, 0) + b"\0" * 4, False),
    ],
)
def test_damaged_exif_loses_no_picture(tmp_path: Path, exif: bytes, turned: bool) -> None:
    (tmp_path / "phone.jpg").write_bytes(jpeg(RGB, exif))
    plain = jpeg(RGB)
    (tmp_path / "good.jpg").write_bytes(plain)
    batch = next(iter(ImageFolderData(str(tmp_path), "a dog").predict_dataloader()))
    assert [type(sample) for sample in batch] == [Sample, Sample]
    expected = batch[0].image.flip((-2, -1)) if turned else batch[0].image
    assert torch.equal(batch[1].image, expected)


# ---- B: what decoders say ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        [chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 3_000_000))],
        [chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b"x" * 3_000_000))],
        [chunk(b"tEXt", b"a%d\0" % i + b"x" * 900_000) for i in range(3)],
    ],
)
def test_a_png_with_long_texts_is_a_good_picture(tmp_path: Path, texts: list[bytes]) -> None:
    (tmp_path / "a.png").write_bytes(chunks(*texts))
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    assert np.array_equal((read_image(tmp_path / "a.png") * 255).round().permute(1, 2, 0).numpy(), RGB)
    assert before == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_the_limit_of_pixels_is_ours_and_not_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(png(Image.new("1", (40, 40))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # twice that is an error of Pillow's
    assert open_image(tmp_path / "a.png").size == (40, 40)
    monkeypatch.setattr(images, "MAX_PIXELS", 1500)
    with pytest.raises(ValueError, match=r"^image: expected at most 0 megapixels, got '.*a.png' with 40 x 40$"):
        open_image(tmp_path / "a.png")


BROKEN = {
    "cut.png": png(Image.fromarray(RGB))[:45],
    "ihdr.png": png(Image.fromarray(RGB))[:20],
    "hex.pgm": b"P5 x0 5 255\n" + bytes(30),
    "cut.ppm": b"P6 5 5 255\n" + bytes(7),
    "odd.sgi": struct.pack(">hBBHHHH", 474, 1, 1, 3, 5, 5, 3) + bytes(600),
    "cut.jpg": jpeg(RGB)[:200],
    "head.gif": b"GIF89a" + bytes(4),
    "cut.tif": tiff(RGB)[:60],
    "cut.webp": b"RIFF\x40\0\0\0WEBPVP8 " + bytes(20),
    "avif.avif": b"\0\0\0\x1cftypavif" + bytes(40),
    "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40),
    "text.png": b"hello",
    "empty.png": b"",
}


@pytest.mark.parametrize("name", sorted(BROKEN))
@pytest.mark.filterwarnings("ignore")
def test_a_broken_picture_fails_alone_and_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BROKEN[name])
    Image.fromarray(RGB).save(tmp_path / "good.png")
    for read in (open_image, read_mask):
        with pytest.raises(ValueError, match=f"^(image|mask): expected .*{name}") as caught:
            read(tmp_path / name)
        one_line(str(caught.value))
    if Path(name).suffix != ".sgi":  # no suffix of images in a folder
        failures = [s for s in ImageFolderData(str(tmp_path), "x").samples() if isinstance(s, Failure)]
        assert len(failures) == 1 and name in failures[0].reason


def test_what_is_no_file_is_said_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    Image.fromarray(RGB).save(tmp_path / "a.png")
    said = {
        "pipe.png": "which is a device or a pipe",
        ".": "got the directory",
        "none.png": "does not exist",
        "a.png/b.png": "does not exist",
        "x\0y.png": "does not exist",
        "half\ud83d.png": "does not exist",
        "x" * 5000: "cannot be opened",
    }
    for name, words in said.items():
        with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
            open_image(tmp_path / name)
        one_line(str(caught.value)).encode()


# ---- C: ranges ------------------------------------------------------------------------------------------------------------


def float_tiff(values: np.ndarray) -> bytes:
    return tiff(values.astype(np.float32))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(Image.fromarray(RAMP)), RAMP / 255),
        (png(Image.fromarray(RAMP.astype(np.uint16))), RAMP / 65535),  # a dark frame of a series stays dark
        (png(Image.fromarray(RAMP.astype(np.uint16) * 257)), RAMP / 255),
        (tiff(RAMP.astype(np.uint16) * 100), RAMP * 100.0 / 65535),
        (tiff(RAMP.astype(np.uint16) * 100, tag262=0), 1 - RAMP * 100.0 / 65535),  # white is zero
        (b"P5 6 5 4095\n" + (RAMP.astype(np.uint16) * 16).astype(">u2").tobytes(), RAMP * 16.0 / 4095),
        (b"P5 6 5 255\n" + RAMP.tobytes(), RAMP / 255),
        (float_tiff(RAMP / 255), RAMP / 255),
        (float_tiff(RAMP / 254.9), (RAMP / 254.9).clip(0, 1)),  # rounding
        (float_tiff(RAMP), "expected floating-point values in [0, 1], got '{}' with 0 to 255"),
        (float_tiff(RAMP / 127.5 - 1), "with -1 to 1"),
        (float_tiff(np.where(RAMP > 100, np.nan, 0.5)), "with NaN or infinity in 18 places"),
        (float_tiff(np.where(RAMP > 100, np.inf, 0.5)), "with NaN or infinity in 18 places"),
        (tiff(RAMP.astype(np.int32)), "in 32-bit integers"),
    ],
)
def test_a_value_means_what_its_format_says(tmp_path: Path, data: bytes, expected: Any) -> None:
    (tmp_path / "a.img").write_bytes(data)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match="^image: expected") as caught:
            read_image(tmp_path / "a.img")
        assert expected.format(tmp_path / "a.img") in one_line(str(caught.value))
        return
    found = read_image(tmp_path / "a.img")
    assert np.abs(found.numpy() - expected[None]).max() < 1e-4


def test_colour_spaces_of_print_and_video(tmp_path: Path) -> None:
    grey = Image.new("LAB", (4, 4), (136, 128, 128))
    grey.save(tmp_path / "lab.tif")
    found = read_image(tmp_path / "lab.tif")
    assert (found.amax() - found.amin()) < 0.1 and 0.4 < found.mean() < 0.6


# ---- D: masks -------------------------------------------------------------------------------------------------------------

VOC = [value for i in range(256) for value in (i * 37 % 256, i * 91 % 256, i * 53 % 256)]
VOC[:6] = [0, 0, 0, 128, 0, 0]
VOC[765:] = [224, 224, 192]


def palette(indices: np.ndarray, colours: list[int] = VOC) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(colours)
    return image


def rgba(inside: tuple[int, ...], outside: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(TRUTH[..., None], inside, outside).astype(np.uint8))


def photo(mode: str) -> Image.Image:
    picture = np.random.default_rng(1).integers(0, 256, (*TRUTH.shape, 3)).astype(np.uint8)
    alpha = Image.fromarray((TRUTH * 255).astype(np.uint8))
    image = Image.fromarray(picture)
    if mode == "RGBA":
        image.putalpha(alpha)
    return image


SOFT = np.clip(np.minimum(np.arange(16)[None] - 3, 12 - np.arange(16)[None]) / 4, 0, 1).repeat(12, 0)
GREY_RAMP = [value for i in range(256) for value in (i, i, i)]
CLEAR: dict[str, Image.Image] = {
    "0/255": Image.fromarray((TRUTH * 255).astype(np.uint8)),
    "0/1": Image.fromarray(TRUTH.astype(np.uint8)),
    "1 bit": Image.fromarray(TRUTH),
    "0/12": Image.fromarray((TRUTH * 12).astype(np.uint8)),
    "16 bit 0/1": Image.fromarray(TRUTH.astype(np.uint16)),
    "16 bit 0/255": Image.fromarray((TRUTH * 255).astype(np.uint16)),
    "16 bit 0/65535": Image.fromarray((TRUTH * 65535).astype(np.uint16)),
    "32 bit 0/1": Image.fromarray(TRUTH.astype(np.int32)),
    "32 bit 0/255": Image.fromarray((TRUTH * 255).astype(np.int32)),
    "float 0/1": Image.fromarray(TRUTH.astype(np.float32)),
    "float 0/255": Image.fromarray((TRUTH * 255).astype(np.float32)),
    "palette 0/1": palette(TRUTH * 1),
    "palette 0/12": palette(TRUTH * 12),
    "palette with void": palette(TRUTH * 12 + RIM * 255),
    "palette, black and white": Image.fromarray((TRUTH * 255).astype(np.uint8)).convert("P"),
    "palette, white first": palette(~TRUTH * 1, [255, 255, 255, 0, 0, 0]),
    "palette, greys": palette(TRUTH * 255, GREY_RAMP),
    "RGB white on black": Image.fromarray((TRUTH[..., None].repeat(3, 2) * 255).astype(np.uint8)),
    "RGB red on black": Image.fromarray((TRUTH[..., None] * [200, 0, 0]).astype(np.uint8)),
    "RGBA opaque": rgba((255, 255, 255, 255), (0, 0, 0, 255)),
    "RGBA red, opaque": rgba((255, 0, 0, 255), (0, 0, 0, 255)),
    "RGBA white": rgba((255, 255, 255, 255), (255, 255, 255, 0)),
    "RGBA black": rgba((0, 0, 0, 255), (0, 0, 0, 0)),
    "cut-out": photo("RGBA"),
}


def save(folder: Path, image: Image.Image) -> Path:
    file = folder / ("m.tif" if image.mode in ("I", "F") else "m.png")
    image.save(file)
    return file


@pytest.mark.parametrize("name", sorted(CLEAR))
def test_masks_that_can_mean_one_thing_only(tmp_path: Path, name: str) -> None:
    """As ground truth, as another system's mask, from a file and from Python."""
    file = save(tmp_path, CLEAR[name])
    for mask in (read_mask(file), mask_of(CLEAR[name]), mask_of(file.read_bytes())):
        assert np.array_equal(mask.foreground.numpy(), TRUTH)
        assert np.array_equal(mask.void.numpy(), RIM) if name == "palette with void" else mask.void is None
    if name != "0/12":  # soft, as it says
        assert np.array_equal(read_alpha(file, TRUTH.shape).numpy() >= 0.5, TRUTH)


UNCLEAR: dict[str, tuple[Image.Image, int | str]] = {
    "palette of three": (palette(TRUTH * 12 + RIM * 15), 12),
    "grey indices and void": (Image.fromarray((TRUTH * 12 + RIM * 255).astype(np.uint8)), 12),
    "grey indices": (Image.fromarray((TRUTH * 2 + RIM * 1).astype(np.uint8)), 2),
    "bright grey indices": (Image.fromarray((TRUTH * 200 + RIM * 255).astype(np.uint8)), 200),
    "32-bit indices": (Image.fromarray((TRUTH * 70_000 + RIM * 3).astype(np.int32)), 70_000),
    "16-bit instances": (Image.fromarray((TRUTH * 1001 + RIM * 1002).astype(np.uint16)), 1001),
    "only void": (palette(TRUTH * 255), 255),
    "transparent and palette": (palette(TRUTH * 12 + RIM * 15), 12),
}


@pytest.mark.parametrize("name", sorted(UNCLEAR))
def test_masks_that_can_mean_more_are_asked_about(tmp_path: Path, name: str) -> None:
    image, answer = UNCLEAR[name]
    file = save(tmp_path, image)
    with pytest.raises(ValueError, match=r"^mask: expected .*m\.(png|tif)'") as caught:
        read_mask(file)
    one_line(str(caught.value))
    assert np.array_equal(read_mask(file, foreground=check_foreground(answer)).foreground.numpy(), TRUTH)
    assert np.array_equal(read_alpha(file, TRUTH.shape, foreground=check_foreground(answer)).numpy() >= 0.5, TRUTH)


def test_void_is_no_truth_also_of_a_named_index(tmp_path: Path) -> None:
    file = save(tmp_path, palette(TRUTH * 12 + RIM * 255))
    named = read_mask(file, foreground=12)
    assert named.void is not None and np.array_equal(named.void.numpy(), RIM)
    with pytest.raises(ValueError, match=r"expected pixels of the foreground 7, got .* with 0, 12, 255"):
        read_mask(file, foreground=7)
    assert not read_alpha(file, TRUTH.shape, foreground=7).any()  # a system may find nothing


def test_a_constant_mask_is_all_object_only_if_it_is_white(tmp_path: Path) -> None:
    for value, full in ((1, False), (12, False), (255, True)):
        Image.new("L", (16, 12), value).save(tmp_path / "m.png")
        if full:
            assert read_mask(tmp_path / "m.png").foreground.all()
            continue
        with pytest.raises(ValueError, match="expected at least one foreground pixel"):
            read_mask(tmp_path / "m.png")
        assert read_mask(tmp_path / "m.png", foreground=value).foreground.all()


@pytest.mark.parametrize("bad", [True, -1, 1.5, "white", [1]])
def test_a_foreground_that_says_nothing_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="^foreground: expected an index, bright, opaque or null"):
        check_foreground(bad)


def test_soft_edges_blurs_and_compression_are_no_indices(tmp_path: Path) -> None:
    large = np.asarray(Image.fromarray((TRUTH * 255).astype(np.uint8)).resize((160, 120), Image.Resampling.BICUBIC))
    disc = np.hypot(*np.mgrid[-60:60, -80:80]) < 40
    for pixels in (large, np.asarray(Image.fromarray((disc * 255).astype(np.uint8)).resize((50, 40), Image.Resampling.BOX))):
        Image.fromarray(pixels).save(tmp_path / "m.png")
        assert np.array_equal(read_mask(tmp_path / "m.png").foreground.numpy(), pixels >= 128)
        Image.fromarray(pixels).convert("RGB").save(tmp_path / "m.jpg", quality=40)
        found = read_mask(tmp_path / "m.jpg").foreground.numpy()
        assert (found != (pixels >= 128)).mean() < 0.01


def test_a_photograph_is_no_mask(tmp_path: Path) -> None:
    for image, name in ((photo("RGB"), "p.png"), (photo("RGB"), "p.jpg"), (photo("RGB").convert("L"), "g.png")):
        image.save(tmp_path / name)
        with pytest.raises(ValueError, match="^mask: expected a mask in black and white"):
            read_mask(tmp_path / name)


def test_soft_maps_of_other_systems_keep_their_values(tmp_path: Path) -> None:
    Image.fromarray((SOFT * 255).round().astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray((SOFT * 65535).round().astype(np.uint16)).save(tmp_path / "16.png")
    Image.fromarray(SOFT.astype(np.float32)).save(tmp_path / "f.tif")
    for name in ("8.png", "16.png", "f.tif"):
        assert np.abs(read_alpha(tmp_path / name, TRUTH.shape).numpy() - SOFT).max() < 0.003
    Image.fromarray((TRUTH * 100).astype(np.uint8)).save(tmp_path / "sure.png")
    assert read_alpha(tmp_path / "sure.png", TRUTH.shape).max() == pytest.approx(100 / 255)


# ---- E: EXIF of data sets and of Python ----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_however_it_comes(tmp_path: Path, orientation: int) -> None:
    data = jpeg(RGB, exif_of(orientation))
    (tmp_path / "a.jpg").write_bytes(data)
    expected = read_image(tmp_path / "a.jpg")
    assert expected.shape == ((3, 5, 6) if orientation < 5 else (3, 6, 5))
    with open(tmp_path / "a.jpg", "rb") as file:
        items = (tmp_path / "a.jpg", str(tmp_path / "a.jpg"), Image.open(tmp_path / "a.jpg"), data, io.BytesIO(data), file)
        for item in items:
            assert torch.equal(image_of(item), expected)
    stored = read_image(tmp_path / "a.jpg", upright=False)
    assert stored.shape == (3, 5, 6) and torch.equal(stored, expected) == (orientation == 1)


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_annotations_are_of_the_pixels_as_they_are_stored(tmp_path: Path, orientation: int) -> None:
    """RefCOCO, PhraseCut and VOC annotate the stored pixels, whatever the EXIF of the image says."""
    side = np.zeros((20, 20, 3), np.uint8)
    side[2:9, 3:12] = 255
    data = jpeg(side, exif_of(orientation))
    box = [[3, 2], [11, 2], [11, 8], [3, 8]]

    coco = tmp_path / "images" / "mscoco" / "images" / "train2014"
    phrases, voc = tmp_path / "phrases", tmp_path / "VOC2012"
    folders = ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation")
    for folder in (coco, tmp_path / "refcoco", phrases / "images", *(voc / name for name in folders)):
        folder.mkdir(parents=True)
    (coco / "COCO_train2014_000000000009.jpg").write_bytes(data)
    ref = {"ref_id": 1, "ann_id": 1, "image_id": 9, "split": "val", "sentences": [{"sent_id": 1, "sent": "a box"}]}
    (tmp_path / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps([ref], protocol=2))
    polygon = [3.0, 2.0, 12.0, 2.0, 12.0, 9.0, 3.0, 9.0]
    instances = {"annotations": [{"id": 1, "segmentation": [polygon]}], "images": [{"id": 9, "height": 20, "width": 20}]}
    (tmp_path / "refcoco" / "instances.json").write_text(json.dumps(instances))
    (phrases / "images" / "5.jpg").write_bytes(data)
    task = {"task_id": "5", "image_id": 5, "phrase": "a box", "Polygons": [[box]]}
    (phrases / "refer_test.json").write_text(json.dumps([task]))
    (voc / "JPEGImages" / "v.jpg").write_bytes(data)
    indices = np.zeros((20, 20), np.uint8)
    indices[2:9, 3:12] = 1
    for name in folders[1:3]:
        palette(indices).save(voc / name / "v.png")
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_bytes(b"\xef\xbb\xbfv\n")

    readers = (RefCOCOData(str(tmp_path)), PhraseCutData(str(phrases)), VOCCropData(str(voc), crop="none", min_size=1))
    for reader in readers:
        sample = reader.samples()[0]
        assert isinstance(sample, Sample) and sample.mask is not None, reader
        assert torch.equal(sample.image.mean(0) > 0.5, sample.mask)
        assert sample.content is not None


# ---- I: names that begin with a tilde -------------------------------------------------------------------------------------


def test_a_tilde_is_home_only_in_what_a_user_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    Image.fromarray(RGB).save(tmp_path / "home" / "x.png")
    for name in ("~WRL0001.png", "~.png", "~root.png"):
        Image.fromarray(RGB).save(tmp_path / name)
    samples = ImageFolderData(".", "a dog").samples()
    assert len(samples) == 3 and all(isinstance(sample, Sample) for sample in samples)
    assert user_path("~/x.png") == tmp_path / "home" / "x.png" and image_of("~/x.png").shape == (3, 5, 6)
    assert image_of("~WRL0001.png").shape == (3, 5, 6)
    with pytest.raises(FileNotFoundError, match="'~of-no-user/x.png', which does not exist"):
        image_of("~of-no-user/x.png")
    Path("list.jsonl").write_text(json.dumps({"image": "~.png", "prompt": "x"}))
    assert isinstance(ManifestData("list.jsonl").samples()[0], Sample)


# ---- V: halves of characters ----------------------------------------------------------------------------------------------


def test_half_an_emoji_fails_alone_and_its_line_is_named(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    records = [
        {"image": "a.png", "prompt": "a dog"},
        {"image": "a.png", "prompt": "a dog \ud83d"},
        {"image": "a.png", "prompt": "x", "id": "b\udc00"},
        {"image": "half\ud83d.png", "prompt": "y"},
        {"image": "a.png", "prompt": "a dog 🐕"},
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    batch = next(iter(ManifestData(str(tmp_path / "list.jsonl")).test_dataloader()))
    assert [type(sample) for sample in batch] == [Sample, Failure, Failure, Failure, Sample]
    for number, failure in zip((2, 3, 4), batch[1:4], strict=True):
        assert f"line {number}" in one_line(failure.reason)
        f"{failure.id}{failure.reason}{failure.source}".encode()
    for sample in batch:
        sample.id.encode()
    with pytest.raises(ValueError, match="^prompt: expected text in Unicode, got half a character"):
        ImageFolderData(str(tmp_path), "caf\udce9")


def test_a_file_name_of_another_encoding_is_a_file(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/lat\xe9in.png"
    Image.fromarray(RGB).save(tmp_path / "x.png")
    os.rename(tmp_path / "x.png", name)
    sample = ImageFolderData(str(tmp_path), "x").samples()[0]
    assert isinstance(sample, Sample) and sample.source is not None
    assert sample.source.endswith("lat\\xe9in.png") and image_of(os.fsdecode(name)).shape == (3, 5, 6)
    assert printable("half\ud83d") == "half\\ud83d"


# ---- X: what a folder takes -----------------------------------------------------------------------------------------------


def test_runs_do_not_read_their_own_results(tmp_path: Path) -> None:
    written = {
        "a.png": None,
        "sub/b.png": None,
        "runs/predict/x-1/masks/a.png": "runs/predict/x-1/run.json",
        "runs/predict/x-1/contact_sheet.png": "runs/predict/x-1/samples/a.json",
        "lightning_logs/version_0/mask.png": None,
        "saved/mask.png": "saved/result.json",
        "saved/alpha.png": None,
    }
    for name, other in written.items():
        for file in (name, other):
            if file is not None:
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file).write_text("{}")
        Image.fromarray(RGB).save(tmp_path / name)
    assert list(ImageFolderData(str(tmp_path), "x", recursive=True).samples().ids) == ["a", "sub-b"]
    asked = ImageFolderData(str(tmp_path / "runs" / "predict" / "x-1" / "masks"), "x").samples()
    assert list(asked.ids) == ["a"]  # named on purpose


def test_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jfif", "b.jpe", "c.mpo", "d.heic", "e.txt", "f.txt", "g.psd", "noext", ".hidden.txt"):
        (tmp_path / name).write_bytes(jpeg(RGB))
    said: list[str] = []
    monkeypatch.setattr("peekaboo.data.image_folder.rank_zero_info", said.append)
    assert list(ImageFolderData(str(tmp_path), "x").samples().ids) == ["a", "b", "c", "d"]
    assert said == [
        f"images: 4 images in {str(tmp_path)!r}; left out: 2 x .txt file, 1 x .psd file, 1 x file without a suffix"
    ] or (sorted(said[0].split("left out: ")[1].split(", ")) == ["1 x .psd file", "1 x file without a suffix", "2 x .txt file"])
    for name in "abcd":
        next(tmp_path.glob(f"{name}.*")).unlink()
    with pytest.raises(ValueError, match="got none; recursive: true .*left out: .*2 x .txt file"):
        ImageFolderData(str(tmp_path), "x").samples()


def test_folders_that_cannot_be_read_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "closed").mkdir()
    scan, closed, said = os.scandir, {str(tmp_path / "closed")}, []

    def guarded(path: Any) -> Any:
        if str(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    monkeypatch.setattr("peekaboo.data.image_folder.rank_zero_info", said.append)
    assert list(ImageFolderData(str(tmp_path), "x", recursive=True).samples().ids) == ["a"]
    assert "cannot be read" in said[0] and "closed" in said[0]
    closed.add(str(tmp_path))
    with pytest.raises(ValueError, match=r"^images: expected a folder that can be read, got .*Permission denied"):
        ImageFolderData(str(tmp_path), "x").samples()


# ---- Z: lists -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [".", "/", "..", "./", "sub/..", " . ", "a.png/", "\\", "x\u0000y"])
def test_a_line_that_names_no_file_fails_alone(tmp_path: Path, image: str) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    lines = [{"image": "a.png", "prompt": "x"}, {"image": image, "prompt": "x"}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    good, bad = ManifestData(str(tmp_path / "list.jsonl")).samples()
    assert isinstance(good, Sample)
    assert isinstance(bad, Sample) if image == "a.png/" else (isinstance(bad, Failure) and "line 2" in one_line(bad.reason))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_lists_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    raw = b"\xff\xfe" * (encoding == "utf-16-le") + "2007_1 x\r\nmüll\n\n".encode(encoding)
    (tmp_path / "val.txt").write_bytes(raw)
    names = read_names(tmp_path / "val.txt", "root")
    assert names == ["2007_1", os.fsdecode("müll".encode("latin-1")) if encoding == "latin-1" else "müll"]
    Image.fromarray(RGB).save(tmp_path / "a.png")
    text = json.dumps({"image": "a.png", "prompt": "ein Müllauto"}, ensure_ascii=False)
    (tmp_path / "list.jsonl").write_bytes(b"\xff\xfe" * (encoding == "utf-16-le") + text.encode(encoding))
    if encoding == "latin-1":
        with pytest.raises(ValueError, match=r"^manifest: '.*list.jsonl', line 1: expected a JSON object in UTF-8"):
            ManifestData(str(tmp_path / "list.jsonl")).samples()
    else:
        assert ManifestData(str(tmp_path / "list.jsonl")).samples().entries[0].prompt == "ein Müllauto"


# ---- AA: Python ------------------------------------------------------------------------------------------------------------

UNIT = torch.from_numpy(RGB).permute(2, 0, 1).float() / 255
GREY = np.repeat(RAMP[..., None], 3, -1)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (RGB, RGB),
        (RGB.astype(np.uint16) * 257, RGB),
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float32), RGB),
        (RGB[:, ::-1], RGB[:, ::-1]),
        (RAMP, GREY),
        (RAMP[..., None], GREY),
        (RAMP > 99, (GREY > 99) * 255),
        (np.dstack([RGB, np.full((5, 6), 255, np.uint8)]), RGB),
        (np.dstack([RGB, np.zeros((5, 6), np.uint8)]), np.full_like(RGB, 255)),
        (UNIT, RGB),
        (UNIT.double(), RGB),
        (UNIT.bfloat16(), RGB),
        ((UNIT * 255).round().byte(), RGB),
        (UNIT[:1], np.repeat(RGB[..., :1], 3, -1)),
        (png(Image.fromarray(RGB)), RGB),
        (bytearray(png(Image.fromarray(RGB))), RGB),
        (memoryview(png(Image.fromarray(RGB))), RGB),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), GREY),
        (Image.fromarray(RGB).convert("CMYK"), RGB),
    ],
)
def test_images_of_all_python_types(item: Any, expected: np.ndarray) -> None:
    found = image_of(item)
    assert found.dtype == torch.float32 and found.shape == (3, 5, 6)
    assert np.abs(found.permute(1, 2, 0).numpy() * 255 - expected).max() < 0.6  # bfloat16 has 8 bits


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (torch.zeros(3, 0, 5), "with pixels, got a tensor (3, 0, 5)"),
        (torch.zeros(1, 3, 5, 6), "(3, H, W)"),
        (torch.zeros(5, 6), "(3, H, W)"),
        (UNIT * 255, "in [0, 1], got a tensor (3, 5, 6) of torch.float32 with"),
        (UNIT * 2 - 1, "in [0, 1], got a tensor"),
        (UNIT * float("nan"), "with NaN or infinity in 90 places"),
        (torch.zeros(3, 5, 6, dtype=torch.int64), "bool, uint8, uint16 or floating point"),
        (torch.zeros(3, 5, 6, dtype=torch.complex64), "a plain tensor"),
        (RGB.transpose(2, 0, 1), "(H, W, 3)"),
        (RGB.astype(np.float32), "in [0, 1], got an array"),
        (RGB.astype(np.int64), "bool, uint8, uint16 or floating point"),
        (np.array("text"), "(H, W, 3)"),
        (Image.new("RGB", (0, 5)), "with pixels"),
        (b"", "bytes"),
        (b"hello", "bytes, which is none"),
        (io.StringIO("x"), "'rb'"),
        (None, "got NoneType"),
        (7, "got int"),
        (("a.png",), "got tuple"),
    ],
)
def test_what_is_no_image_is_told_in_one_line(item: Any, said: str) -> None:
    with pytest.raises(ValueError, match="^image: expected") as caught:
        image_of(item)
    assert said in one_line(str(caught.value))


MASKS: list[Callable[[np.ndarray], Any]] = [
    lambda m: m,
    lambda m: m.astype(np.uint8),
    lambda m: m.astype(np.uint8) * 255,
    lambda m: m.astype(np.int64),
    lambda m: m * 12,
    lambda m: m.astype(np.float64),
    lambda m: m * 0.7,
    lambda m: (m * 255).astype(np.float32),
    lambda m: m[..., None],
    lambda m: torch.from_numpy(m),
    lambda m: torch.from_numpy(m)[None],
    lambda m: torch.from_numpy(m).long(),
    lambda m: torch.from_numpy(m).half(),
    lambda m: (m[..., None] * np.array([255, 255, 255])).astype(np.uint8),
]


@pytest.mark.parametrize("make", MASKS)
def test_masks_of_all_python_types(make: Callable[[np.ndarray], Any]) -> None:
    assert np.array_equal(mask_of(make(TRUTH), TRUTH.shape).foreground.numpy(), TRUTH)
    with pytest.raises(ValueError, match="^mask: expected at least one foreground pixel"):
        mask_of(make(np.zeros_like(TRUTH)), TRUTH.shape)
    with pytest.raises(ValueError, match="^mask: expected the image's size 16 x 11, got 16 x 12"):
        mask_of(make(TRUTH), (11, 16))


def test_a_mask_of_python_that_is_unclear_is_refused() -> None:
    for item, said in ((TRUTH * 3 + RIM * 2, "32-bit integers"), (TRUTH * float("nan"), "NaN"), (TRUTH * -1.5, "in [0, 1]")):
        with pytest.raises(ValueError, match="^mask: expected") as caught:
            mask_of(item)
        assert said in one_line(str(caught.value))
    assert np.array_equal(mask_of(TRUTH * 3 + RIM * 2, foreground=3).foreground.numpy(), TRUTH)


# ---- ids and contents ------------------------------------------------------------------------------------------------------

GROWING = [
    ["photo-1.jpg", "photo (1).jpg", "photo+(1).jpg"],
    ["a b.png", "a-b.png", "a_b.png", "A b.png"],
    ["a.jpg", "A.png", "a.jpg.png", "a.bmp"],
    ["x" * 130 + "1.png", "x" * 130 + "2.png"],
    ["e\u0301.png", "\u00e9.png"],
    ["sub/a.png", "sub-a.png"],
    ["!.png", "?.png", "sample.png"],
]


@pytest.mark.parametrize("names", GROWING)
def test_a_folder_that_grows_hands_no_id_on(tmp_path: Path, names: list[str]) -> None:
    owners: dict[str, str] = {}
    for order in (names, names[::-1]):
        folder = tmp_path / str(order is names)
        for name in order:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RGB).save(folder / name)
            samples = ImageFolderSamples(folder, ["x", "y"], True)
            assert len({i.casefold() for i in samples.ids}) == len(samples.ids)
            if order is names:
                for i, pair in zip(samples.ids, samples.pairs, strict=True):
                    assert owners.setdefault(i.casefold(), f"{pair.path} {pair.prompt}") == f"{pair.path} {pair.prompt}"
    assert sorted(ImageFolderSamples(tmp_path / "True", ["x"], True).ids) == sorted(ImageFolderSamples(folder, ["x"], True).ids)


def test_a_manifest_that_grows_hands_no_id_on(tmp_path: Path) -> None:
    lines = [{"image": name, "prompt": "a dog"} for name in ("a.jpg", "a.png", "A.jpg", "./a.jpg", "a.jpg")]
    owners: dict[str, tuple[str, int]] = {}
    for count in range(1, len(lines) + 1):
        (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines[:count][::-1])))
        samples = ManifestData(str(tmp_path / "list.jsonl")).samples()
        for i, entry in zip(samples.ids, samples.entries, strict=True):
            assert owners.setdefault(i, entry.image) == entry.image


def test_a_sample_knows_the_file_and_the_checksum_that_it_came_from(tmp_path: Path) -> None:
    import hashlib

    Image.fromarray(RGB).save(tmp_path / "a.png")
    Image.fromarray(RAMP > 99).save(tmp_path / "m.png")
    line = {"image": "a.png", "prompt": "x", "mask": "m.png"}
    (tmp_path / "list.jsonl").write_text(json.dumps(line))
    data = ManifestData(str(tmp_path / "list.jsonl"))
    sample = data.opened()[0]
    raw = (tmp_path / "a.png").read_bytes()
    assert isinstance(sample, Sample) and sample.content is not None and sample.source == str(tmp_path / "a.png")
    assert (sample.content.size, sample.content.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert data.content(sample.id) == sample.content
    Image.fromarray(RAMP > 150).save(tmp_path / "m.png")
    os.utime(tmp_path / "m.png", ns=(1, 1))
    changed = data.content(sample.id)
    assert changed is not None and changed.sha256 == sample.content.sha256 and changed.annotation != sample.content.annotation
    assert content_of([tmp_path / "a.png"], "x").annotation != content_of([tmp_path / "a.png"], "y").annotation
    (tmp_path / "a.png").unlink()
    assert data.content(sample.id) is None
