"""The embedded world: the same on every machine, and true to its captions and masks."""

from __future__ import annotations

import csv
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from peekaboo.data import scenes
from peekaboo.data.backgrounds import BACKGROUNDS, HELD_OUT_BACKGROUNDS, TRAINING_BACKGROUNDS, paint_background
from peekaboo.data.base import Sample
from peekaboo.data.benchmark import SEEDS, Scenes, ScenesData
from peekaboo.data.looks import (
    ASSETS,
    BENCHMARK_SEED,
    FLUENT_3D,
    LOOKS,
    SEEN_LOOKS,
    TUNING_LOOK,
    TUNING_SEED,
    UNSEEN_LOOK,
    drawn_by,
    names_of,
    sprite,
    vocabulary,
)
from peekaboo.data.scenes import KINDS, MIN_VISIBLE, Kind, Scene, compose, noun_phrase
from peekaboo.pretraining.data import FIRST_TRAINING_SEED, Mixture, SceneStream, training_caption, training_scene

SEED = 77


@pytest.mark.parametrize("kind", KINDS)
def test_equal_arguments_give_equal_scenes_and_others_do_not(kind: Kind) -> None:
    first, again = compose(SEED, 3, kind, size=48), compose(SEED, 3, kind, size=48)
    for name in ("image", "target", "masks", "depth"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert (first.prompt, first.names, first.named) == (again.prompt, again.names, again.named)
    assert not np.array_equal(first.image, compose(SEED, 4, kind, size=48).image)
    assert not np.array_equal(first.image, compose(SEED + 1, 3, kind, size=48).image)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_pixels_of_their_objects(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no sprite lies there is the bare background; a visible mask is where its sprite is the topmost opaque one."""
    layers: list[np.ndarray] = []
    backgrounds: list[np.ndarray] = []
    place, paint = scenes._place, paint_background

    def spied(*arguments: object) -> np.ndarray:
        layers.append(place(*arguments))  # type: ignore[arg-type]
        return layers[-1]

    def painted(*arguments: object) -> np.ndarray:
        backgrounds.append(paint(*arguments))  # type: ignore[arg-type]
        return backgrounds[-1]

    monkeypatch.setattr(scenes, "_place", spied)
    monkeypatch.setattr(scenes, "paint_background", painted)
    for index in range(4):
        layers.clear()
        scene = compose(SEED, index, kind, size=64)
        drawn = layers[-len(scene.names) :]
        bare = np.round(backgrounds[-1] * 255).astype(np.uint8)
        untouched = ~np.any([layer[..., 3] > 0 for layer in drawn], axis=0)
        assert untouched.any()
        assert np.array_equal(scene.image[untouched], bare[untouched])
        for i, (layer, mask) in enumerate(zip(drawn, scene.masks, strict=True)):
            opaque = layer[..., 3] > 0.5
            above = (
                np.any([other[..., 3] > 0 for other in drawn[i + 1 :]], axis=0) if i + 1 < len(drawn) else np.zeros_like(opaque)
            )
            solid = mask & (layer[..., 3] == 1) & ~above
            shown = np.round(layer[..., :3] * 255).astype(int)
            assert np.abs(scene.image[solid].astype(int) - shown[solid]).max() <= 1
            assert not (mask & ~opaque).any()


@pytest.mark.parametrize("kind", KINDS)
def test_masks_do_not_overlap_the_target_is_what_is_named_and_enough_is_visible(kind: Kind) -> None:
    for index in range(12):
        scene = compose(SEED, index, kind, size=64)
        assert scene.masks.sum(0).max() == 1
        assert np.array_equal(scene.target, scene.masks[list(scene.named)].any(0))
        assert scene.target.sum() >= 16 * MIN_VISIBLE
        assert len(scene.named) == 1
        assert scene.image.shape == (64, 64, 3) and scene.image.dtype == np.uint8


def test_everything_is_named_where_nothing_is_left_out() -> None:
    scene = compose(SEED, 0, "pair", size=48, partial=False)
    assert scene.named == (0, 1)
    assert scene.prompt == " and ".join(noun_phrase(name) for name in scene.names)
    assert np.array_equal(scene.target, scene.masks.any(0))


def test_depth_is_inverse_and_lies_in_the_unit_interval() -> None:
    for index in range(6):
        scene = compose(SEED, index, "pair", size=48)
        assert scene.depth.dtype == np.float32
        assert scene.depth.min() >= 0 and scene.depth.max() <= 1
        empty = ~scene.masks.any(0)
        assert scene.depth[scene.masks.any(0)].min() > scene.depth[empty].max()  # objects are nearer than the ground
        back, front = scene.masks
        assert np.median(scene.depth[front]) >= np.median(scene.depth[back]) - 0.15  # back to front, but for the relief


def centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())


def is_true(scene: Scene) -> bool:
    """Whether a referring phrase picks the target out of the two, by the centres and extents of their visible pixels."""
    meant, other = scene.masks[scene.named[0]], scene.masks[1 - scene.named[0]]
    (x, y), (u, v) = centre(meant), centre(other)
    if "small" in scene.prompt:
        return bool(meant.sum() < other.sum())
    if "big" in scene.prompt:
        return bool(meant.sum() > other.sum())
    return {"left": x < u, "right": x > u, "top": y < v, "bottom": y > v}[scene.prompt.split()[-1]]


def test_referring_phrases_are_true() -> None:
    drawn = [compose(SEED, index, "referring", size=64) for index in range(60)]
    assert all(len(scene.names) == 2 and scene.names[0] == scene.names[1] for scene in drawn)
    assert all(is_true(scene) for scene in drawn)
    said = {word for scene in drawn for word in scene.prompt.split()}
    assert {"left", "right", "top", "bottom", "small", "big"} <= said


def test_articles() -> None:
    assert noun_phrase("rocket") == "a rocket"
    assert noun_phrase("owl") == "an owl"
    assert noun_phrase("scissors") == "scissors"
    for name in vocabulary():
        words = noun_phrase(name).split(" ", 1)
        if words[0] in ("a", "an"):
            assert (words[0] == "an") == (words[1][0] in "aeiou")


def test_the_vocabulary_has_122_names_with_a_sprite_each() -> None:
    assert len(vocabulary()) == 122
    assert len(set(vocabulary().values())) == 122
    for name in vocabulary():
        picture = sprite(name)
        assert picture.mode == "RGBA"
        assert min(picture.size) > 20
    with pytest.raises(ValueError, match="name: expected one of the 122 words of the embedded world, got 'zeppelin'"):
        sprite("zeppelin")


def test_held_out_backgrounds_are_in_no_training() -> None:
    assert not set(HELD_OUT_BACKGROUNDS) & set(TRAINING_BACKGROUNDS)
    assert set(HELD_OUT_BACKGROUNDS) | set(TRAINING_BACKGROUNDS) == set(BACKGROUNDS)
    assert {training_scene(FIRST_TRAINING_SEED, i, 16).background for i in range(150)} == set(TRAINING_BACKGROUNDS)
    shown = {Scenes({"single": 60}, size=16).scene(i).background for i in range(60)}
    assert set(HELD_OUT_BACKGROUNDS) <= shown


@pytest.mark.parametrize("family", BACKGROUNDS)
def test_backgrounds_are_pictures_of_any_size(family: str) -> None:
    for size in (16, 33):
        canvas = paint_background(family, size, np.random.default_rng(0))
        assert canvas.shape == (size, size, 3)
        assert canvas.dtype == np.float32
        assert canvas.min() >= 0 and canvas.max() <= 1
        assert np.array_equal(canvas, paint_background(family, size, np.random.default_rng(0)))


def test_errors() -> None:
    with pytest.raises(ValueError, match="kind: expected one of single, pair, triple, referring, got 'quad'"):
        compose(0, 0, "quad")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size: expected at least 16 pixels, got 15"):
        compose(0, 0, size=15)
    with pytest.raises(ValueError, match="family: expected one of flat"):
        paint_background("plaid", 16, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"and not 1500 \(the tuning scenes'\), got 1500"):
        SceneStream(SEEDS["tuning"])
    with pytest.raises(ValueError, match="seed: expected at least 1000"):
        SceneStream(1)


def test_no_benchmark_seed_is_a_training_seed() -> None:
    assert SEEDS["benchmark"] < FIRST_TRAINING_SEED


def test_a_benchmark_sample_is_its_scene() -> None:
    data = Scenes({"single": 2, "pair": 2, "referring": 1}, size=32)
    assert data.ids == ["single-000", "single-001", "pair-000", "pair-001", "referring-000"]
    sample, scene = data[2], data.scene(2)
    assert isinstance(sample, Sample)
    assert sample.prompt == scene.prompt
    assert np.array_equal((sample.image * 255).round().byte().permute(1, 2, 0), scene.image)
    assert sample.mask is not None and sample.others is not None
    assert np.array_equal(sample.mask, scene.target)
    assert not (sample.others & sample.mask).any()
    assert np.array_equal(sample.others | sample.mask, scene.masks.any(0))


def test_the_benchmark_has_250_scenes_and_a_limit_spreads_over_them() -> None:
    assert len(ScenesData().samples()) == 250
    with pytest.raises(ValueError, match="split: expected one of benchmark, tuning, got 'train'"):
        ScenesData(split="train")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="single, pair, referring: expected some scenes"):
        ScenesData(0, 0, 0)
    (batch,) = ScenesData(2, 2, 1, size=16, batch_size=10, limit=3).test_dataloader()
    assert [sample.id for sample in batch] == ["single-000", "pair-000", "referring-000"]


def test_recolouring_changes_the_colour_of_objects_and_nothing_else() -> None:
    plain, changed = (compose(SEED, 5, "pair", recolour=share) for share in (0.0, 1.0))
    assert plain.names == changed.names and plain.prompt == changed.prompt
    assert np.array_equal(plain.masks, changed.masks) and np.array_equal(plain.depth, changed.depth)
    difference = np.abs(plain.image.astype(int) - changed.image.astype(int)).max(-1)
    assert all(difference[mask].mean() > 10 for mask in plain.masks)
    layer = np.concatenate((np.random.default_rng(0).random((9, 9, 3)), np.ones((9, 9, 1))), axis=-1).astype(np.float32)
    for seed in range(5):  # hue turned, saturation scaled; value, the largest of the colours, and opacity kept
        again = scenes._recoloured(layer, np.random.default_rng(seed))
        assert np.array_equal(again[..., 3], layer[..., 3])
        assert np.abs(again[..., :3].max(-1) - layer[..., :3].max(-1)).max() < 2 / 255


def test_names_that_say_a_colour_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name for name in vocabulary() if name.split()[0] in ("red", "green", "blue", "yellow")} == scenes.OF_ONE_COLOUR
    monkeypatch.setattr(scenes, "names_of", lambda looks: ("red apple",))
    assert np.array_equal(compose(SEED, 0).image, compose(SEED, 0, recolour=1.0).image)


def test_training_scenes_are_recoloured_on_demand_alone() -> None:
    def apart(share: float) -> float:
        pairs = [
            (training_scene(2000, i, 32, Mixture()), training_scene(2000, i, 32, Mixture(recolour=share))) for i in range(30)
        ]
        return float(np.mean([not np.array_equal(a.image, b.image) for a, b in pairs]))

    assert apart(0.0) == 0 and 0.2 < apart(0.3) < 0.8 and apart(1.0) > 0.9


def test_one_of_several_named_objects_may_shine_through() -> None:
    for index in range(8):
        plain, ghost = (compose(SEED, index, "pair", partial=False, ghosts=share) for share in (0.0, 1.0))
        assert (
            plain.prompt == ghost.prompt and np.array_equal(plain.masks, ghost.masks) and np.array_equal(plain.depth, ghost.depth)
        )
        difference = np.abs(plain.image.astype(int) - ghost.image.astype(int)).max(-1)
        solid, faint = sorted(difference[mask].mean() for mask in plain.masks)
        assert solid < 1 < 5 < faint
        assert not difference[~plain.masks.any(0)].mean() > 2
    for kind, partial in (("pair", True), ("single", False)):  # a caption that leaves the ghost out teaches that it may stay
        assert np.array_equal(*(compose(SEED, 0, kind, partial=partial, ghosts=share).image for share in (0.0, 1.0)))
    several = [i for i in range(60) if len(training_scene(2000, i, 32).named) > 1]
    changed = [
        not np.array_equal(*(training_scene(2000, i, 32, Mixture(ghosts=share)).image for share in (0.0, 0.5))) for i in several
    ]
    assert 0.2 < np.mean(changed) < 0.8


def test_half_of_the_scenes_show_a_word_to_emphasise() -> None:
    words = ["hammer", "chair"]
    kinds: tuple[Kind, ...] = ("single", "pair", "referring")
    for kind in kinds:
        names = [compose(SEED, i, kind, size=16, emphasis=words).names for i in range(200)]
        assert abs(np.mean([bool(set(words) & set(shown)) for shown in names]) - 0.51) < 0.11  # 3 deviations
        others = {name for shown in names for name in shown} - set(words)
        assert len(others) > 40  # the other half, and the neighbours, are of all words
    assert (
        np.mean([bool(set(words) & set(training_scene(2000, i, 16, Mixture(emphasis=words)).names)) for i in range(100)]) > 0.35
    )
    with pytest.raises(ValueError, match="emphasis: expected words of the embedded world, got hamer"):
        compose(SEED, 0, emphasis=["chair", "hamer"])


def test_training_captions_name_what_is_there() -> None:
    rng = np.random.default_rng(0)
    for index in range(80):
        scene = training_scene(FIRST_TRAINING_SEED, index, 32)
        caption = training_caption(scene, rng)
        assert all(scene.names[i] in caption for i in scene.named)


def test_few_training_captions_leave_an_object_out() -> None:
    """One in twenty of the pairs and triples, besides the referring phrases; 400 draws of 40 % have about 8."""
    scenes = [training_scene(FIRST_TRAINING_SEED, i, 16) for i in range(400)]
    several = [scene for scene in scenes if len(set(scene.names)) > 1]
    assert len(several) > 120
    assert 0 < sum(len(scene.named) < len(scene.names) for scene in several) < 0.12 * len(several)


def test_the_stream_goes_on_where_it_is_told_to() -> None:
    stream, later = iter(SceneStream(1000, 16)), iter(SceneStream(1000, 16, first=2))
    items = [next(stream) for _ in range(3)]
    again = next(later)
    assert torch.equal(items[2]["image"], again["image"])
    assert items[2]["caption"] == again["caption"]
    assert float(again["names"].sum()) == pytest.approx(1)


def test_the_bundled_example_is_the_scene_of_the_demo() -> None:
    folder = ASSETS / "examples"
    image = Image.open(folder / "apple_and_bear.png")
    masks = [np.asarray(Image.open(folder / f"{name}_mask.png").convert("L")) > 127 for name in ("apple", "bear")]
    assert all(mask.shape == image.size[::-1] and mask.any() for mask in masks)
    assert not (masks[0] & masks[1]).any()
    apple = np.asarray(image.convert("RGB"))[masks[0]].mean(0)
    assert apple[0] > apple[1] and apple[0] > apple[2]  # red


def test_sprites_are_the_ones_that_were_measured() -> None:
    """Another sprite set would be another benchmark: its numbers would no longer be comparable."""
    digest = hashlib.sha256()
    for file in sorted((ASSETS / "sprites").glob("*.webp")):
        digest.update(file.name.encode() + file.read_bytes())
    assert digest.hexdigest()[:16] == "34140e99d0f7c22f"


#: SHA-256, first 16 digits, of the pixels of scenes 0 to 2 of each kind of the benchmark, before there were other looks.
FLUENT_3D_SCENES = "560521035cb17fb0"


def test_the_scenes_of_fluent_3d_are_what_they_were() -> None:
    digest = hashlib.sha256()
    for kind in KINDS:
        for index in range(3):
            scene = compose(BENCHMARK_SEED, index, kind, backgrounds=BACKGROUNDS)
            assert set(scene.looks) == {FLUENT_3D}
            digest.update(scene.masks.tobytes() + (scene.image // 8).tobytes() + scene.prompt.encode())
    assert digest.hexdigest()[:16] == FLUENT_3D_SCENES


@pytest.mark.parametrize("looks", [(look,) for look in LOOKS] + [SEEN_LOOKS])
def test_a_scene_is_the_same_by_seed_and_look_and_differs_by_look_alone(looks: tuple[str, ...]) -> None:
    for kind in KINDS:
        scene, again = (compose(BENCHMARK_SEED, 5, kind, size=48, looks=looks) for _ in range(2))
        assert np.array_equal(scene.image, again.image) and scene.looks == again.looks
        assert set(scene.looks) <= set(looks) and set(scene.names) <= set(names_of(looks))
        plain = compose(BENCHMARK_SEED, 5, kind, size=48)
        assert np.array_equal(scene.image, plain.image) == (set(scene.looks) == {FLUENT_3D})
        if names_of(looks) == tuple(vocabulary()):
            assert (scene.names, scene.prompt, scene.background) == (plain.names, plain.prompt, plain.background)


def test_a_scene_in_several_looks_shows_all_of_them() -> None:
    shown = {look for i in range(60) for look in compose(SEED, i, "pair", size=16, looks=SEEN_LOOKS).looks}
    assert shown == set(SEEN_LOOKS)
    often = [compose(SEED, i, size=16, looks=(FLUENT_3D, FLUENT_3D, "twemoji")).looks[0] for i in range(200)]
    assert abs(often.count(FLUENT_3D) / 200 - 2 / 3) < 0.11  # 3 deviations


def test_no_training_and_no_tuning_draws_the_unseen_look() -> None:
    """The loader refuses it: every seed but the benchmark's, by whatever way it is asked for."""
    assert not {UNSEEN_LOOK, TUNING_LOOK} & set(SEEN_LOOKS)
    for seed in (FIRST_TRAINING_SEED, TUNING_SEED, 0, 2, 900, 10**6):
        with pytest.raises(ValueError, match="kept out of training"):
            compose(seed, 0, size=16, looks=(UNSEEN_LOOK,))
    for seed in (FIRST_TRAINING_SEED, 900, 10**6):
        with pytest.raises(ValueError, match="kept out of training"):
            compose(seed, 0, size=16, looks=(*SEEN_LOOKS, TUNING_LOOK))
    for look in (UNSEEN_LOOK, TUNING_LOOK):
        with pytest.raises(ValueError, match="kept out of training"):
            Mixture(looks=(FLUENT_3D, look))
    with pytest.raises(ValueError, match="kept out of training"):
        ScenesData(1, 1, 1, split="tuning", looks=["unseen"])
    assert not {look for i in range(150) for look in training_scene(2000, i, 16).looks} & {UNSEEN_LOOK, TUNING_LOOK}


@pytest.mark.parametrize("looks", [(), ("watercolour",)])
def test_unknown_looks_are_refused_in_one_line(looks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"^looks: expected some of fluent_3d, .*, got (none|watercolour)$"):
        compose(BENCHMARK_SEED, 0, size=16, looks=looks)
    with pytest.raises(ValueError, match="look: expected one of fluent_3d, .* which draw 'toilet'"):
        sprite("toilet", "watercolour")


def test_groups_of_the_benchmark_say_their_looks() -> None:
    data = ScenesData(1, 1, 1, size=16, looks=["fluent_3d", "seen", "unseen"], batch_size=9)
    (batch,) = data.test_dataloader()
    kinds = ("single", "pair", "referring")
    assert [sample.id for sample in batch] == [f"{prefix}{kind}-000" for prefix in ("", "seen_", "unseen_") for kind in kinds]
    assert [data.group(sample.id) for sample in batch][-1] == "unseen_referring"
    assert [sample.prompt for sample in batch[:3]] == [sample.prompt for sample in batch[3:6]] == [s.prompt for s in batch[6:]]
    with pytest.raises(ValueError, match="looks: expected some of fluent_3d, seen, others, set_aside, unseen, got sketch"):
        ScenesData(looks=["sketch"])  # type: ignore[list-item]


def test_every_sprite_has_its_source_and_licence() -> None:
    folder = ASSETS / "sprites"
    with (folder / "sources.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {file.relative_to(folder).as_posix() for file in folder.glob("*/*.webp")}
    assert all(all(row.values()) for row in rows)
    told = (folder / "LICENSE.looks").read_text("utf-8")
    for row in rows:
        assert row["file"] == f"{row['look']}/{vocabulary()[row['name']]}.webp"
        assert row["package"] in told and row["look"] in LOOKS
        assert row["licence"] in ("MIT", "Apache-2.0", "CC-BY-4.0") or (row["look"], row["licence"]) == (
            UNSEEN_LOOK,
            "CC-BY-SA-4.0",
        )
        assert "noto" not in row["package"]
    for name, looks in drawn_by().items():
        assert {FLUENT_3D, "fluent_flat", "twemoji", UNSEEN_LOOK} <= set(looks), name
        for look in looks:
            image = sprite(name, look)
            assert image.mode == "RGBA" and max(image.size) <= 160 and np.asarray(image)[..., 3].max() == 255, (name, look)


def test_depth_goes_by_where_an_object_stands_when_asked_to() -> None:
    apart = together = 0
    for index in range(40):
        plain, scene = (compose(SEED, index, "pair", size=64, grounded=grounded) for grounded in (False, True))
        assert np.array_equal(plain.image, scene.image) and np.array_equal(plain.masks, scene.masks)
        levels = [float(np.median(scene.depth[mask])) for mask in scene.masks]
        foot = [int(np.flatnonzero(mask.any(1)).max()) for mask in scene.masks]
        grown = np.asarray(Image.fromarray(scene.masks[0]).convert("L").filter(ImageFilter.MaxFilter(3))) > 0
        if not (grown & scene.masks[1]).any() and abs(foot[0] - foot[1]) > 24:  # beyond the 0.15 of the relief
            apart += 1
            assert (levels[0] < levels[1]) == (foot[0] < foot[1])
        elif (grown & scene.masks[1]).any():
            together += 1
    assert apart > 3 and together > 3


def test_of_two_that_overlap_the_one_in_front_is_nearer() -> None:
    layers = [np.zeros((20, 20, 4), dtype=np.float32) for _ in range(2)]
    layers[0][2:18, 2:12, 3] = 1  # stands lower, but behind
    layers[1][2:10, 8:18, 3] = 1
    behind, front = scenes._on_ground(layers)
    assert behind < front
    layers[1][:] = 0
    layers[1][2:10, 14:18, 3] = 1  # no longer in front of it
    lower, higher = scenes._on_ground(layers)
    assert lower > higher
