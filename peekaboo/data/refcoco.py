"""RefCOCO, RefCOCO+ and RefCOCOg: referring expressions over COCO images, in the layout of the REFER distribution.

"Modeling Context in Referring Expressions", Yu et al., arXiv 1608.00272; "Generation and Comprehension of Unambiguous Object
Descriptions", Mao et al., arXiv 1511.02283. The expressions come as a pickle, which is read as plain data or not at all.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..functional.optional import extra
from .base import Sample, SampleData, Samples
from .checks import check_text, read_json, require, user_path
from .images import read_image
from .names import slug, unique

#: Who made which splits.
SPLITS: dict[str, tuple[str, ...]] = {"refcoco": ("unc", "google"), "refcoco+": ("unc",), "refcocog": ("umd", "google")}
LAYOUT = "<root>/<dataset>/refs(<split_by>).p and instances.json, as the REFER distribution (lichengunc/refer) has them"
SOURCE = (
    "get refcoco.zip, refcoco+.zip or refcocog.zip from the REFER project (github.com/lichengunc/refer) and unpack it in root"
)
COCO = "get 'train2014.zip' from the COCO site (cocodataset.org), unpack it there or set images"
MAX_COORDINATE = 1e5  # beyond it a polygon is broken, and tracing its edges would fill the memory


class _PlainUnpickler(pickle.Unpickler):
    """Admits what needs no import: dicts, lists, tuples, sets, strings, bytes, numbers, booleans and None."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise ValueError(f"it asks for {module_name}.{global_name}, which could run code")


def read_plain_pickle(path: Path, argument: str) -> Any:
    """Reads a pickle of plain data, of Python 2 or 3, without running anything that is in it.

    Raises:
        ValueError: if it holds anything else (nothing of it has run), or is broken.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="utf-8", errors="replace").load()
    except OSError:
        raise
    except Exception as error:  # a broken pickle raises whatever its bytes happen to spell
        raise ValueError(
            f"{argument}: expected a pickle of plain data, got {str(path)!r}: {error or type(error).__name__}"
        ) from None


def _counts(text: str) -> list[int]:
    """Decodes COCO's compressed run lengths: 5 bits a character from "0" on, low bits first, from the fourth run on as the
    difference to the run two before."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            if position == len(text) or not 0 <= (bits := ord(text[position]) - 48) < 64:
                raise ValueError("segmentation: expected compressed run lengths, got broken text")
            value |= (bits & 31) << shift
            more, shift, position = bool(bits & 32), shift + 5, position + 1
            if not more and bits & 16:
                value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def decode_rle(rle: Mapping[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """Decodes COCO's run lengths, compressed or not, to (H, W); lengths that do not add up to H·W are refused.

    pycocotools does not check the sum: of too short ones it returns memory that nobody wrote.

    Raises:
        ValueError: if they are broken or of another size.
    """
    size, counts = rle.get("size"), rle.get("counts")
    if size not in ([height, width], (height, width)):
        raise ValueError(f"segmentation: expected run lengths of size {[height, width]}, got {size}")
    if isinstance(counts, bytes):
        counts = counts.decode("latin1")
    if isinstance(counts, str):
        counts = _counts(counts)
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts) or sum(counts) != height * width:
        raise ValueError(f"segmentation: expected run lengths that add up to {height * width}, got others")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T.copy()


def fill_polygon(polygon: Sequence[float], height: int, width: int) -> NDArray[np.bool_]:
    """Fills one polygon [x0, y0, x1, y1, ...] as COCO does, to (H, W); fewer than three points enclose nothing.

    Raises:
        ValueError: if it is no list of x, y pairs.
    """
    with extra("coco", "segmentation: a polygon"):
        from pycocotools import mask as coco  # type: ignore[import-untyped]

    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.full(1, np.nan)
    if points.ndim != 1 or len(points) % 2 or not (np.abs(points) < MAX_COORDINATE).all():
        raise ValueError("segmentation: expected a polygon [x0, y0, x1, y1, ...], got something else")
    if len(points) < 6:
        return np.zeros((height, width), dtype=bool)
    return decode_rle(coco.frPyObjects([points.tolist()], height, width)[0], height, width)


def rasterise(segmentation: object, height: int, width: int) -> NDArray[np.bool_]:
    """Draws a COCO segmentation: the union of its polygons, or its run lengths.

    Args:
        segmentation: a list of polygons, or run lengths ``{"size": [h, w], "counts": list or text}``, or a list of those.
        height: H of the image.
        width: W of the image.

    Returns:
        (H, W), not empty.

    Raises:
        ValueError: if it is broken, of another size or covers no pixel.
    """
    parts = segmentation if isinstance(segmentation, list) else [segmentation]
    mask = np.zeros((height, width), dtype=bool)
    for part in parts:
        if not isinstance(part, (dict, list)):
            raise ValueError(f"segmentation: expected polygons or run lengths, got {type(part).__name__}")
        mask |= decode_rle(part, height, width) if isinstance(part, dict) else fill_polygon(part, height, width)
    if not mask.any():
        raise ValueError("segmentation: expected at least one foreground pixel, got an empty mask")
    return mask


def in_split(split: str, wanted: str) -> bool:
    """Whether a reference of that split is wanted: ``test`` means every test split, ``testA`` includes ``testAB``."""
    if wanted.startswith("test"):
        return split.startswith("test") and set(wanted[4:]) <= set(split[4:])
    return split == wanted


class RefCOCOSamples(Samples):
    """The expressions of a split, each with its object's mask."""

    def __init__(self, data: RefCOCOData) -> None:
        root = user_path(data.root)
        folder = require(root / data.collection, "root", LAYOUT, SOURCE)
        refs_file = require(folder / f"refs({data.split_by}).p", "root", LAYOUT, SOURCE)
        instances_file = require(folder / "instances.json", "root", LAYOUT, SOURCE)
        default = root / "images" / "mscoco" / "images" / "train2014"
        self.folder = user_path(data.images) if data.images else default
        require(self.folder, "images", "COCO's train2014 images", COCO)
        refs = read_plain_pickle(refs_file, "root")
        try:
            there = sorted({str(ref["split"]) for ref in refs})
            self._index([ref for ref in refs if in_split(ref["split"], data.split)], data.sentences)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"root: expected the references of {LAYOUT}, got {str(refs_file)!r} ({error!r})") from None
        if not self.items:
            splits = ", ".join(there) or "none"
            raise ValueError(f"split: expected one that {str(refs_file)!r} has ({splits}), got {data.split!r}")
        instances = read_json(instances_file, "root")
        try:
            wanted = {annotation for annotation, _, _ in self.items}
            self.annotations = {a["id"]: a["segmentation"] for a in instances["annotations"] if a["id"] in wanted}
            self.sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in instances["images"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"root: expected COCO annotations, got {str(instances_file)!r} ({error!r})") from None

    def _index(self, refs: list[dict[str, Any]], which: str) -> None:
        """Lists (annotation, image, expression) and ids of those references."""
        self.items: list[tuple[int, int, object]] = []
        names = []
        for ref in refs:
            sentences = ref["sentences"] if which == "all" else ref["sentences"][:1]
            self.items += [(int(ref["ann_id"]), int(ref["image_id"]), sentence["sent"]) for sentence in sentences]
            names += [slug(f"ref{ref['ref_id']}-sent{sentence['sent_id']}") for sentence in sentences]
        self.ids = unique(names, self.items)

    def files(self, index: int) -> list[Path]:
        return [self.folder / f"COCO_train2014_{self.items[index][1]:012d}.jpg"]

    def annotation(self, index: int) -> Any:
        annotation, _, sentence = self.items[index]
        return [sentence, self.annotations.get(annotation)]

    def load(self, index: int) -> Sample:
        annotation, number, sentence = self.items[index]
        if annotation not in self.annotations or number not in self.sizes:
            raise ValueError(f"root: expected annotation {annotation} and image {number} in instances.json, got no such")
        image = read_image(self.files(index)[0], "images", upright=False)  # as its annotations
        height, width = self.sizes[number]
        if tuple(image.shape[1:]) != (height, width):
            raise ValueError(f"images: expected image {number} at {width} x {height}, got {image.shape[2]} x {image.shape[1]}")
        prompt = check_text(sentence, f"root: sentence of {self.ids[index]}")
        mask = torch.from_numpy(rasterise(self.annotations[annotation], height, width))
        return Sample(self.ids[index], image, prompt, mask)


