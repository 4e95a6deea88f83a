"""The benchmarks run, and their reference is the loop that it says it is."""

from __future__ import annotations

import json
import os
import pickle
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

import alike
import bilateral
import common
import confidence
import evidence
import iteration
import light_processes
import pytest
import quality
import reference
import scaling
import starts
import startup
import teachers
import torch
import true_configurations
from conftest import SIDE
from PIL import Image
from stable_diffusion_14 import TEXT, UNET, VAE, save_random

from peekaboo.functional.bilateral import bilateral_filter, bilateral_weights, pad_weights
from peekaboo.teachers import Diffusion


def run(module: object, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, object]:
    out = Path("figures.json")
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments, "--output", str(out)])
    module.main()  # type: ignore[attr-defined]
    return json.loads(out.read_text())


def test_the_plain_filter_is_the_same_filter() -> None:
    weights, x = bilateral_weights(torch.rand(1, 3, 6, 7)), torch.randn(1, 1, 6, 7)
    torch.testing.assert_close(
        reference.plain_filter(x, weights, 5), bilateral_filter(x, pad_weights(weights), 5), rtol=0, atol=1e-6
    )


def test_the_reference_takes_plain_steps_of_the_published_size(pipeline: Path) -> None:
    loop = reference.Reference(str(pipeline), torch.rand(1, 3, SIDE, SIDE), "a bear", learning_rate=0.0)
    before = loop.raw.detach().clone()
    loop.step()
    assert torch.equal(loop.raw, before)
    loop.optimiser.param_groups[0]["lr"] = 1e-2
    loop.step()
    assert not torch.equal(loop.raw, before)
    assert loop.raw.isfinite().all()


