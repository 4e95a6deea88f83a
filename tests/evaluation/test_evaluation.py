"""`test` and `predict` over data sets: rows, resume, ranks, failures, files. In-process where no process has to die."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from peekaboo.baselines.base import Baseline
from peekaboo.command_line.arguments import DATA_OF, arrange
from peekaboo.command_line.entry import main
from peekaboo.data.base import Failure, Sample
from peekaboo.evaluation.batching import Batches
from peekaboo.evaluation.folder import RunFolder
from peekaboo.evaluation.runs import weights_digest
from peekaboo.evaluation.sheet import choose
from peekaboo.optimisation.guard import GradientError
from peekaboo.results.result import Result, make_result

ROOT = Path(__file__).resolve().parents[2]
COUNT = 5
PIXEL = 1 / 50  # an IoU changes by less when rounding, which may depend on the batch, moves one pixel of the smallest target


class Half(Baseline):
    """Alpha is the image's brightness: quick, and different for every image."""

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        return [sample.image.mean(0) for sample in samples]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Five pictures of different sizes with their masks."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for i in range(COUNT):
        height, width = 16 + 2 * i, 24 - i
        y, x = np.mgrid[:height, :width]
        mask = (x - 12) ** 2 + (y - 8) ** 2 < 36
        image = (np.where(mask[..., None], (200, 40, 40), (60, 120, 90)) + rng.integers(0, 40, (height, width, 3))).astype(
            np.uint8
        )
        Image.fromarray(image).save(folder / f"{i}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{i}_mask.png")
        lines.append(json.dumps({"id": f"s{i}", "image": f"{i}.png", "prompt": f"a disc {i % 2}", "mask": f"{i}_mask.png"}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder / "manifest.jsonl"


def baseline(command: str, manifest: Path, *more: str) -> list[str]:
    return [command, "--model", f"{__name__}.Half", "--data.manifest", str(manifest), *QUIET, *more]


QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", "out"]


def segmenter(pipeline: Path, manifest: Path, *more: str, iterations: int = 2) -> list[str]:
    model = [f"--model.loss.teacher.path={pipeline}", "--model.resolution=16", f"--model.iterations={iterations}"]
    trainer = ["--trainer.precision=32-true", *QUIET]
    return ["test", "--config", "raster.yaml", *model, f"--data.manifest={manifest}", "--data.batch_size=2", *trainer, *more]


def folder_of(root: str | Path = "out", command: str = "test") -> Path:
    (found,) = Path(root, "runs", command).iterdir()
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "samples.csv").open() as file:
        return list(csv.DictReader(file))


def assert_same_rows(a: list[dict[str, str]], b: list[dict[str, str]]) -> None:
    assert [row["id"] for row in a] == [row["id"] for row in b]
    for one, other in zip(a, b, strict=True):
        for key in one:
            if "threshold" in key or key in ("iou_0.5", "iou_otsu", "mask_fraction"):
                assert float(one[key]) == pytest.approx(float(other[key]), abs=PIXEL), key
            elif key != "seconds":
                assert one[key] == other[key], key


# ---- test ---------------------------------------------------------------------------------------------------------------


def test_test_writes_table_rows_and_metrics(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(baseline("test", manifest, "--evaluation.contact_sheet", "1", "--evaluation.save_masks", "true")) == 0
    folder = folder_of()
    found = rows(folder)
    assert [row["id"] for row in found] == [f"s{i}" for i in range(COUNT)]
    metrics = json.loads((folder / "metrics.json").read_text())
    for i, row in enumerate(found):
        target = np.array(Image.open(manifest.parent / f"{i}_mask.png")) > 0
        mask = np.array(Image.open(folder / "masks" / f"s{i}.png")) > 0
        assert mask.shape == target.shape
        assert float(row["iou_0.5"]) == pytest.approx((mask & target).sum() / (mask | target).sum(), abs=1e-6)
        assert (row["prompt"], row["error"], row["skipped_steps"]) == (f"a disc {i % 2}", "", "0")
    ious = np.array([float(row["iou_0.5"]) for row in found])
    assert metrics["n"] == COUNT
    assert metrics["complete"]
    assert metrics["mIoU"] == pytest.approx(ious.mean(), abs=1e-5)
    assert [metrics[f"P@{x}"] for x in (0.2, 0.4, 0.6, 0.8)] == [pytest.approx((ious > x).mean()) for x in (0.2, 0.4, 0.6, 0.8)]
    printed = capsys.readouterr().out
    assert "P@0.2" in printed
    assert f"{metrics['mIoU']:.3f}" in printed
    assert "95 % interval" in printed
    sheet = Image.open(folder / "contact_sheet.png")
    assert sheet.height > 3 * 100  # best, median and worst


def test_the_same_command_does_nothing_twice(manifest: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(baseline("test", manifest)) == 0
    folder = folder_of()
    before = {file: file.stat().st_mtime_ns for file in (folder / "samples").iterdir()}
    table = (folder / "samples.csv").read_text()
    assert main(baseline("test", manifest, "--data.batch_size", "3", "--trainer.limit_test_batches", "9")) == 0
    assert folder_of() == folder
    assert {file: file.stat().st_mtime_ns for file in (folder / "samples").iterdir()} == before
    assert (folder / "samples.csv").read_text() == table
    assert f"{COUNT} of {COUNT} samples are finished already" in caplog.text


def test_files_that_are_asked_for_later_are_made(manifest: Path) -> None:
    assert main(baseline("test", manifest)) == 0
    assert not (folder_of() / "masks").exists()
    assert main(baseline("test", manifest, "--evaluation.save_masks", "true")) == 0
    assert len(list((folder_of() / "masks").iterdir())) == COUNT


def test_another_configuration_gets_another_folder(manifest: Path) -> None:
    assert main(baseline("test", manifest)) == 0
    assert main(baseline("test", manifest, "--model.threshold", "0.4")) == 0
    assert len(list(Path("out/runs/test").iterdir())) == 2


def test_a_run_from_python_knows_its_folder_again(manifest: Path) -> None:
    from lightning import Trainer

    from peekaboo.data.manifest import ManifestData
    from peekaboo.evaluation import Evaluation

    for threshold, batch_size, folders in ((0.5, 2, 1), (0.5, 3, 1), (0.4, 3, 2)):
        settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "default_root_dir": "out"}
        trainer = Trainer(callbacks=[Evaluation()], use_distributed_sampler=False, **settings)  # type: ignore[arg-type]
        trainer.test(Half(threshold), datamodule=ManifestData(str(manifest), batch_size))
        assert len(list(Path("out/runs/test").iterdir())) == folders


@pytest.mark.parametrize("alpha", ["raster", "fourier"])
def test_the_same_segmenter_goes_on_from_python(make_segmenter: Callable[..., Any], manifest: Path, alpha: str) -> None:
    from lightning import Trainer

    from peekaboo.alphas import Fourier, Raster
    from peekaboo.data.image_folder import ImageFolderData
    from peekaboo.evaluation import Evaluation

    segmenter = make_segmenter(Raster() if alpha == "raster" else Fourier(features=4, width=8, depth=1), iterations=2)
    for _ in range(2):
        settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "default_root_dir": "out"}
        trainer = Trainer(callbacks=[Evaluation()], use_distributed_sampler=False, **settings)  # type: ignore[arg-type]
        trainer.predict(segmenter, datamodule=ImageFolderData(manifest.parent, "a dog"))  # type: ignore[arg-type]  # a Path
    assert len(list(Path("out/runs/predict").iterdir())) == 1


def test_maps_that_depend_on_one_another_are_not_shared_out(make_segmenter: Callable[..., Any], manifest: Path) -> None:
    from lightning import Trainer

    from peekaboo.alphas import Competing, Raster
    from peekaboo.data.manifest import ManifestData

    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    with pytest.raises(ValueError, match=r"alpha: expected maps that do not depend on one another where pairs .* got Competing"):
        trainer.test(make_segmenter(Competing(Raster())), datamodule=ManifestData(str(manifest)))


def test_a_given_folder_refuses_another_configuration(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(baseline("test", manifest, "--evaluation.folder", "here")) == 0
    before = Path("here/samples.csv").read_bytes()
    assert main(baseline("test", manifest, "--evaluation.folder", "here", "--model.threshold", "0.4")) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "model.init_args.threshold was 0.5, is 0.4" in error
    assert Path("here/samples.csv").read_bytes() == before


def test_many_failures_are_a_few_lines(
    manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peekaboo.evaluation.ending.SHOWN", 2)
    for i in range(COUNT):
        (manifest.parent / f"{i}.png").write_bytes(b"")
    assert main(baseline("test", manifest)) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 3 and lines[-1].startswith(f"failed: {COUNT - 2} more; ") and "samples.csv" in lines[-1]


def test_a_corrupt_image_fails_alone_and_is_tried_again(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (manifest.parent / "3.png").read_bytes()
    (manifest.parent / "3.png").write_bytes(good[: len(good) // 2])
    assert main(baseline("test", manifest)) == 3
    captured = capsys.readouterr()
    assert "failed: s3:" in captured.err
    assert f"{COUNT - 1} of {COUNT} samples" in captured.out
    metrics = json.loads((folder_of() / "metrics.json").read_text())
    assert metrics["n"] == COUNT - 1
    assert list(metrics["failed"]) == ["s3"] and not metrics["complete"]
    found = rows(folder_of())
    assert [row["id"] for row in found if row["error"]] == ["s3"]
    assert len(found) == COUNT
    (manifest.parent / "3.png").write_bytes(good)
    assert main(baseline("test", manifest)) == 0
    assert json.loads((folder_of() / "metrics.json").read_text())["n"] == COUNT


def test_a_sample_without_ground_truth_fails_in_test(manifest: Path) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    del lines[1]["mask"]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    assert main(baseline("test", manifest)) == 3
    assert "expected a ground truth" in rows(folder_of())[1]["error"]


def test_data_without_any_ground_truth_are_refused_before_anything_is_made(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {key: value for key, value in json.loads(line).items() if key != "mask"} for line in manifest.read_text().splitlines()
    ]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    assert main(baseline("test", manifest)) == 1
    folder = ["--data.images", str(manifest.parent), "--data.prompt", "a dog"]
    assert main(["test", "--config", "baselines/border_colour.yaml", *folder, *QUIET]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said == ["error: mask: expected a ground truth for `test`, got none; `predict` needs none"] * 2
    assert not Path("runs").exists()


def test_test_without_data_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--model", f"{__name__}.Half", *QUIET]) == 1
    assert "error: data: expected a data set for `test`" in capsys.readouterr().err


def test_scenes_are_told_apart_by_kind() -> None:
    config = ["--config", "baselines/border_colour.yaml", "--config", "data/scenes.yaml"]
    sizes = ["--data.single", "2", "--data.pair", "2", "--data.referring", "1", "--data.size", "32"]
    assert main(["test", *config, *sizes, *QUIET]) == 0
    metrics = json.loads((folder_of() / "metrics.json").read_text())
    assert {kind: part["n"] for kind, part in metrics["groups"].items()} == {"single": 2, "pair": 2, "referring": 1}
    assert "named_ahead" in metrics["groups"]["pair"]
    assert "named_ahead" not in metrics["groups"]["single"]
    assert metrics["own_threshold"] == "otsu"


# ---- predict ------------------------------------------------------------------------------------------------------------


def test_predict_makes_masks_cutouts_and_coco(manifest: Path) -> None:
    from pycocotools.coco import COCO

    more = ["--evaluation.cutouts", "true", "--evaluation.coco_rle", "true", "--evaluation.contact_sheet", "1"]
    assert main(baseline("predict", manifest, *more)) == 0
    folder = folder_of(command="predict")
    coco = COCO(str(folder / "coco_rle.json"))
    assert len(coco.anns) == COUNT
    assert sorted(c["name"] for c in coco.cats.values()) == ["a disc 0", "a disc 1"]
    for number, annotation in coco.anns.items():
        name = annotation["sample"]
        assert coco.imgs[annotation["image_id"]]["file_name"] == f"{name[1:]}.png"  # the photograph, not the mask
        mask = np.array(Image.open(folder / "masks" / f"{name}.png")) > 0
        assert np.array_equal(coco.annToMask(annotation).astype(bool), mask), number
        assert annotation["area"] == mask.sum()
        assert Image.open(folder / "cutouts" / f"{name}.png").mode == "RGBA"
    assert not (folder / "metrics.json").exists()
    assert Image.open(folder / "contact_sheet.png").height > 3 * 100  # largest, median and smallest


def test_predict_takes_a_folder_and_a_prompt(manifest: Path) -> None:
    for file in manifest.parent.glob("*_mask.png"):
        file.unlink()
    arguments = ["--data.images", str(manifest.parent), "--data.prompt", "a disc"]
    assert main(["predict", "--model", f"{__name__}.Half", *arguments, *QUIET]) == 0
    assert sorted(f.stem for f in (folder_of(command="predict") / "masks").iterdir()) == [str(i) for i in range(COUNT)]


def test_a_named_data_set_stays(tmp_path: Path) -> None:
    config = tmp_path / "data.yaml"
    config.write_text("data:\n  class_path: peekaboo.data.refcoco.RefCOCOData\n")
    for args in (["test", "--config", str(config), "--data.images", "x"], ["test", "--data", "Mine", "--data.images", "x"]):
        assert not set(DATA_OF.values()) & set(arrange(args))


# ---- death and company --------------------------------------------------------------------------------------------------


def start(args: list[str], cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *args], cwd=cwd, env=environment, start_new_session=True, **pipes
    )


@pytest.fixture
def alone(pipeline: Path, manifest: Path) -> list[dict[str, str]]:
    """The rows of a run that nothing disturbs."""
    assert main(segmenter(pipeline, manifest, "--trainer.default_root_dir=alone")) == 0
    return rows(folder_of("alone"))


def test_a_killed_run_goes_on_to_the_table_of_an_undisturbed_one(
    pipeline: Path, manifest: Path, alone: list[dict[str, str]], tmp_path: Path
) -> None:
    args = segmenter(pipeline, manifest, "--data.batch_size=1")
    process = start(args, tmp_path)
    dice = random.Random()
    wanted, deadline = dice.randint(1, COUNT - 2), time.monotonic() + 600
    while len(list(tmp_path.glob("out/runs/test/*/samples/*.json"))) < wanted and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(dice.random() * 0.05)  # in the middle of anything
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    survivors = {file.name: file.read_bytes() for file in (folder_of() / "samples").glob("*.json")}
    assert len(survivors) >= wanted
    assert main(args) == 0
    for name, content in survivors.items():
        assert (folder_of() / "samples" / name).read_bytes() == content  # not done again
    assert not list(folder_of().rglob("*.partial"))
    assert_same_rows(rows(folder_of()), alone)


class Interrupted(Half):
    """Is stopped in its second batch."""

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        if samples[0].id == "s2" and not Path("go on").exists():
            raise KeyboardInterrupt
        return super().masks(samples)


def test_ctrl_c_keeps_what_there_is(manifest: Path, caplog: pytest.LogCaptureFixture) -> None:
    args = [a.replace("Half", "Interrupted") for a in baseline("test", manifest, "--data.batch_size", "2")]
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert main(args) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    assert "stopped: 2 samples are finished in" in caplog.text
    assert sorted(f.stem for f in (folder_of() / "samples").iterdir()) == ["s0", "s1"]
    Path("go on").touch()
    assert main(args) == 0
    assert len(rows(folder_of())) == COUNT


def test_the_saved_configuration_repeats_the_run(manifest: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(baseline("test", manifest)) == 0
    assert main(["test", "--config", str(folder_of() / "config.yaml")]) == 0
    assert f"{COUNT} of {COUNT} samples are finished already" in caplog.text


def test_python_loads_a_runs_configuration(pipeline: Path, manifest: Path) -> None:
    from peekaboo import load

    assert main(segmenter(pipeline, manifest, "--data.limit=1", "--model.penalty=0.125")) == 0
    assert load(str(folder_of() / "config.yaml"), device="cpu").objective.penalty == 0.125


@pytest.mark.slow  # two processes; those of a fit are in tests/optimisation, the sums over ranks in test_metrics.py, shares below
def test_two_ranks_make_the_table_of_one(pipeline: Path, manifest: Path, alone: list[dict[str, str]], tmp_path: Path) -> None:
    (manifest.parent / "corrupt.png").write_bytes(b"no picture")
    lines = [{"id": name, "image": "corrupt.png", "prompt": "x", "mask": "0_mask.png"} for name in ("bad", "worse")]
    manifest.write_text("\n".join([manifest.read_text(), *map(json.dumps, lines)]))
    process = start(segmenter(pipeline, manifest, "--trainer.devices=2", "--trainer.strategy=ddp"), tmp_path)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 3, output
    found = rows(folder_of())
    assert_same_rows(found[:COUNT], alone)  # seven samples: four and three, none lost, none twice
    assert [row["id"] for row in found[COUNT:] if row["error"]] == ["bad", "worse"]
    assert output.count("P@0.2") == 1  # one table


# ---- parts --------------------------------------------------------------------------------------------------------------


def sample(name: str) -> Sample:
    return Sample(name, torch.rand(3, 4, 4), "x", torch.ones(4, 4, dtype=torch.bool))


def result(one: Sample) -> Result:
    return make_result(one.image, one.prompt, torch.rand(4, 4), 0.5)


def test_a_batch_that_does_not_fit_is_halved_and_the_size_remembered() -> None:
    sizes: list[int] = []

    def run(part: list[Sample]) -> list[Result]:
        sizes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError
        return [result(one) for one in part]

    batches = Batches()
    for _ in range(2):
        finished = batches.run([sample(str(i)) for i in range(5)] + [Failure("broken", "why")], run)
        assert [item.id if isinstance(item, Failure) else item[0].id for item in finished] == [*"01234", "broken"]
    assert sizes == [5, 2, 2, 1, 2, 2, 1]


def test_not_even_one_sample_fits() -> None:
    def run(part: list[Sample]) -> list[Result]:
        raise torch.OutOfMemoryError("too small")

    with pytest.raises(torch.OutOfMemoryError):
        Batches().run([sample("a"), sample("b")], run)


def test_a_sample_without_a_gradient_fails_alone() -> None:
    def run(part: list[Sample]) -> list[Result]:
        if any(one.id == "b" for one in part):
            raise GradientError("NaN")
        return [result(one) for one in part]

    finished = Batches().run([sample("a"), sample("b"), sample("c")], run)
    assert [isinstance(item, Failure) for item in finished] == [False, True, False]


def test_ranks_share_what_is_not_finished(manifest: Path) -> None:
    from peekaboo.data.manifest import ManifestData

    data = ManifestData(str(manifest))
    data.finished = frozenset({"s1"})
    shares = [data.share(rank, 3) for rank in range(3)]
    assert sorted(i for share in shares for i in share) == [0, 2, 3, 4]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert data.share(7, 8) == []


def test_other_weights_are_another_run() -> None:
    from peekaboo.teachers.base import Frozen

    class Net(Frozen):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(300, 3)
            torch.nn.init.constant_(self.layer.weight, value)
            torch.nn.init.zeros_(self.layer.bias)
            self.freeze()

    digests = [weights_digest(torch.nn.Sequential(Net(value))) for value in (0.1, 0.1, 0.2)]
    assert digests[0] == digests[1] != digests[2]
    for dtype in (torch.bfloat16, torch.float16):  # as an earlier run may leave it
        assert weights_digest(torch.nn.Sequential(Net(0.1).to(dtype))) == digests[0]


def test_a_broken_row_is_no_row(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, {})
    folder.open({}, None)
    (folder.rows / "a.json").write_text('{"id": "a", ')
    assert folder.row("a") is None and folder.good(["a", "b"]) == []
    older = {"intersection": [0] * 99, "union": [1] * 99, "iou_otsu": 0.0, "iou_own": 0.0, "iou_other": None}
    folder.add({"id": "b", "error": None, "scores": older})
    assert folder.row("b") is None  # it lacks what today's measures are made of
    folder.add({"id": "b", "error": None, "scores": older | {"positives": 1, "pixels": 4}})
    assert folder.row("b") is not None


def test_the_contact_sheet_shows_best_median_and_worst_once() -> None:
    assert choose([0.1, 0.9, 0.5, 0.7, 0.3], 1) == [1, 2, 0]
    assert choose([0.5, 0.6], 3) == [1, 0]
