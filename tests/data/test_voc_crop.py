"""VOC-C: which images belong to it, what is cropped, what the two protocols count."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peekaboo.data.base import Failure, Sample
from peekaboo.data.voc_crop import CLASSES, Box, VOCCropData, bounding_box, crop_window

PALETTE = [value for i in range(256) for value in (i * 37 % 256, i * 91 % 256, i * 53 % 256)]
FOLDERS = ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation")


def save_indices(path: Path, indices: np.ndarray) -> None:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(PALETTE)
    image.save(path)


def add(root: Path, name: str, objects: list[tuple[int, Box]], size: tuple[int, int] = (240, 200)) -> None:
    """Adds one image of (width, height) with objects (class, box), each with a void rim of 2 pixels."""
    classes = np.zeros(size[::-1], np.uint8)
    instances = classes.copy()
    pixels = np.full((*size[::-1], 3), 40, np.uint8)
    for number, (kind, box) in enumerate(objects, 1):
        rim = np.s_[max(box.top - 2, 0) : box.bottom + 2, max(box.left - 2, 0) : box.right + 2]
        inside = np.s_[box.top : box.bottom, box.left : box.right]
        for indices, value in ((classes, kind), (instances, number)):
            indices[rim], indices[inside] = 255, value
        pixels[inside] = 220
    Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg", quality=100)
    save_indices(root / "SegmentationClass" / f"{name}.png", classes)
    save_indices(root / "SegmentationObject" / f"{name}.png", instances)
    with (root / "ImageSets" / "Segmentation" / "val.txt").open("a") as file:
        file.write(f"{name}\n")


DOG = CLASSES.index("dog") + 1
BOX = Box(60, 40, 160, 140)


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """A devkit whose ``val`` has one dog, a dog and a cat, a small dog and nothing at all."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    add(root, "2007_000001", [(DOG, BOX)])
    add(root, "2007_000002", [(DOG, Box(5, 5, 100, 150)), (8, Box(120, 5, 220, 150))])
    add(root, "2007_000003", [(DOG, Box(5, 5, 60, 70))])
    add(root, "2007_000004", [])
    return tmp_path / "VOCdevkit"


def first(data: VOCCropData) -> Sample:
    sample = data.samples()[0]
    assert isinstance(sample, Sample) and sample.mask is not None
    return sample


def test_single_subjects_of_the_least_size_only(devkit: Path) -> None:
    assert list(VOCCropData(str(devkit)).samples().ids) == ["2007_000001"]
    assert list(VOCCropData(str(devkit / "VOC2012")).samples().ids) == ["2007_000001"]
    assert list(VOCCropData(str(devkit), min_size=97).samples().ids) == ["2007_000001", "2007_000003"]
    assert list(VOCCropData(str(devkit), min_size=98).samples().ids) == ["2007_000001"]  # its crop has 98, no more
    assert list(VOCCropData(str(devkit), min_size=99, measure="subject").samples().ids) == ["2007_000001"]
    with pytest.raises(ValueError, match=r"subject over 100 pixels on both sides, got none among the 4 of"):
        VOCCropData(str(devkit), min_size=100, measure="subject").samples()


def test_the_crop_holds_image_and_mask_together(devkit: Path) -> None:
    sample = first(VOCCropData(str(devkit)))
    assert sample.image.shape == (3, 150, 150)
    assert sample.mask is not None and sample.ignore is not None
    assert bounding_box(sample.mask.numpy()) == Box(25, 25, 125, 125)
    assert sample.mask.sum() == 100 * 100 and sample.ignore.sum() == 104 * 104 - 100 * 100
    assert not (sample.mask & sample.ignore).any()
    inner = bounding_box((sample.image.mean(0) > 0.5).numpy())
    assert np.abs(np.array(inner) - np.array([25, 25, 125, 125])).max() <= 1  # JPEG may blur the edge by a pixel


def test_void_is_ignored_or_foreground(devkit: Path) -> None:
    ignoring, published = first(VOCCropData(str(devkit))), first(VOCCropData(str(devkit), void="foreground"))
    assert published.ignore is None and published.mask is not None and ignoring.mask is not None and ignoring.ignore is not None
    assert published.mask.sum() == 104 * 104
    assert torch.equal(published.mask, ignoring.mask | ignoring.ignore)
    assert torch.equal(published.image, ignoring.image)


def test_prompts_as_published_and_by_argument(devkit: Path) -> None:
    data = VOCCropData(str(devkit))
    assert first(data).prompt == "a dog"
    said = [data.prompts[CLASSES.index(name)] for name in ("aeroplane", "person", "tvmonitor", "motorbike", "diningtable")]
    assert said == ["a aeroplane", "a man", "a monitor", "a motorcycle", "a diningtable"]
    data = VOCCropData(template="{}", replacements={"diningtable": "dining table"})
    assert [data.prompts[10], data.prompts[14], data.prompts[19]] == ["dining table", "person", "tvmonitor"]
    assert len(CLASSES) == 20 and list(CLASSES) == sorted(CLASSES)