def test_reference_prints_its_time(pipeline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(reference, monkeypatch, "--teacher", str(pipeline), "--side", "16", "--repeats", "1")
    assert found["reference"]["seconds"] > 0  # type: ignore[index]
    assert "| reference |" in capsys.readouterr().out


def test_what_is_timed_in_turn_is_timed_equally_often() -> None:
    calls: list[str] = []
    slow, fast = common.median_seconds_in_turn(
        [lambda: (calls.append("slow"), time.sleep(0.01)), lambda: calls.append("fast")], "cpu", repeats=5, warmup=1, turn=3
    )
    assert slow >= 0.01 > fast
    assert calls == ["slow"] * 4 + ["fast"] * 4 + ["slow"] * 3 + ["fast"] * 3  # each turn with one run that does not count


@pytest.mark.parametrize("apart", [[], ["--apart"]], ids=["in turn", "apart"])
def test_iteration_splits_what_it_times(pipeline: Path, monkeypatch: pytest.MonkeyPatch, apart: list[str]) -> None:
    arguments = ["--teacher", str(pipeline), "--side", "16", "--pairs", "1", "2", "--repeats", "2", "--precision", "32-true"]
    rows = run(iteration, monkeypatch, *arguments, *apart, "--set", "loss.guidance=7.5")["rows"]
    assert [row["pairs"] for row in rows] == [1, 2]
    for row in rows:
        assert set(row["split_ms"]) == set(iteration.PARTS)
        assert all(value > 0 for value in row["split_ms"].values())
        assert sum(row["split_ms"].values()) < 5 * row["ms"]
        assert row["times_reference"] == pytest.approx(row["reference_ms"] / row["ms_a_pair"])
        assert row["times_limit"] > 1  # nothing is faster than the machine
    assert rows[1]["gflop"] == pytest.approx(2 * rows[0]["gflop"])


def test_alike_does_what_the_reference_does(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row has the settings that its name says, and its ratio is of two that took turns."""
    seen: list[Any] = []
    loop = alike.Loop
    monkeypatch.setattr(alike, "Loop", lambda segmenter, *rest: seen.append(segmenter) or loop(segmenter, *rest))
    monkeypatch.setattr(alike, "usable_precision", lambda asked, device: "32-true")
    arguments = ["--teacher", str(pipeline), "--side", "16", "--rounds", "3", "--repeats", "1", "--rows"]
    rows = run(alike, monkeypatch, *arguments, "alike", "bf16", "20 of 40")["rows"]
    assert [row["row"] for row in rows] == ["alike", "20 of 40"]  # half precision is nothing that this processor has
    for row in rows:
        assert len(row["ratios"]) == 3 and row["reference_ms"] / row["ms"] == pytest.approx(row["ratios"][1])
    exact, approximate = (segmenter.alpha for segmenter in seen)
    assert (exact.passes, exact.kernel, exact.dilation, exact.gap_passes, exact.error) == (40, 3, 1, 0, 0)
    assert approximate.error == 0.002 and not exact.compile_filter


def test_bilateral_counts_what_autograd_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--passes", "4", "--repeats", "1"]
    monkeypatch.setattr(bilateral, "FORMS", ("ours", "plain", "kornia"))  # no compiler is asked for
    rows = run(bilateral, monkeypatch, "--sides", "16", *arguments)["rows"]
    ours, plain, kornia = (row["kept_mb"] * 2**20 for row in rows)
    assert ours == 9 * 16 * (16 + 2) * 4  # the weights with their gaps, whatever the number of passes
    assert plain == 9 * 16 * 16 * 4  # the products are linear in the field: of them autograd keeps the weights alone
    assert kornia > ours


def test_scaling_counts_masks_an_hour(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two processes at a common start; what each of them does is done here, since each would import for seconds."""
    settings = f"loss.teacher.path={pipeline},resolution=16"
    seen: list[list[tuple[float, int]]] = []
    options: list[Any] = []
    count, rates_of = scaling.masks_an_hour, scaling.rates_of
    arguments = ["--batches", "1", "--processes", "2", "--iterations", "1", "--set", f"{settings},iterations=7"]
    with monkeypatch.context() as patch:
        patch.setattr(scaling, "masks_an_hour", lambda rates, batch: seen.append(rates) or count(rates, batch))
        patch.setattr(scaling, "rates_of", lambda *given: options.append(given) or rates_of(*given))
        patch.setattr(scaling, "work", light_processes.count_together)
        (row,) = run(scaling, patch, *arguments)["rows"]
    assert sorted(seen[0]) == [(1.0, 7), (2.0, 7)]
    assert row["masks_an_hour"] == pytest.approx(3600 * 3 / 7)
    assert count([(10.0, 60), (5.0, 60)], 4) == pytest.approx(3600)
    threads: list[int] = []
    monkeypatch.setattr(scaling.torch, "set_num_threads", threads.append)
    results: queue.Queue[tuple[float, int]] = queue.Queue()
    scaling.work(*options[0], threading.Barrier(1), results)
    rate, iterations = results.get_nowait()
    assert rate > 0 and iterations == 7 and threads == [max((os.cpu_count() or 1) // 2, 1)]
    assert pickle.loads(pickle.dumps(scaling.work)) is scaling.work  # so a process can be given it


@pytest.mark.slow  # two processes that import everything; the test above has all parts of it
def test_scaling_runs_processes_side_by_side(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = f"loss.teacher.path={pipeline},resolution=16"
    seen: list[list[tuple[float, int]]] = []
    count = scaling.masks_an_hour
    monkeypatch.setattr(scaling, "masks_an_hour", lambda rates, batch: seen.append(rates) or count(rates, batch))
    arguments = ["--batches", "1", "--processes", "2", "--iterations", "1", "--set", f"{settings},iterations=7"]
    (row,) = run(scaling, monkeypatch, *arguments)["rows"]
    assert [iterations for _, iterations in seen[0]] == [7, 7]
    assert row["masks_an_hour"] == pytest.approx(sum(3600 * rate / 7 for rate, _ in seen[0]))


def test_scaling_ends_when_a_process_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other waits for it at the common start, and would for ever."""
    monkeypatch.setattr(scaling, "work", light_processes.fail_in_turn)
    with pytest.raises(SystemExit, match="scaling: a process failed"):
        run(scaling, monkeypatch, "--batches", "1", "--processes", "2")


def test_a_random_pipeline_of_a_given_size_is_one_that_the_teacher_loads(tmp_path: Path) -> None:
    networks = {
        "unet": {**UNET, "block_out_channels": (32, 32, 32, 32), "cross_attention_dim": 24, "sample_size": 8},
        "vae": {**VAE, "block_out_channels": (32, 32, 32, 32)},
        "text_encoder": {**TEXT, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1},
    }
    teacher = Diffusion(str(save_random(tmp_path / "pipeline", networks)))
    assert teacher.latent_shape() == (4, 8, 8)
    text = teacher.embed(["a dog", ""])
    assert teacher.predict_noise(torch.zeros(2, 4, 8, 8), torch.tensor([3, 900]), text).isfinite().all()


def test_quality_says_when_the_masks_are_good_enough(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = f"loss.teacher.path={pipeline},resolution=16"
    arguments = ["--singles", "1", "--pairs", "2", "--batch", "2", "--at", "1", "2", "--precision", "32-true", "--set", settings]
    rows = run(quality, monkeypatch, *arguments, "--set", f"{settings},loss.guidance=7.5")["rows"]
    assert [row["iterations"] for row in rows] == [1, 2, 1, 2]
    segmenter, scenes = common.load("rgb_bilateral", f"{settings},iterations=2,settled=null"), common.tuning_scenes(1, 2)
    seeds = [segmenter.sample_seed(scene.id) for scene in scenes]
    ious = [float(result.iou) for result in segmenter.segment(scenes, seeds)]
    assert (rows[1]["single"], rows[1]["pair"]) == pytest.approx((ious[0], sum(ious[1:]) / 2), abs=1e-3)
    enough = 1 if rows[0]["pair"] >= 0.98 * rows[1]["pair"] else 2
    assert [row["98_percent_after"] for row in rows[:2]] == [enough, enough]


def test_quality_counts_masks_that_have_settled(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = f"loss.teacher.path={pipeline},resolution=16,optimizer.lr=0.0001,settled=0.5"
    arguments = ["--singles", "1", "--pairs", "2", "--batch", "2", "--at", "30", "40", "--set", settings]
    settled, later = run(quality, monkeypatch, *arguments)["rows"]
    columns = ("single", "pair", "pair_other", "seconds_a_mask")
    assert {c: settled[c] for c in columns} == pytest.approx({c: later[c] for c in columns}, rel=0.2)
    assert later["pair"] == settled["pair"] > 0


@pytest.mark.slow
def test_evidence_tells_the_named_object_from_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = evidence.tuning_scenes(0, 2)
    named, other = (torch.stack([getattr(s, area) for s in scenes])[:, None].float() for area in ("mask", "others"))
    found = evidence.summarise(2 * other - named, scenes)
    assert found == {"named": -1, "other": 2, "ground": 0, "named_favoured": 1, "other_lowered": 1}
    assert evidence.summarise(-other, scenes)["named_favoured"] == 0
    arguments = ["--pairs", "2", "--draws", "2", "--opacities", "0.75", "--timesteps", "20-200", "200-600"]
    rows = run(evidence, monkeypatch, *arguments)["rows"]
    assert [row["timesteps"] for row in rows] == ["20-200", "200-600"]
    assert all(row["named"] < row["ground"] for row in rows)  # the shipped teacher wants more of what it is told to see


@pytest.mark.slow
def test_startup_times_a_run_and_its_imports(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first, end, said = startup.start("raster.yaml", "-X", "importtime")
    assert 0 < first < end and startup.import_seconds(said)["torch"] > 0.1
    runs = iter([(9.0, 9.0, ""), (2.0, 3.0, ""), (4.0, 7.0, ""), (9.0, 9.0, said)])  # warm-up, two that count, imports
    monkeypatch.setattr(startup, "start", lambda *_: next(runs))
    found = run(startup, monkeypatch, "--config", "raster.yaml", "--repeats", "2")
    assert found["seconds"] == {"to the first iteration": [2, 4], "to the end": [3, 7]}
    assert found["imports"] == startup.import_seconds(said)
    assert "| to the first iteration | 3 | 2 | 4 |" in capsys.readouterr().out


def test_startup_says_what_went_wrong() -> None:
    with pytest.raises(SystemExit, match="no_such"):
        startup.start("no_such.yaml")
    lines = [
        "import time: self [us] | cumulative | package",
        "import time:   1500000 |    1600000 |   torch.nn",
        "import time: 5 | 6 | torch",
    ]
    assert startup.import_seconds("\n".join(lines)) == {"torch": 1.500005}


@pytest.mark.slow
def test_teachers_are_counted_and_measured_at_their_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    unet = {**UNET, "block_out_channels": (32, 32, 32, 32), "cross_attention_dim": 24, "sample_size": 8}
    vae = ("AutoencoderKL", {**VAE, "block_out_channels": (32, 32, 32, 32)})
    text = {**TEXT, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1}
    tiny = ("StableDiffusionPipeline", unet, true_configurations.SCALED, vae, [text], 1.0)
    monkeypatch.setitem(true_configurations.TEACHERS, "tiny", tiny)
    (row,) = run(teachers, monkeypatch, "tiny", "--device", "cpu", "--repeats", "1")["rows"]
    assert 0 < row["gb_at_rest"] < row["gb_with_text"] and 0 < row["gb_kept"] < 0.1
    assert row["encode_s"] > 0 and row["predict_s"] > 0 and row["encode_tflop"] > 0
    monkeypatch.setattr(sys, "argv", ["benchmark", "gpt"])
    with pytest.raises(SystemExit):
        teachers.main()


def test_starts_follow_the_masks_from_their_map_on(pipeline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[:, :2] = True
    alphas = torch.where(masks, torch.tensor([0.3, 0.9]).view(2, 1, 1), 0.1)  # the first is right, and too faint for .5
    assert starts.figures(alphas, masks) == {"iou": 0.5, "otsu": 1.0, "best": 1.0, "empty": 0.5}
    settings = f"loss.teacher.path={pipeline},resolution=16"
    arguments = ["--set", settings, "--single", "1", "--pair", "1", "--at", "0", "2", "--rows", "none", "attention"]
    rows = run(starts, monkeypatch, *arguments, "--precision", "32-true", "--pictures", "seen.png")["rows"]
    assert [(row["row"], row["iterations"]) for row in rows[:4]] == [("none", 0), ("none", 2), ("none", 0), ("none", 2)]
    assert {row["group"] for row in rows} == {"single", "pair", "set_aside_single", "set_aside_pair"}
    from_noise, from_attention = (
        [r["iou"] for r in rows if r["row"] == row and r["iterations"] == 0] for row in ("none", "attention")
    )
    assert from_noise != from_attention
    assert Image.open("seen.png").height > 4 * 128


def test_confidence_is_measured_and_calibrated(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = f"loss.teacher.path={pipeline},iterations=1,resolution=16"
    found = run(confidence, monkeypatch, "--set", tiny, "--scenes", "1", "--precision", "32-true", "--calibrate")
    assert [(row["kind"], row["present"]) for row in found["rows"]] == [
        ("single", True),
        ("single", False),
        ("pair", True),
        ("pair", False),
    ]
    assert len(found["calibration"]["weights"]) == 3
    sure = [{"present": i < 2, "confidence": 0.9 - 0.3 * i, "gains": [0.1 * i, -0.1 * i, 0.0]} for i in range(4)]
    assert confidence.summarise("all", sure)[1:7] == [2, 2, "1.000", "0.000", "1.000", "0.500"]
    assert confidence.summarise("all", sure)[7:] == ["0.750", "0.150", "1.000", "1.000"]


def test_an_absent_word_is_absent() -> None:
    scenes = confidence.both_prompts(1501, 3)
    for (_, _, present), (_, _, absent) in zip(scenes[::2], scenes[1::2], strict=True):
        assert torch.equal(present.image, absent.image) and present.prompt != absent.prompt
    assert {confidence.absent_word(("rocket",), 1, i) for i in range(50)} & {"rocket"} == set()