class RefCOCOData(SampleData):
    """RefCOCO, RefCOCO+ or RefCOCOg; one sample an expression.

    Args:
        root: the folder of ``refcoco``, ``refcoco+`` and ``refcocog``.
        dataset: which of them.
        split_by: who split it: ``unc`` or ``google`` for refcoco, ``unc`` for refcoco+, ``umd`` or ``google`` for refcocog.
        split: ``val``, ``testA`` (people), ``testB`` (other things), ``test`` (all test splits) or ``train``.
        images: COCO's train2014 folder; None for ``<root>/images/mscoco/images/train2014``.
        sentences: ``all`` expressions of an object, or its ``first``.
        batch_size: pairs that are optimised side by side.
        limit: use only that many samples, evenly spread; None for all.
        num_workers: processes that read images.
    """

    def __init__(
        self,
        root: str = "data/refer",
        dataset: Literal["refcoco", "refcoco+", "refcocog"] = "refcoco",
        split_by: Literal["unc", "google", "umd"] = "unc",
        split: Literal["val", "testA", "testB", "test", "train"] = "val",
        images: str | None = None,
        sentences: Literal["all", "first"] = "all",
        batch_size: int = 8,
        limit: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        for argument, value, choices in (
            ("dataset", dataset, tuple(SPLITS)),
            ("split_by", split_by, SPLITS.get(dataset, ())),
            ("split", split, ("val", "testA", "testB", "test", "train")),
            ("sentences", sentences, ("all", "first")),
        ):
            if value not in choices:
                raise ValueError(f"{argument}: expected one of {', '.join(choices)} for {dataset}, got {value!r}")
        self.root, self.collection, self.split_by, self.split = root, dataset, split_by, split
        self.images, self.sentences = images, sentences

    def samples(self) -> RefCOCOSamples:
        return RefCOCOSamples(self)
