"""Training examples: crops, order, templates, skips; PhraseCut and AIGI in their layouts; scenes in chosen looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from peekaboo.data.base import Failure, Sample, Samples
from peekaboo.data.looks import SEEN_LOOKS
from peekaboo.data.phrasecut import OTHER_SIZE, PhraseCutData
from peekaboo.ldznet import SegmentationData, SquashedData, TrainingScenesData
from peekaboo.ldznet.conditions import check_templates
from peekaboo.ldznet.examples import Examples, Positions, collate, crop_offset, squash

SQUARE = [[4, 2], [13, 2], [13, 11], [4, 11]]


def phrasecut(root: Path, split: str = "train", **changes: dict[str, Any]) -> Path:
    """A hand-made PhraseCut: three phrases over two pictures, one of them small and tall."""
    (root / "images").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name, size in (("5", (20, 32, 3)), ("6", (15, 9, 3)), ("61530", (20, 32, 3))):
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(root / "images" / f"{name}.jpg", quality=95)
    tasks = {
        "5__1": {"image_id": 5, "phrase": "hanging clock", "Polygons": [[SQUARE]]},
        "5__2": {
            "image_id": 5,
            "phrase": "walking people",
            "Polygons": [[[[20, 5], [30, 5], [30, 18]]], [[[0, 0], [3, 0], [3, 3]]]],
        },
        "6__1": {"image_id": 6, "phrase": "red door", "Polygons": [[[[1, 1], [7, 1], [7, 12], [1, 12]]]]},
        "61530__1": {"image_id": 61530, "phrase": "a dog", "Polygons": [[SQUARE]]},
    }
    listed = [{"task_id": name, **task, **changes.get(name, {})} for name, task in tasks.items()]
    (root / f"refer_{split}.json").write_text(json.dumps(listed))
    return root


class Made(Samples):
    """Samples that are a number each; some cannot be read."""

    def __init__(self, count: int, broken: frozenset[int] = frozenset()) -> None:
        self.ids, self.broken = [str(i) for i in range(count)], broken

    def load(self, index: int) -> Sample:
        if index in self.broken:
            raise ValueError(f"Polygons: broken {index}")
        return Sample(str(index), torch.full((3, 8, 8), index / 100), f"thing {index}", torch.ones(8, 8, dtype=torch.bool))


def numbers(examples: Examples, positions: range) -> list[int]:
    return [round(float(examples[p]["image"].mean()) * 100) for p in positions]


def test_a_crop_keeps_enough_of_the_object() -> None:
    """As published: the first offset that leaves over 5 % of the whole picture, else the best of fifty."""
    mask = torch.zeros(20, 60, dtype=torch.bool)
    mask[5:15, 45:55] = True  # 100 pixels; 5 % are 60
    for seed in range(30):
        top, left = crop_offset(mask, np.random.default_rng(seed))
        assert top == 0 and int(mask[:, left : left + 20].sum()) > 0.05 * 20 * 60
    offsets = {crop_offset(mask, np.random.default_rng(seed))[1] for seed in range(30)}
    assert len(offsets) > 3  # it does not take the best where more than one is good
    mask[:] = False
    mask[3, 57:] = True  # never enough
    most = [int(mask[:, left : left + 20].sum()) for _, left in (crop_offset(mask, np.random.default_rng(s)) for s in range(9))]
    assert max(most) == 3 and min(most) >= 2
    tall = mask.T
    top, left = crop_offset(tall, np.random.default_rng(0))
    assert left == 0 and top > 0


def test_squashing_is_bilinear_with_aligned_corners() -> None:
    image = torch.rand(3, 5, 9)
    found = squash(image, 4)
    assert found.shape == (3, 4, 4)
    for corner in ((0, 0), (-1, -1), (0, -1)):
        assert torch.allclose(found[:, corner[0], corner[1]], image[:, corner[0], corner[1]])
    mask = (torch.rand(1, 5, 9) > 0.5).float()
    assert set(squash(mask, 4, "nearest").unique().tolist()) <= {0.0, 1.0}


def test_an_epoch_shows_every_sample_once_and_the_next_in_another_order() -> None:
    examples = Examples(Made(10), 8, ["{}"], seed=3, crop=False)
    first, second = numbers(examples, range(10)), numbers(examples, range(10, 20))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    again = Examples(Made(10), 8, ["{}"], seed=3, crop=False)
    assert numbers(again, range(10, 20)) == second  # whoever goes on sees what would have been
    assert numbers(Examples(Made(10), 8, ["{}"], seed=4, crop=False), range(10)) != first
    endless = Examples(Made(10), 8, ["{}"], crop=False, endless=True)
    assert numbers(endless, range(4)) == [0, 1, 2, 3]


def test_templates_and_seeds_are_drawn_by_position_or_by_sample() -> None:
    templates = ["a {}", "the {}", "one {}"]
    examples = Examples(Made(4), 8, templates, crop=False)
    drawn = [examples[p] for p in range(40)]
    assert {one["prompt"].split()[0] for one in drawn} == {"a", "the", "one"}
    assert len({one["seed"] for one in drawn}) == 40
    repeated = [Examples(Made(4), 8, templates, crop=False, repeat=True)[p] for p in range(12)]
    assert len({(one["key"], one["prompt"], one["seed"]) for one in repeated}) == 4


def test_samples_that_cannot_be_used_are_skipped_and_counted() -> None:
    examples = Examples(Made(6, frozenset({0, 1, 2})), 8, ["{}"], crop=False)
    drawn = [examples[p] for p in range(6)]
    assert all(one["key"] in (3, 4, 5) for one in drawn)
    assert collate(drawn)["skipped"] >= 3
    with pytest.raises(ValueError, match="data: expected samples with a mask, got 100 in a row .* Polygons: broken"):
        Examples(Made(3, frozenset(range(3))), 8, ["{}"], crop=False)[0]


def test_ranks_share_positions_and_a_resumed_training_begins_behind() -> None:
    batches = [list(Positions(3, 2, rank, 2)) for rank in (0, 1)]
    assert sorted(p for own in batches for batch in own for p in batch) == list(range(12))
    assert list(Positions(3, 2, 1, 2, first=2)) == batches[1][2:]
    assert len(Positions(3, 2, first=2)) == 3


def test_pixels_that_say_nothing_do_not_count() -> None:
    class Void(Made):
        def load(self, index: int) -> Sample:
            ignore = torch.zeros(8, 8, dtype=torch.bool)
            ignore[:2] = True
            return Sample("x", torch.zeros(3, 8, 8), "x", torch.ones(8, 8, dtype=torch.bool), ignore)

    counts = Examples(Void(1), 8, ["{}"], crop=False)[0]["counts"]
    assert float(counts[0, :2].sum()) == 0 and float(counts.sum()) == 48


def test_phrasecut_is_trained_on_in_its_public_layout(tmp_path: Path) -> None:
    phrasecut(tmp_path, **{"5__1": {"Polygons": []}})
    train = PhraseCutData(str(tmp_path), "train", annotated_size=True)
    assert train.ids() == ["5__1", "5__2", "6__1"]  # 61530 was annotated at another size
    assert len(OTHER_SIZE) == 17
    data = SegmentationData(train, side=16)
    examples = data.examples(0)
    drawn = [examples[p] for p in range(6)]
    assert {one["prompt"] for one in drawn} <= {t.format(p) for t in data.templates for p in ("walking people", "red door")}
    assert sum(one["skipped"] for one in drawn) >= 2  # the phrase without a polygon, once an epoch
    for one in drawn:
        assert one["image"].shape == (3, 16, 16) and one["mask"].shape == (1, 16, 16)  # the small picture, too
        assert set(one["mask"].unique().tolist()) <= {0.0, 1.0} and float(one["mask"].sum()) > 0
    for split in ("val", "test", "miniv"):
        phrasecut(tmp_path, split)
        assert len(PhraseCutData(str(tmp_path), split).samples()) == 4  # type: ignore[arg-type]


def test_a_split_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    phrasecut(tmp_path)
    data = SegmentationData(PhraseCutData(str(tmp_path), "train"), PhraseCutData(str(tmp_path), "val"))
    with pytest.raises(FileNotFoundError, match=r"root: expected <root>/refer_<split>.json .*refer_val.json' does not exist"):
        data.setup("fit")


def test_scenes_are_of_the_looks_that_are_asked_for() -> None:
    data = TrainingScenesData(["twemoji", "fluent_flat"], size=16)
    samples = data.samples()
    one = samples[3]
    assert isinstance(one, Sample) and one.mask is not None and bool(one.mask.any())
    assert data.endless and not TrainingScenesData(size=16, count=4).endless
    again, other = TrainingScenesData(["twemoji", "fluent_flat"], size=16).samples()[3], TrainingScenesData(size=16).samples()[3]
    assert isinstance(again, Sample) and isinstance(other, Sample)
    assert torch.equal(one.image, again.image) and not torch.equal(one.image, other.image)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TrainingScenesData(["openmoji"]), "looks: expected none of 'openmoji', which is kept out of training"),
        (lambda: TrainingScenesData(["fxemoji"]), "looks: expected none of 'fxemoji'"),
        (lambda: TrainingScenesData(["crayon"]), "looks: expected some of"),
        (lambda: TrainingScenesData(seed=1), "seed: expected at least 1000"),
        (lambda: TrainingScenesData(vary=2), r"vary: expected a share in \[0, 1\], got 2"),
        (lambda: TrainingScenesData(count=0), "count: expected at least 1, or null"),
        (lambda: SegmentationData(TrainingScenesData(), batch_size=0), "batch_size, side, num_workers: expected at least 1"),
        (lambda: SegmentationData(TrainingScenesData(), templates=["a dog"]), "templates: expected texts with one {} each"),
        (lambda: SegmentationData(TrainingScenesData(), min_area=1), "min_area: expected a share"),
        (lambda: check_templates([]), "templates: expected texts"),
        (lambda: SquashedData(TrainingScenesData(limit=3)), "data.data.limit: expected null"),
        (lambda: SquashedData(TrainingScenesData(), side=8), "side: expected at least 16 pixels, got 8"),
    ],
)
def test_mistakes_are_said_in_one_line(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_a_squashed_data_set_is_scored_at_the_networks_size(tmp_path: Path) -> None:
    phrasecut(tmp_path, "test")
    plain = PhraseCutData(str(tmp_path))
    data = SquashedData(plain, side=16)
    assert data.ids() == plain.ids()
    for own, theirs in zip(data.samples(), plain.samples(), strict=True):  # type: ignore[call-overload]
        assert isinstance(own, Sample) and isinstance(theirs, Sample) and own.mask is not None and theirs.mask is not None
        assert own.image.shape == (3, 16, 16)
        assert torch.equal(own.image, squash(theirs.image, 16))
        assert torch.equal(own.mask, squash(theirs.mask[None].float(), 16, "nearest")[0] > 0.5)
        assert own.prompt == theirs.prompt and own.source == theirs.source and own.content == theirs.content


def test_the_other_looks_are_a_set_of_their_own() -> None:
    from peekaboo.data.benchmark import LOOK_SETS

    assert set(LOOK_SETS["others"]) | {"fluent_3d"} == set(SEEN_LOOKS)
    assert "fluent_3d" not in LOOK_SETS["others"]


def test_a_failure_is_no_example() -> None:
    assert isinstance(Made(1, frozenset({0}))[0], Failure)
