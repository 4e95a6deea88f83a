"""PhraseCut's and AIGI's layouts, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from peekaboo.data.aigi import AIGIData
from peekaboo.data.base import Failure, Sample
from peekaboo.data.phrasecut import PhraseCutData, fill_polygons

HEIGHT, WIDTH = 20, 30
BOX = [[2, 3], [9, 3], [9, 12], [2, 12]]
TASK = {"task_id": "5__77", "image_id": 5, "phrase": "hanging clock", "Polygons": [[BOX]], "ann_ids": [77]}


def build(root: Path, *tasks: Any) -> str:
    (root / "images").mkdir(exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), "blue").save(root / "images" / "5.jpg")
    (root / "refer_test.json").write_text(json.dumps(tasks))
    return str(root)


def test_one_sample_a_phrase(tmp_path: Path) -> None:
    samples = PhraseCutData(build(tmp_path, TASK, {**TASK, "task_id": "5__78", "phrase": "wall"}, TASK)).samples()
    assert list(samples.ids)[:2] == ["5__77", "5__78"] and samples.ids[2].startswith("5__77-")
    one = samples[0]
    assert isinstance(one, Sample) and one.mask is not None
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[3:13, 2:10] = True  # outlines included
    assert (one.prompt, one.image.shape) == ("hanging clock", (3, HEIGHT, WIDTH))
    assert (one.mask.numpy() == expected).all()


def test_all_regions_of_a_phrase_are_united_and_cut_at_the_border() -> None:
    mask = fill_polygons(
        [[BOX, [[20.9, 1.9], [22.2, 1.1], [22, 4], [20, 4]]], [[[28, 15], [99, 15], [99, 99], [28, 99]]]], HEIGHT, WIDTH
    )
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[3:13, 2:10] = expected[1:5, 20:23] = expected[15:, 28:] = True
    assert (mask == expected).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Polygons": []}, "empty mask"),
        ({"Polygons": [[[[50, 50], [60, 50], [60, 60]]]]}, "empty mask"),
        ({"Polygons": [[[[1, 1]]]]}, "empty mask"),
        ({"Polygons": None}, "expected instances of polygons"),
        ({"Polygons": [BOX]}, "expected instances of polygons"),
        ({"Polygons": [[[[1, 2, 3]]]]}, "expected instances of polygons"),
        ({"Polygons": [[[["a", "b"], ["c", "d"]]]]}, "expected instances of polygons"),
        ({"Polygons": [[[[1, 1], [float("inf"), 2], [3, 3]]]]}, "expected instances of polygons"),
        ({"Polygons": [[[[0, 0], [10**12, 0], [5, 5]]]]}, "expected coordinates up to 100000"),
        ({"phrase": ""}, "expected some text"),
        ({"phrase": None}, "expected a string"),
        ({"image_id": 6}, "does not exist"),
    ],
)
def test_broken_samples_fail_alone(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    samples = PhraseCutData(build(tmp_path, TASK, {**TASK, "task_id": "bad", **change})).samples()
    assert isinstance(samples[0], Sample)
    failure = samples[1]
    assert isinstance(failure, Failure) and failure.id == "bad" and said in failure.reason


def test_missing_files_broken_files_and_wrong_splits_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^root: .*refer_test\.json' does not exist; .*PhraseCut project"):
        PhraseCutData(str(tmp_path)).samples()
    build(tmp_path, TASK)
    (tmp_path / "images").rename(tmp_path / "pictures")
    with pytest.raises(FileNotFoundError, match=r"^root: .*images' does not exist; .*PhraseCut project"):
        PhraseCutData(str(tmp_path)).samples()
    (tmp_path / "pictures").rename(tmp_path / "images")
    for content, said in (("[", "which is broken"), ("{}", "list of tasks"), ("[]", "list of tasks"), ("[{}]", "in task 0")):
        (tmp_path / "refer_test.json").write_text(content)
        with pytest.raises(ValueError, match=f"^root: expected .*{said}"):
            PhraseCutData(str(tmp_path)).samples()
    with pytest.raises(ValueError, match=r"^split: expected one of"):
        PhraseCutData(str(tmp_path), split="testA")  # type: ignore[arg-type]


@pytest.fixture
def aigi(tmp_path: Path) -> Path:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:9, 6:12] = 255
    Image.new("RGB", (WIDTH, HEIGHT), "lime").save(tmp_path / "castle.png")
    for name, pixels in (("full", mask), ("empty", mask * 0), ("small", mask[1:])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def annotate(root: Path, content: object) -> AIGIData:
    (root / "annotations.json").write_text(json.dumps(content))
    return AIGIData(str(root))


def test_aigi_reads_every_prompt_of_every_image(aigi: Path) -> None:
    labels = [{"prompt": p, "mask": m} for p, m in (("castle", "full.png"), ("Castle", "full.png"), ("sky", "empty.png"))]
    labels += [{"prompt": "moon", "mask": "small.png"}, {"prompt": "", "mask": "full.png"}, {"prompt": "sea", "mask": 3}]
    batch = next(iter(annotate(aigi, {"castle.png": labels, "none.png": labels[:1]}).test_dataloader()))
    ids = [sample.id for sample in batch[:4]]
    assert [name.rpartition("-")[0] for name in ids[:2]] == ["castle-castle", "castle-Castle"]  # a digest follows
    assert ids[2:] == ["castle-sky", "castle-moon"]
    assert [type(sample) for sample in batch] == [Sample] * 2 + [Failure] * 5
    said = ("empty mask", "expected the image's size 30 x 20, got 30 x 19", "some text", "expected a string", "does not exist")
    assert all(reason in failure.reason for failure, reason in zip(batch[2:], said, strict=True))
    assert batch[0].prompt == "castle" and batch[0].mask.sum() == 30 and batch[0].mask[4:9, 6:12].all()


def test_aigi_says_what_is_missing_or_wrong(aigi: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^annotations: expected .*annotations\.json' does not exist; .*LD-ZNet project"):
        AIGIData(str(aigi)).samples()
    with pytest.raises(FileNotFoundError, match=r"^root: expected .*nowhere' does not exist"):
        AIGIData(str(aigi / "nowhere")).samples()
    for content in ([], {}, {"castle.png": {}}, {"castle.png": []}, {"castle.png": [{"prompt": "x"}]}, {"castle.png": ["x"]}):
        with pytest.raises(ValueError, match=r"^annotations: expected"):
            annotate(aigi, content).samples()
