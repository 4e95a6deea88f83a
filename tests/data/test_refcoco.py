"""RefCOCO: the layout, masks against pycocotools, and a pickle that would run code."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from peekaboo.data.base import Failure, Sample
from peekaboo.data.refcoco import RefCOCOData, decode_rle, fill_polygon, in_split, rasterise, read_plain_pickle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools
HEIGHT, WIDTH = 30, 40
SQUARE = [5.0, 5.0, 25.0, 5.0, 25.0, 20.0, 5.0, 20.0]
BLOB = np.add.outer((np.arange(HEIGHT) - 12) ** 2, (np.arange(WIDTH) - 18) ** 2) < 90


def uncompressed(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, the first of zeros: COCO's definition."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [2]])
    edges = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    return [int(n) for n in counts]


def compressed(mask: np.ndarray) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


SEGMENTATIONS = {
    100: [SQUARE, [30.0, 22.0, 38.5, 22.0, 34.0, 28.5]],
    101: {"size": [HEIGHT, WIDTH], "counts": uncompressed(BLOB)},
    102: compressed(BLOB),
}
REFS = [
    {
        "ref_id": 1,
        "ann_id": 100,
        "image_id": 9,
        "split": "val",
        "category_id": 1,
        "file_name": "COCO_train2014_000000000009_1.jpg",
    }
    | {
        "sentences": [
            {"sent_id": 11, "sent": "the left dog", "tokens": []},
            {"sent_id": 12, "sent": "dog on grass", "tokens": []},
        ]
    },
    {"ref_id": 2, "ann_id": 101, "image_id": 9, "split": "val", "sentences": [{"sent_id": 13, "sent": "a cat"}]},
    {"ref_id": 3, "ann_id": 102, "image_id": 9, "split": "testA", "sentences": [{"sent_id": 14, "sent": "a man"}]},
    {"ref_id": 4, "ann_id": 100, "image_id": 9, "split": "testB", "sentences": [{"sent_id": 15, "sent": "a bus"}]},
]


def build(root: Path, refs: object = REFS, segmentations: dict[int, object] | None = None) -> Path:
    """A REFER tree with refcoco (unc) and one image of 40 x 30 pixels."""
    folder, images = root / "refcoco", root / "images" / "mscoco" / "images" / "train2014"
    folder.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    annotations = [{"id": k, "segmentation": v, "image_id": 9} for k, v in (segmentations or SEGMENTATIONS).items()]
    instances = {"annotations": annotations, "images": [{"id": 9, "height": HEIGHT, "width": WIDTH}], "categories": []}
    (folder / "instances.json").write_text(json.dumps(instances))
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(images / "COCO_train2014_000000000009.jpg")
    return root


def test_one_sample_an_expression(tmp_path: Path) -> None:
    samples = RefCOCOData(str(build(tmp_path))).samples()
    assert list(samples.ids) == ["ref1-sent11", "ref1-sent12", "ref2-sent13"]
    one = samples[1]
    assert isinstance(one, Sample) and one.mask is not None
    assert (one.prompt, one.image.shape, one.ignore) == ("dog on grass", (3, HEIGHT, WIDTH), None)
    expected = coco.decode(coco.merge(coco.frPyObjects(SEGMENTATIONS[100], HEIGHT, WIDTH)))
    assert (one.mask.numpy() == expected).all()


def test_first_expression_by_option_and_splits(tmp_path: Path) -> None:
    root = str(build(tmp_path))
    assert list(RefCOCOData(root, sentences="first").samples().ids) == ["ref1-sent11", "ref2-sent13"]
    assert list(RefCOCOData(root, split="testA").samples().ids) == ["ref3-sent14"]
    assert list(RefCOCOData(root, split="testB").samples().ids) == ["ref4-sent15"]
    assert list(RefCOCOData(root, split="test").samples().ids) == ["ref3-sent14", "ref4-sent15"]
    with pytest.raises(ValueError, match=r"split: expected one that .* has \(testA, testB, val\), got 'train'"):
        RefCOCOData(root, split="train").samples()
    assert in_split("testAB", "testA") and in_split("testAB", "testB") and not in_split("testA", "testB")
    assert not in_split("val", "test") and not in_split("train", "val")


@pytest.mark.parametrize(("dataset", "split_by"), [("refcoco", "google"), ("refcoco+", "unc"), ("refcocog", "umd")])
def test_the_sister_data_sets_and_other_images(tmp_path: Path, dataset: Any, split_by: Any) -> None:
    root = build(tmp_path)
    (root / "refcoco" / "refs(unc).p").rename(root / "refcoco" / f"refs({split_by}).p")
    (root / "refcoco").rename(root / dataset)
    (root / "images" / "mscoco" / "images" / "train2014").rename(root / "elsewhere")
    data = RefCOCOData(str(root), dataset, split_by, images=str(root / "elsewhere"))
    assert len(data.dataset()) == 3  # type: ignore[arg-type]
    assert isinstance(data.samples()[0], Sample)
    with pytest.raises(FileNotFoundError, match=r"^images: expected COCO's train2014 images, .* COCO site"):
        RefCOCOData(str(root), dataset, split_by).samples()


def test_run_lengths_of_both_kinds_against_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for density in (0.0, 0.02, 0.5, 0.98, 1.0):
        for shape in ((1, 1), (7, 9), (64, 3), (300, 400)):
            mask = rng.random(shape) < density
            rle = compressed(mask)
            assert (decode_rle(rle, *shape) == coco.decode(rle).astype(bool)).all()
            assert (decode_rle(rle, *shape) == mask).all()
            assert (decode_rle({"size": list(shape), "counts": uncompressed(mask)}, *shape) == mask).all()
            assert (decode_rle({**rle, "counts": rle["counts"].encode()}, *shape) == mask).all()


def test_polygons_against_pycocotools() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        polygons = [rng.uniform(-5, 45, 2 * rng.integers(3, 9)).tolist() for _ in range(rng.integers(1, 4))]
        expected = coco.decode(coco.merge(coco.frPyObjects(polygons, HEIGHT, WIDTH))).astype(bool)
        assert expected.any() and (rasterise(polygons, HEIGHT, WIDTH) == expected).all()


def test_a_polygon_of_whole_pixels_is_that_rectangle() -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:20, 5:25] = True
    assert (fill_polygon(SQUARE, HEIGHT, WIDTH) == expected).all()
    # Two points enclose nothing; pycocotools would take the four numbers for a box.
    assert (rasterise([SQUARE, [1.0, 1.0, 9.0, 9.0]], HEIGHT, WIDTH) == expected).all()


def test_several_run_lengths_are_united() -> None:
    both = rasterise([compressed(BLOB), SQUARE], HEIGHT, WIDTH)
    assert (both == (BLOB | fill_polygon(SQUARE, HEIGHT, WIDTH))).all()


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([], "empty mask"),
        ([[1.0, 1.0, 2.0, 2.0]], "empty mask"),
        (compressed(BLOB & False), "empty mask"),
        ([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]], "expected a polygon"),
        ([[1.0, 2.0, 3.0, 4.0, 5.0, float("nan")]], "expected a polygon"),
        ([[1.0, 2.0, 1e30, 4.0, 5.0, 6.0]], "expected a polygon"),
        ([["a", "b", "c", "d", "e", "f"]], "expected a polygon"),
        ([[[1, 2], [3, 4], [5, 6]]], "expected a polygon"),
        ("text", "expected polygons or run lengths, got str"),
        (None, "expected polygons or run lengths, got NoneType"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "expected polygons or run lengths, got float"),
        ({"size": [WIDTH, HEIGHT], "counts": [0, WIDTH * HEIGHT]}, "of size [30, 40], got [40, 30]"),
        ({"size": 5, "counts": [0]}, "of size [30, 40], got 5"),
        ({"counts": [0]}, "of size [30, 40], got None"),
        ({"size": [HEIGHT, WIDTH]}, "add up to 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": [10, 5]}, "add up to 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": [-100, 1300]}, "add up to 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": ["a"]}, "add up to 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "add up to 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": compressed(BLOB)["counts"][:-4]}, "add up to 1200"),
        ({"size": [HEIGHT, WIDTH], "counts": "not rle!"}, "broken text"),
        ({"size": [HEIGHT, WIDTH], "counts": "oooo"}, "broken text"),
    ],
)
def test_broken_segmentations_fail_their_samples_alone(tmp_path: Path, segmentation: object, said: str) -> None:
    samples = RefCOCOData(str(build(tmp_path, segmentations={**SEGMENTATIONS, 101: segmentation}))).samples()
    assert isinstance(samples[0], Sample)
    failure = samples[2]
    assert isinstance(failure, Failure) and failure.id == "ref2-sent13" and said in failure.reason


def test_other_broken_samples_fail_alone(tmp_path: Path) -> None:
    refs = [
        *REFS,
        {"ref_id": 5, "ann_id": 999, "image_id": 9, "split": "val", "sentences": [{"sent_id": 16, "sent": "x"}]},
        {"ref_id": 6, "ann_id": 100, "image_id": 8, "split": "val", "sentences": [{"sent_id": 17, "sent": "x"}]},
        {"ref_id": 7, "ann_id": 100, "image_id": 9, "split": "val", "sentences": [{"sent_id": 18, "sent": " "}]},
        {"ref_id": 7, "ann_id": 100, "image_id": 9, "split": "val", "sentences": [{"sent_id": 18, "sent": "y"}]},
    ]
    root = build(tmp_path, refs)
    batch = next(iter(RefCOCOData(str(root)).test_dataloader()))
    assert [type(sample) for sample in batch] == [Sample] * 3 + [Failure] * 3 + [Sample]
    ids = [sample.id for sample in batch[3:]]
    assert ids[:2] == ["ref5-sent16", "ref6-sent17"] and ids[2] != ids[3] and all(i.startswith("ref7-sent18-") for i in ids[2:])
    assert "annotation 999" in batch[3].reason and "image 8" in batch[4].reason and "empty string" in batch[5].reason
    image = root / "images" / "mscoco" / "images" / "train2014" / "COCO_train2014_000000000009.jpg"
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(image)
    failure = RefCOCOData(str(root)).samples()[0]
    assert isinstance(failure, Failure) and "expected image 9 at 40 x 30, got 40 x 31" in failure.reason
    image.unlink()
    failure = RefCOCOData(str(root)).samples()[0]
    assert isinstance(failure, Failure) and "does not exist" in failure.reason


@pytest.mark.parametrize("missing", ["refcoco", "refcoco/refs(unc).p", "refcoco/instances.json"])
def test_what_is_missing_is_told_with_where_to_get_it(tmp_path: Path, missing: str) -> None:
    build(tmp_path)
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"^root: expected <root>/<dataset>/refs.*REFER project") as error:
        RefCOCOData(str(tmp_path)).samples()
    assert str(tmp_path / missing) in str(error.value) and "\n" not in str(error.value)


class Malicious:
    """What a stranger could have pickled: loading it creates a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_before_it_runs(tmp_path: Path, protocol: int) -> None:
    root = build(tmp_path / "data")
    sentence = {"sent_id": 1, "sent": Malicious(tmp_path / "pwned")}
    file = root / "refcoco" / "refs(unc).p"
    file.write_bytes(pickle.dumps([{**REFS[0], "sentences": [sentence]}], protocol))
    with pytest.raises(ValueError, match=r"^root: expected a pickle of plain data, got .*mkdir, which could run code$"):
        RefCOCOData(str(root)).samples()
    assert not (tmp_path / "pwned").exists()
    pickle.loads(file.read_bytes())  # an ordinary reader would have run it
    assert (tmp_path / "pwned").is_dir()


