"""VOC-C: the single-subject crops of Pascal VOC 2012 that the Peekaboo paper evaluates on.

"Peekaboo: Text to Image Diffusion Models are Zero-Shot Segmentors", Burgert et al., arXiv 2211.13224, table 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .base import Sample, SampleData, Samples
from .checks import read_names, require, user_path
from .images import open_image, read_image
from .names import slug, unique

#: Class names by palette index, 1 to 20.
# fmt: off
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on
#: What the published notebook says instead of a class name.
REPLACEMENTS = {"person": "man", "tvmonitor": "monitor", "motorbike": "motorcycle"}
VOID = 255
LAYOUT = "VOCdevkit/VOC2012 with JPEGImages, SegmentationClass, SegmentationObject and ImageSets/Segmentation"
SOURCE = "get 'VOCtrainval_11-May-2012.tar' from the Pascal VOC 2012 site (host.robots.ox.ac.uk/pascal/VOC/voc2012) and unpack it"
Crop = Literal["object", "centre", "none"]
Measure = Literal["crop", "subject"]
Void = Literal["ignore", "foreground"]


class Box(NamedTuple):
    """A window of pixels: ``left <= x < right``, ``top <= y < bottom``."""

    left: int
    top: int
    right: int
    bottom: int

    def larger_than(self, side: int) -> bool:
        return min(self.right - self.left, self.bottom - self.top) > side


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Returns the smallest window around the true pixels of (H, W), of which there must be one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _span(low: int, high: int, side: int, end: int) -> tuple[int, int]:
    """Grows [low, high) to ``side`` about its centre, moved inside [0, end); all of it where it does not fit."""
    if side >= end:
        return 0, end
    start = min(max(round((low + high - side) / 2), 0), end - side)
    return start, start + side


def crop_window(subject: Box, width: int, height: int, crop: Crop = "object", margin: float = 0.25) -> Box:
    """Chooses the crop of one image; see :class:`VOCCropData` for the rules.

    >>> crop_window(Box(40, 10, 60, 50), width=200, height=100, margin=0.25)
    Box(left=20, top=0, right=80, bottom=60)
    """
    if crop == "none":
        return Box(0, 0, width, height)
    if crop == "centre":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return Box(left, top, left + side, top + side)
    longer = max(subject.right - subject.left, subject.bottom - subject.top)
    side = round(longer * (1 + 2 * margin))
    left, right = _span(subject.left, subject.right, side, width)
    top, bottom = _span(subject.top, subject.bottom, side, height)
    return Box(left, top, right, bottom)


def read_indices(path: Path) -> NDArray[np.uint8]:
    """Reads the palette indices of a VOC mask, (H, W) uint8.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is no palette (or grey) image.
    """
    image = open_image(path, "root", upright=False)
    if image.mode not in ("P", "L"):
        raise ValueError(f"root: expected a palette PNG, got {str(path)!r} of mode {image.mode}")
    return np.asarray(image, dtype=np.uint8)


class VOCCropSamples(Samples):
    """The images of a split with one subject, cropped. Opening it reads the object masks of the whole split."""

    def __init__(
        self,
        root: str | Path,
        split: str,
        crop: Crop,
        margin: float,
        min_size: int,
        measure: Measure,
        void: Void,
        prompts: Sequence[str],
    ) -> None:
        root = user_path(root)
        self.crop, self.margin, self.min_size, self.measure, self.void = crop, margin, min_size, measure, void
        self.prompts = list(prompts)
        self.root = root / "VOC2012" if (root / "VOC2012").exists() or not (root / "JPEGImages").exists() else root
        for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
            require(self.root / folder, "root", LAYOUT, SOURCE)
        listing = require(self.root / "ImageSets" / "Segmentation" / f"{split}.txt", "root", LAYOUT, SOURCE)
        listed = list(dict.fromkeys(read_names(listing, "root")))
        self.names = [name for name in listed if self._qualifies(name)]
        self.ids = unique(map(slug, self.names), self.names)
        if not self.ids:
            raise ValueError(
                f"min_size: expected images with one subject and a {measure} over {min_size} pixels on both sides, "
                f"got none among the {len(listed)} of {str(listing)!r}"
            )

    def _subject(self, name: str) -> tuple[NDArray[np.bool_], Box] | None:
        """The pixels (H, W) of the only object and the crop around it; None if the image is not part of VOC-C."""
        objects = read_indices(self.root / "SegmentationObject" / f"{name}.png")
        if np.count_nonzero(np.bincount(objects.ravel(), minlength=256)[1:VOID]) != 1:
            return None
        pixels = (objects != 0) & (objects != VOID)
        box = bounding_box(pixels)
        window = crop_window(box, pixels.shape[1], pixels.shape[0], self.crop, self.margin)
        inside = pixels[window.top : window.bottom, window.left : window.right].any()
        measured = window if self.measure == "crop" else box
        return (pixels, window) if inside and measured.larger_than(self.min_size) else None

    def _qualifies(self, name: str) -> bool:
        try:
            return self._subject(name) is not None
        except (ValueError, OSError):
            return True  # `load` meets the same error, and the sample is listed as failed

    def files(self, index: int) -> list[Path]:
        kinds = (("JPEGImages", "jpg"), ("SegmentationClass", "png"), ("SegmentationObject", "png"))
        return [self.root / folder / f"{self.names[index]}.{suffix}" for folder, suffix in kinds]

    def load(self, index: int) -> Sample:
        name = self.names[index]
        subject = self._subject(name)
        if subject is None:
            raise ValueError(f"root: expected the files of {name!r} as they were when the run began, got others")
        pixels, window = subject
        classes = read_indices(self.root / "SegmentationClass" / f"{name}.png")
        image = read_image(self.files(index)[0], "root", upright=False)  # as its masks
        for what, shape in (("SegmentationClass", classes.shape), ("JPEGImages", tuple(image.shape[1:]))):
            if shape != pixels.shape:
                height, width = pixels.shape
                raise ValueError(f"root: expected {name!r} at {width} x {height}, got {shape[1]} x {shape[0]} in {what}")
        kinds = np.unique(classes[pixels]).tolist()
        if len(kinds) != 1 or not 1 <= kinds[0] <= len(CLASSES):
            raise ValueError(f"root: expected one class of 1 to {len(CLASSES)} on the object of {name!r}, got {kinds}")
        view = np.s_[window.top : window.bottom, window.left : window.right]
        classes = classes[view]
        published = self.void == "foreground"
        mask = torch.from_numpy(classes != 0 if published else classes == kinds[0])
        ignore = None if published else torch.from_numpy(classes == VOID)
        return Sample(self.ids[index], image[:, view[0], view[1]].contiguous(), self.prompts[kinds[0] - 1], mask, ignore)


class VOCCropData(SampleData):
    """VOC-C: images of Pascal VOC 2012 with a single subject, cropped, larger than 128 x 128, prompted by the class name.

    The paper says that much; split, crop rule and count are unpublished. Here an image qualifies if its object mask shows
    exactly one object. Crops:

    - ``object`` (ours): the bounding box of the object, grown by ``margin`` times its longer side on every side and to a
      square; moved inside the image where it sticks out, and as long as the image where it is longer than that, so that
      the whole object is always there and the crop is square unless the image is too narrow for it.
    - ``centre``: the largest square in the middle of the image, which the published code makes of its inputs; images whose
      subject lies outside are left out.
    - ``none``: the whole image.

    The paper's "whole image" row (mIoU .281, the mean share of foreground) says how close a crop comes to the authors'.

    Args:
        root: ``VOCdevkit``, or the ``VOC2012`` in it.
        split: a list of ``ImageSets/Segmentation``.
        crop: which rule, see above.
        margin: of the ``object`` crop, a fraction of the object's longer side.
        min_size: pixels that both sides must exceed.
        measure: what must be larger than that: the ``crop``, or the ``subject``'s bounding box.
        void: ``ignore`` leaves VOC's void pixels (255) out of every metric; ``foreground`` counts them as subject, as the
            published notebook does, whose ground truth is every pixel that is not zero.
        template: makes the prompt of a class name, ``{}``; the paper speaks of bare names, its notebook says ``a {}``.
        replacements: other words for class names; None for the published ones (man, monitor, motorcycle).
        batch_size: pairs that are optimised side by side.
        limit: use only that many samples, evenly spread; None for all.
        num_workers: processes that read images.
    """

    def __init__(
        self,
        root: str = "data/VOCdevkit",
        split: Literal["train", "val", "trainval"] = "val",
        crop: Crop = "object",
        margin: float = 0.25,
        min_size: int = 128,
        measure: Measure = "crop",
        void: Void = "ignore",
        template: str = "a {}",
        replacements: dict[str, str] | None = None,
        batch_size: int = 8,
        limit: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        for argument, value, choices in (
            ("split", split, ("train", "val", "trainval")),
            ("crop", crop, ("object", "centre", "none")),
            ("measure", measure, ("crop", "subject")),
            ("void", void, ("ignore", "foreground")),
        ):
            if value not in choices:
                raise ValueError(f"{argument}: expected one of {', '.join(choices)}, got {value!r}")
        if not 0 <= margin < float("inf"):
            raise ValueError(f"margin: expected a fraction of at least 0, got {margin}")
        if "{}" not in template:
            raise ValueError(f"template: expected a text with {{}} where the class name goes, got {template!r}")
        if unknown := sorted(set(replacements or {}) - set(CLASSES)):
            raise ValueError(f"replacements: expected class names of Pascal VOC, got {unknown[0]!r}")
        self.root, self.split, self.crop, self.margin, self.min_size = root, split, crop, margin, min_size
        self.measure, self.void = measure, void
        words = REPLACEMENTS if replacements is None else replacements
        self.prompts = [template.replace("{}", words.get(name, name)) for name in CLASSES]

    def samples(self) -> VOCCropSamples:
        return VOCCropSamples(self.root, self.split, self.crop, self.margin, self.min_size, self.measure, self.void, self.prompts)
