"""What loggers are told of a fit: names, facts, pictures, results. TensorBoard's files are read by TensorBoard's own reader."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from peekaboo.command_line.entry import main
from peekaboo.results.loggers import CSV, TensorBoard, describe_run, name_run, run_name, show_pictures, tell_results
from peekaboo.results.result import Result

Make = Callable[..., Any]
SCENE = "a-red-apple_apple_and_bear"  # the run's name: of the prompt and of the image


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "histograms": 0})
    events.Reload()
    return events


def hparams_of(events: EventAccumulator) -> dict[str, Any]:
    """The contents of what TensorBoard's HPARAMS page reads, by kind: experiment, session_start_info, session_end_info."""
    found = {}
    for metadata in events.summary_metadata.values():
        if metadata.plugin_data.plugin_name == "hparams":
            content = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
            found[content.WhichOneof("data")] = getattr(content, content.WhichOneof("data"))
    return found


def plain(value: Any) -> Any:
    return getattr(value, value.WhichOneof("kind"))


def text_of(events: EventAccumulator, tag: str) -> str:
    return events.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()


def found(share: float, prompt: str = "a dog", target: torch.Tensor | None = None, **record: Any) -> Result:
    alpha = torch.zeros(4, 4)
    alpha.view(-1)[: round(16 * share)] = 0.9
    return Result(torch.zeros(3, 4, 4), prompt, alpha, 0.5, "fixed", target, record={"seconds": 2.0, "iterations": 30, **record})


def test_a_run_is_named_and_described_and_compared(fit_arguments: Callable[[str], list[str]]) -> None:
    assert main([*fit_arguments("rgb_bilateral.yaml"), "--model.penalty", "0.25"]) == 0
    folder = Path("lightning_logs/version_0")
    assert {path.parent.relative_to(folder).as_posix() for path in folder.glob("**/events.*")} == {SCENE, f"{SCENE}/compared"}
    events, result = read(folder / SCENE), json.loads((folder / "result.json").read_text())
    assert "| prompt | a red apple |" in text_of(events, "run") and "| penalty | 0.25 |" in text_of(events, "run")
    assert f"| a red apple | {result['iou']:g} | {result['mask_fraction']:g} |" in text_of(events, "result")
    compared = read(folder / SCENE / "compared")
    told = hparams_of(compared)
    session = {name: plain(value) for name, value in told["session_start_info"].hparams.items()}
    wanted = {"prompt": "a red apple", "image": "apple_and_bear.png", "alpha": "Bilateral", "penalty": 0.25, "optimizer.lr": 0.1}
    assert {name: session[name] for name in wanted} == wanted
    assert not {name for name in session if "ckpt" in name or "evaluation" in name or "input" in name}
    assert yaml.safe_load((folder / "hparams.yaml").read_text()) == session
    assert "experiment" not in told  # one run's word for all: TensorBoard finds out itself what differs
    assert set(compared.Tags()["scalars"]) == {"result/iou", "result/area", "result/seconds", "result/iterations"}
    last = {tag: compared.Scalars(tag)[-1].value for tag in compared.Tags()["scalars"]}
    assert last == {tag: events.Scalars(tag)[-1].value for tag in last}
    expected = {f"result/{name}": result[name] for name in ("iou", "seconds", "iterations")}
    assert last == pytest.approx({**expected, "result/area": result["mask_fraction"]}, rel=1e-6)
    assert "hp_metric" not in events.Tags()["scalars"]
    assert "session_end_info" in told


def test_several_prompts_have_curves_and_pictures_of_their_own(make_segmenter: Make, make_trainer: Make) -> None:
    segmenter, trainer = make_segmenter(prompt=["a red apple", "a bear!"]), make_trainer()
    trainer.fit(segmenter)
    events = read(Path(trainer.log_dir))
    tags = events.Tags()
    names = ("0_a-red-apple", "1_a-bear")
    for tag in ("loss/total", "alpha/mean", "mask/area"):
        parts = [events.Scalars(f"{tag}/{name}")[-1].value for name in names]
        assert parts[0] != parts[1]
        assert events.Scalars(tag)[-1].value == pytest.approx(sum(parts) / 2, rel=1e-5)
    assert f"iou/{names[0]}" in tags["scalars"] and f"iou/{names[1]}" not in tags["scalars"]  # the mask is of the first
    assert events.Scalars(f"iou/{names[0]}")[-1].value == pytest.approx(segmenter.results(4)[0].iou, abs=1e-6)
    for name, alpha in zip(names, segmenter.alpha(), strict=True):
        assert {f"{what}/{name}" for what in ("alpha", "mask", "overlay", "composite/green")} <= set(tags["images"])
        shown = events.Images(f"alpha/{name}")[-1]
        Path("alpha.png").write_bytes(shown.encoded_image_string)
        drawn = np.asarray(Image.open("alpha.png").convert("L")) / 255
        np.testing.assert_allclose(drawn, alpha[0].detach(), rtol=0, atol=1 / 255)
    assert "alpha" not in tags["images"]
    assert "opacity/1_a-bear" in tags["histograms"]


def test_the_agreement_that_settles_a_mask_is_a_curve(make_segmenter: Make, make_trainer: Make) -> None:
    trainer = make_trainer()
    segmenter = make_segmenter(iterations=30, settled=1.0)
    trainer.fit(segmenter)
    curve = {event.step: event.value for event in read(Path(trainer.log_dir)).Scalars("mask/agreement")}
    assert min(curve) == 20  # the second look, ten iterations behind the first
    assert all(0 <= value <= 1 for value in curve.values())
    assert curve[max(curve)] == pytest.approx(segmenter.running.settling.agreements[0])


