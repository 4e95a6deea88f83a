"""What other programs open: COCO by pycocotools, YOLO by supervision and drawn again, labelme's files by what labelme reads.

labelme's own reader cannot be had without Qt. By hand, with Qt mocked, `labelme.LabelFile` of 6.3.1 opens these files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from scipy import ndimage

from peekaboo.evaluation.exports import Exports
from peekaboo.evaluation.folder import RunFolder
from peekaboo.functional.pieces import Mask
from peekaboo.results.finish import Finish

SIZE = (40, 60)


@pytest.fixture
def masks() -> dict[str, Mask]:
    """Blobs with holes and islands; one is empty."""
    rng = np.random.default_rng(3)
    found = {name: ndimage.gaussian_filter(rng.normal(size=SIZE), 3) > 0 for name in ("a-dog", "a-cat", "b-dog", "other-dog")}
    return {**found, "b-cat": np.zeros(SIZE, bool)}


@pytest.fixture
def exports(tmp_path: Path, masks: dict[str, Mask]) -> Exports:
    """Two photographs with two prompts each, two of which differ by their suffix alone."""
    photographs = tmp_path / "photographs"
    (photographs / "trip").mkdir(parents=True)
    for name in ("trip/a.png", "trip/a.bmp", "b.png"):
        Image.new("RGB", SIZE[::-1]).save(photographs / name)
    folder = RunFolder(tmp_path / "run", {})
    rows: list[dict[str, Any]] = []
    files = {"a-dog": "trip/a.png", "a-cat": "trip/a.png", "b-dog": "b.png", "b-cat": "b.png", "other-dog": "trip/a.bmp"}
    for name, file in files.items():
        folder.path.mkdir(exist_ok=True)
        folder.save_picture("masks", name, Image.fromarray(masks[name].astype(np.uint8) * 255))
        source = {"source": str(photographs / file), "error": None, "height": SIZE[0], "width": SIZE[1]}
        rows.append({"id": name, "prompt": f"a {name.split('-')[1]}", **source})
    rows.append({"id": "broken", "prompt": "", "error": "unreadable", "source": "nowhere.png"})
    return Exports(folder, rows, Finish())


@pytest.mark.parametrize("kind", ["rle", "polygons"])
def test_pycocotools_opens_it(exports: Exports, masks: dict[str, Mask], kind: str) -> None:
    coco = COCO(str(exports.coco(kind)))
    assert sorted(image["file_name"] for image in coco.imgs.values()) == ["b.png", "trip/a.bmp", "trip/a.png"]
    assert [category["name"] for category in coco.cats.values()] == ["a dog", "a cat"]
    seen = {}
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation).astype(bool)
        seen[annotation["sample"]] = mask
        assert np.array_equal(mask, masks[annotation["sample"]])
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == rle.toBbox(coco.annToRLE(annotation)).tolist()
    assert set(seen) == set(masks) - ({"b-cat"} if kind == "polygons" else set())
    assert len(coco.getAnnIds(imgIds=[1])) == 2


def test_yolos_lines_are_the_masks(exports: Exports, masks: dict[str, Mask]) -> None:
    root = exports.yolo()
    about = yaml.safe_load((root / "data.yaml").read_text())
    assert about["names"] == {0: "a dog", 1: "a cat"} and (Path(about["path"]) / about["train"]).is_dir()
    expected = {("trip/a_png", 0): "a-dog", ("trip/a_png", 1): "a-cat", ("trip/a_bmp", 0): "other-dog", ("b", 0): "b-dog"}
    drawn: dict[tuple[str, int], Mask] = {}
    for file in (root / "labels").rglob("*.txt"):
        stem = file.relative_to(root / "labels").with_suffix("").as_posix()
        for line in file.read_text().splitlines():
            number, *values = line.split()
            points = np.array(values, float).reshape(-1, 2)
            assert points.min() >= 0 and points.max() <= 1 and len(points) >= 4
            ring = (points * SIZE[::-1]).ravel().tolist()
            piece = rle.decode(rle.merge(rle.frPyObjects([ring], *SIZE))).astype(bool)
            drawn[stem, int(number)] = drawn.get((stem, int(number)), np.zeros(SIZE, bool)) | piece
        assert len(list((root / "images").glob(f"{stem}.*"))) == 1  # each label has its image, as Ultralytics looks for it
    assert drawn.keys() == expected.keys()
    for key, name in expected.items():
        assert np.array_equal(drawn[key], masks[name])


def test_supervision_opens_yolo(exports: Exports, masks: dict[str, Mask]) -> None:
    """Its reader takes flat folders; its masks have the pixels on a polygon's line, too."""
    supervision = pytest.importorskip("supervision")
    flat = Exports(exports.folder, [row for row in exports.rows if row["id"].startswith("b-")], exports.finish)
    root = flat.yolo()
    data = supervision.DetectionDataset.from_yolo(
        str(root / "images"), str(root / "labels"), str(root / "data.yaml"), force_masks=True
    )
    assert data.classes == ["a dog", "a cat"] and len(data) == 1
    _, _, found = next(iter(data))
    assert set(found.class_id.tolist()) == {0}
    opened = found.mask.any(0)
    outer = ndimage.binary_dilation(masks["b-dog"], np.ones((3, 3)))
    assert opened[masks["b-dog"]].all() and not opened[~outer].any()


def test_labelme_finds_what_it_reads(exports: Exports, masks: dict[str, Mask]) -> None:
    root = exports.labelme()
    files = sorted(root.rglob("*.json"))
    assert [file.relative_to(root).as_posix() for file in files] == ["b.json", "trip/a_bmp.json", "trip/a_png.json"]
    for file in files:
        content = json.loads(file.read_text())
        assert set(content) == {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"}
        assert Image.open(file.parent / content["imagePath"]).size == (content["imageWidth"], content["imageHeight"])
        for shape in content["shapes"]:
            assert set(shape) == {"label", "points", "group_id", "description", "shape_type", "flags", "mask"}
            assert shape["shape_type"] == "polygon" and shape["label"] in ("a dog", "a cat")
            assert all(len(point) == 2 and 0 <= point[0] <= 60 and 0 <= point[1] <= 40 for point in shape["points"])
    dog = [shape for shape in json.loads(files[2].read_text())["shapes"] if shape["label"] == "a dog"]
    rings = [np.ravel(shape["points"]).tolist() for shape in dog]
    assert np.array_equal(rle.decode(rle.merge(rle.frPyObjects(rings, *SIZE))).astype(bool), masks["a-dog"])


def test_the_finish_and_the_tolerance_count(exports: Exports) -> None:
    one = Exports(exports.folder, exports.rows, Finish(largest=True, fill_holes=True), tolerance=1.0)
    coco = COCO(str(one.coco("polygons")))
    exact = COCO(str(exports.coco("polygons")))
    assert all(len(annotation["segmentation"]) == 1 for annotation in coco.anns.values())
    points = [sum(len(ring) for a in data.anns.values() for ring in a["segmentation"]) for data in (coco, exact)]
    assert points[0] < points[1] / 2