@pytest.mark.parametrize(
    ("subject", "margin", "expected"),
    [
        (Box(60, 40, 160, 140), 0.0, Box(60, 40, 160, 140)),  # tight
        (Box(60, 40, 100, 140), 0.0, Box(30, 40, 130, 140)),  # squared about the centre
        (Box(60, 40, 160, 140), 0.25, Box(35, 15, 185, 165)),  # grown
        (Box(0, 0, 60, 60), 0.25, Box(0, 0, 90, 90)),  # moved inside
        (Box(200, 150, 240, 200), 0.5, Box(140, 100, 240, 200)),  # moved inside at the other end
        (Box(10, 20, 230, 180), 0.25, Box(0, 0, 240, 200)),  # no room: the whole image
        (Box(100, 5, 120, 195), 0.0, Box(15, 5, 205, 195)),
    ],
)
def test_the_object_crop(subject: Box, margin: float, expected: Box) -> None:
    assert crop_window(subject, 240, 200, "object", margin) == expected


def test_object_crops_hold_the_object_and_are_square_where_they_can() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        width, height = rng.integers(20, 300, 2)
        left, top = rng.integers(0, width), rng.integers(0, height)
        subject = Box(left, top, rng.integers(left + 1, width + 1), rng.integers(top + 1, height + 1))
        window = crop_window(subject, width, height, "object", rng.uniform(0, 1))
        assert 0 <= window.left <= subject.left < subject.right <= window.right <= width
        assert 0 <= window.top <= subject.top < subject.bottom <= window.bottom <= height
        shape = (window.right - window.left, window.bottom - window.top)
        assert shape[0] == shape[1] or shape[0] == width or shape[1] == height


def test_the_other_crops(devkit: Path) -> None:
    assert crop_window(BOX, 240, 200, "centre") == Box(20, 0, 220, 200)
    assert first(VOCCropData(str(devkit), crop="none")).image.shape == (3, 200, 240)
    add(devkit / "VOC2012", "2007_000009", [(DOG, Box(0, 0, 15, 190))])  # outside the centre square
    assert "2007_000009" not in VOCCropData(str(devkit), crop="centre").samples().ids
    assert "2007_000009" in VOCCropData(str(devkit)).samples().ids


def test_an_open_data_set_travels_to_other_processes_without_its_trainer(devkit: Path) -> None:
    data = VOCCropData(str(devkit))
    data.trainer = lambda: None  # type: ignore[assignment]  # cannot be pickled, as a real one
    copy = pickle.loads(pickle.dumps(data.samples()))[0]
    assert isinstance(copy, Sample)
    assert torch.equal(copy.image, first(data).image)


@pytest.mark.parametrize("missing", [*FOLDERS[:3], "ImageSets/Segmentation/val.txt", ""])
def test_what_is_missing_is_told_with_where_to_get_it(devkit: Path, missing: str) -> None:
    gone = devkit / "VOC2012" / missing
    gone.rename(devkit / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"^root: expected VOCdevkit/VOC2012 with .*Pascal VOC 2012 site") as error:
        VOCCropData(str(devkit)).samples()
    assert str(gone) in str(error.value) and "\n" not in str(error.value)


def test_broken_samples_fail_alone(devkit: Path) -> None:
    root = devkit / "VOC2012"
    for number in range(10, 16):
        add(root, f"bad_{number}", [(DOG, BOX)])
    (root / "JPEGImages" / "bad_10.jpg").unlink()
    Image.new("RGB", (240, 199)).save(root / "JPEGImages" / "bad_11.jpg")
    (root / "SegmentationObject" / "bad_12.png").write_bytes(b"\x89PNG broken")
    Image.open(root / "SegmentationClass" / "bad_13.png").convert("RGB").save(root / "SegmentationClass" / "bad_13.png")
    save_indices(root / "SegmentationClass" / "bad_14.png", np.zeros((200, 240)))
    save_indices(root / "SegmentationClass" / "bad_15.png", np.full((200, 239), DOG))
    batch = next(iter(VOCCropData(str(devkit)).test_dataloader()))
    assert isinstance(batch[0], Sample) and [failure.id for failure in batch[1:]] == [f"bad_{n}" for n in range(10, 16)]
    said = ("does not exist", "240 x 200, got 240 x 199 in JPEGImages", "which is none", "of mode RGB", "got [0]", "239 x 200")
    for failure, reason in zip(batch[1:], said, strict=True):
        assert isinstance(failure, Failure) and reason in failure.reason


@pytest.mark.parametrize(
    "arguments",
    [
        {"split": "test"},
        {"void": "both"},
        {"crop": "tight"},
        {"measure": "image"},
        {"margin": -0.1},
        {"margin": float("nan")},
        {"template": "a dog"},
        {"replacements": {"dogs": "dog"}},
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))}: expected"):
        VOCCropData(**arguments)  # type: ignore[arg-type]