def test_a_csv_logger_gets_numbers_and_files_of_pictures(fit_arguments: Callable[[str], list[str]]) -> None:
    assert main([*fit_arguments("raster.yaml"), "--config", "loggers/csv.yaml", "--trainer.log_every_n_steps=1"]) == 0
    folder = Path("lightning_logs/version_0")
    assert not list(folder.glob("**/events.*"))
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    result = json.loads((folder / "result.json").read_text())
    assert [row["step"] for row in rows if row["loss/total"]] == ["1", "2"]
    assert float(next(row["result/area"] for row in rows if row["result/area"])) == pytest.approx(result["mask_fraction"])
    last = np.asarray(Image.open(folder / "pictures" / "alpha" / "00002.png"), dtype=float)
    assert last.mean() / 255 == pytest.approx(result["mean_alpha"], abs=0.02)
    assert yaml.safe_load((folder / "hparams.yaml").read_text())["prompt"] == "a red apple"


@pytest.mark.parametrize("config", ["csv", "tensorboard"])
def test_loggers_of_a_config_follow_the_output(config: str, fit_arguments: Callable[[str], list[str]]) -> None:
    arguments = [*fit_arguments("raster.yaml"), "--config", f"loggers/{config}.yaml", "--trainer.log_every_n_steps=1"]
    assert main([*arguments, "--output=out"]) == 0
    assert Path("out/metrics.csv").is_file() and Path("out/mask.png").is_file() and not Path("lightning_logs").exists()
    assert bool(list(Path("out").glob("*/events.*"))) == (config == "tensorboard")


def test_a_place_of_a_logger_that_a_user_named_stays(fit_arguments: Callable[[str], list[str]]) -> None:
    logger = '{"class_path": "peekaboo.results.loggers.CSV", "init_args": {"save_dir": "mine", "version": "a"}}'
    assert (
        main([*fit_arguments("raster.yaml"), "--output=out", "--trainer.log_every_n_steps=1", f"--trainer.logger={logger}"]) == 0
    )
    assert Path("mine/lightning_logs/a/metrics.csv").is_file() and not Path("out/metrics.csv").exists()


def test_two_loggers_are_told_the_same(fit_arguments: Callable[[str], list[str]]) -> None:
    assert main([*fit_arguments("raster.yaml"), "--config", "loggers/tensorboard.yaml", "--trainer.log_every_n_steps=1"]) == 0
    folder = Path("lightning_logs/version_0")
    assert [path.name for path in Path("lightning_logs").iterdir()] == ["version_0"]
    with (folder / "metrics.csv").open() as file:
        in_csv = {int(row["step"]): float(row["loss/total"]) for row in csv.DictReader(file) if row["loss/total"]}
    assert {event.step: event.value for event in read(folder / SCENE).Scalars("loss/total")} == pytest.approx(in_csv)


@pytest.mark.parametrize("config", sorted((ROOT / "configs" / "loggers").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_names_a_logger_that_takes_its_arguments(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    asked = yaml.safe_load(config.read_text())["trainer"]["logger"]
    kinds = {"TensorBoard": TensorBoard, "CSV": CSV, "WandbLogger": WandbLogger, "MLFlowLogger": MLFlowLogger}
    for logger in asked if isinstance(asked, list) else [asked]:
        kind = kinds[logger["class_path"].rpartition(".")[2]]
        pytest.importorskip({"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}.get(kind.__name__, "lightning"))
        local = {"tracking_uri": "file:runs"} if kind is MLFlowLogger else {}  # a database needs the whole of mlflow
        kind(**{**logger.get("init_args", {}), **local})


def test_weights_and_biases_gets_name_facts_pictures_and_results(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="peekaboo", mode="disabled")
    name_run(logger, run_name("a dog", "beach.png"))
    assert logger._wandb_init["name"] == "a-dog_beach"
    asked: list[tuple[str, int | None]] = []
    monkeypatch.setattr(logger, "log_image", lambda key, images, step=None: asked.append((f"{key} of {len(images)}", step)))
    measured: dict[str, float] = {}
    monkeypatch.setattr(logger, "log_metrics", lambda metrics, step=None: measured.update(metrics))
    describe_run(logger, {"prompt": "a dog"}, "peekaboo fit")
    show_pictures(logger, "alpha", torch.rand(1, 1, 4, 4), 7)
    tell_results([logger], [found(0.25)], 8)
    assert asked == [("alpha of 1", 7)]
    assert measured == {"result/area": 0.25, "result/seconds": 2.0, "result/iterations": 30.0}  # no IoU without a ground truth
    assert logger.experiment.config["prompt"] == "a dog"


def test_mlflow_gets_name_facts_pictures_and_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = MLFlowLogger("peekaboo", tracking_uri=f"file:{tmp_path / 'runs'}")
    name_run(logger, run_name(["a dog", "a cat"], "beach.png"))
    describe_run(logger, {"prompt": "a dog"}, "peekaboo fit")
    show_pictures(logger, "alpha/0_a-dog", torch.rand(1, 1, 4, 4), 7)
    tell_results([logger], [found(0.25, target=torch.ones(4, 4, dtype=torch.bool)), found(0.5)], 8)
    run = logger.experiment.get_run(logger.run_id)
    assert run.info.run_name == "a-dog_a-cat_beach"
    assert run.data.params == {"prompt": "a dog"}
    assert run.data.metrics == {"result/iou": 0.25, "result/area": 0.375, "result/seconds": 2.0, "result/iterations": 30.0}
    assert list((tmp_path / "runs").glob("**/*.png"))


def test_a_name_that_a_user_gave_stays(tmp_path: Path) -> None:
    logger = TensorBoard(str(tmp_path), run="mine")
    name_run(logger, "a-dog_beach")
    assert logger.run == "mine"