def test_no_class_is_admitted_not_even_a_harmless_one(tmp_path: Path) -> None:
    for value in (np.int64(1), Path("x"), print, complex(1, 2), Exception()):
        (tmp_path / "x.p").write_bytes(pickle.dumps([value]))
        with pytest.raises(ValueError, match="expected a pickle of plain data"):
            read_plain_pickle(tmp_path / "x.p", "root")


def test_plain_pickles_of_every_protocol_and_of_python_2_are_read(tmp_path: Path) -> None:
    value = [{"a": (1, 2.5, None, True), "b": ["é", b"\xff", 10**30], "c": {"d": {1, 2}}}]
    for protocol in range(4, pickle.HIGHEST_PROTOCOL + 1):  # older ones name `builtins.set` and `codecs.encode`
        (tmp_path / "x.p").write_bytes(pickle.dumps(value, protocol))
        assert read_plain_pickle(tmp_path / "x.p", "root") == value
    for protocol in range(4):
        (tmp_path / "x.p").write_bytes(pickle.dumps(REFS, protocol))
        assert read_plain_pickle(tmp_path / "x.p", "root") == REFS
    # Python 2: [u'\xe9', 'caf\xc3\xa9', 'Latin-1 \xe9'], protocol 2; byte strings become text, and no byte stops the run.
    (tmp_path / "x.p").write_bytes(b"\x80\x02]q\x00(X\x02\x00\x00\x00\xc3\xa9U\x05caf\xc3\xa9U\x09Latin-1 \xe9e.")
    assert read_plain_pickle(tmp_path / "x.p", "root") == ["é", "café", "Latin-1 \ufffd"]


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"junk", pickle.dumps(REFS)[:-20], b"\x80\x02K\x01b.", b"\x80\x63."])
def test_a_broken_pickle_is_one_line(tmp_path: Path, content: bytes) -> None:
    root = build(tmp_path)
    (root / "refcoco" / "refs(unc).p").write_bytes(content)
    with pytest.raises(ValueError, match=r"^root: expected a pickle of plain data") as error:
        RefCOCOData(str(root)).samples()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "refs", [{"a": 1}, 5, [1], [{"split": "val"}], [{**REFS[0], "ann_id": "x"}], [{**REFS[0], "sentences": [1]}]]
)
def test_other_references_are_refused(tmp_path: Path, refs: object) -> None:
    with pytest.raises(ValueError, match=r"^root: expected the references of"):
        RefCOCOData(str(build(tmp_path, refs))).samples()


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"annotations": [1], "images": []}', '{"annotations": [], "images": [{"id": 1}]}']
)
def test_broken_instances_are_one_line(tmp_path: Path, content: str) -> None:
    root = build(tmp_path)
    (root / "refcoco" / "instances.json").write_text(content)
    with pytest.raises(ValueError, match=r"^root: expected .*instances\.json'"):
        RefCOCOData(str(root)).samples()


@pytest.mark.parametrize(
    ("dataset", "split_by", "said"),
    [("refcoco", "umd", "unc, google"), ("refcoco+", "google", "unc"), ("refcocog", "unc", "umd, google")],
)
def test_splits_that_were_never_made_are_refused(dataset: Any, split_by: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^split_by: expected one of {said} for"):
        RefCOCOData(dataset=dataset, split_by=split_by)
