"""The manifest: what a line may say, and that every mistake is told with its line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peekaboo.data.base import Failure, Sample
from peekaboo.data.manifest import ManifestData, read_manifest
from peekaboo.data.names import MAX_ID_BYTES, slug, unique

GOOD = {"image": "a.png", "prompt": "a dog", "mask": "a_mask.png"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image of 7 x 5 pixels that is red on the left, its mask, and an empty mask."""
    image, mask = np.zeros((5, 7, 3), np.uint8), np.zeros((5, 7), np.uint8)
    image[:, :3], mask[:, :3] = (255, 0, 0), 255
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    Image.fromarray(mask[:4]).save(tmp_path / "low_mask.png")
    Image.fromarray(mask * 0).save(tmp_path / "empty_mask.png")
    return tmp_path


def write(folder: Path, *lines: object) -> str:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "list.jsonl").write_text(text, encoding="utf-8")
    return str(folder / "list.jsonl")


def test_a_line_is_a_sample(folder: Path) -> None:
    sample = ManifestData(write(folder, GOOD)).samples()[0]
    assert isinstance(sample, Sample) and sample.mask is not None
    assert (sample.id, sample.prompt, sample.image.shape, sample.ignore) == ("a-a-dog", "a dog", (3, 5, 7), None)
    expected = (torch.arange(7) < 3).expand(5, 7)
    assert torch.equal(sample.mask, expected)
    assert torch.equal(sample.image, torch.stack([expected.float(), torch.zeros(5, 7), torch.zeros(5, 7)]))


def test_mask_and_id_may_be_left_out_and_blank_lines_and_byte_order_marks_are_nothing(folder: Path) -> None:
    lines = ["\ufeff" + json.dumps({"image": "a.png", "prompt": "x"}), "", {**GOOD, "mask": None, "id": "Köln 1"}, ""]
    samples = ManifestData(write(folder, *lines)).samples()
    assert list(samples.ids) == ["a-x", "Köln 1"]
    assert all(isinstance(s, Sample) and s.mask is None for s in (samples[0], samples[1]))
    assert [entry.line for entry in samples.entries] == [1, 3]


def test_ids_are_unique_whatever_the_lines(folder: Path) -> None:
    lines = [GOOD, GOOD, {**GOOD, "id": "a-a-dog"}, {**GOOD, "prompt": "A dog"}, {**GOOD, "image": "../x/a.jpg"}]
    ids = list(ManifestData(write(folder, *lines)).samples().ids)
    assert ids[2] == "a-a-dog"
    assert len({name.casefold() for name in ids}) == 5
    assert not any("/" in name or name.startswith(".") for name in ids)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"image": "a.png", ', "broken JSON"),
        ("[1]", "expected a JSON object, got list"),
        ({"prompt": "x"}, "got no 'image'"),
        ({"image": "a.png"}, "got no 'prompt'"),
        ({**GOOD, "prompt": "  "}, "'prompt': expected some text, got an empty string"),
        ({**GOOD, "prompt": 5}, "'prompt': expected a string, got int '5'"),
        ({**GOOD, "prompt": None}, "'prompt': expected a string, got NoneType"),
        ({**GOOD, "image": ["a.png"]}, "'image': expected a string, got list"),
        ({**GOOD, "mask": True}, "'mask': expected a string, got bool"),
        ({**GOOD, "masks": "b.png"}, "got 'masks'"),
        ({**GOOD, "id": 3}, "'id': expected a string, got int"),
        ({**GOOD, "id": "../up"}, "'id': expected a name that can be a file's"),
        ({**GOOD, "id": ".hidden"}, "'id': expected a name that can be a file's"),
        ({**GOOD, "id": "x" * (MAX_ID_BYTES + 1)}, "'id': expected a name that can be a file's"),
        ({**GOOD, "id": "FIRST"}, "expected a new id, got 'FIRST' of line 1"),
        ("9" * 5000, "expected a JSON object"),
        ("[" * 100_000, "expected a JSON object"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_number(folder: Path, line: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"^manifest: .*list\.jsonl', line 3") as error:
        ManifestData(write(folder, {**GOOD, "id": "first"}, "", line)).samples()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_line_that_is_no_utf8_is_told(folder: Path) -> None:
    (folder / "list.jsonl").write_bytes(json.dumps(GOOD).encode() + b'\n{"image": "\xff"}\n')
    with pytest.raises(ValueError, match="line 2: expected a JSON object in UTF-8"):
        read_manifest(folder / "list.jsonl")


def test_no_file_no_line_and_a_folder_are_told(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"manifest: expected a JSON Lines file, but '.*none.jsonl' does not exist"):
        ManifestData(str(folder / "none.jsonl")).samples()
    with pytest.raises(ValueError, match="at least one line"):
        ManifestData(write(folder, "", "")).samples()
    with pytest.raises(ValueError, match="got the directory"):
        ManifestData(str(folder)).samples()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "none.png"}, "does not exist"),
        ({"mask": "none.png"}, "does not exist"),
        ({"mask": "low_mask.png"}, "expected the image's size 7 x 5, got 7 x 4"),
        ({"mask": "empty_mask.png"}, "got an empty mask"),
        ({"image": "list.jsonl"}, "which is none"),
    ],
)
def test_a_broken_sample_fails_alone_and_says_its_line(folder: Path, change: dict[str, str], said: str) -> None:
    batch = next(iter(ManifestData(write(folder, GOOD, {**GOOD, **change, "id": "bad"})).test_dataloader()))
    assert isinstance(batch[0], Sample)
    assert isinstance(batch[1], Failure) and batch[1].id == "bad"
    assert said in batch[1].reason and "line 2" in batch[1].reason


def test_slugs_fit_a_file_name() -> None:
    assert slug("a/b c\\d:é.png") == "a-b-c-d-é.png"
    assert slug("लाल सेब") == "लाल-सेब"  # vowel signs are marks of their letters
    assert slug("..") == slug("///") == "sample"
    assert len(slug("犬" * 300).encode()) <= 80


def test_ids_that_are_alike_carry_a_digest_of_what_they_name_and_equal_samples_a_number() -> None:
    first, same, other = unique(["a", "a", "A"], ["1", "1", "2"])
    assert first[:2] == "a-" and same == f"{first}-2" and other[:2] == "A-" and other[2:] != first[2:]
    assert unique(["a", "b"], ["1", "2"]) == ["a", "b"]
    assert unique(["a", "b"], ["1", "2"], ["B"])[0] == "a" and unique(["b"], ["2"], ["B"])[0].startswith("b-")
    names = unique(["a", "a", "a-2", "A", "b", "a-2-2"], [1, 1, 2, 3, 4, 5], reserved=["B"])
    assert len({name.casefold() for name in [*names, "b"]}) == 7
    assert unique(["a", "a-2"], [1, 2])[1] == unique(["a", "a", "a-2"], [1, 1, 2])[2] == "a-2"
