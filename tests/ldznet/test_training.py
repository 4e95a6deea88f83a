"""Trainings: their recipe, that they learn, go on after a kill as if nothing had been, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT
from lightning import Callback, Trainer
from torch import Tensor

from peekaboo.command_line.entry import main
from peekaboo.functional.random import Draws
from peekaboo.ldznet import Recipe, SegmentationData, Trained
from peekaboo.ldznet.recipe import averaging
from peekaboo.ldznet.training import Training

KINDS = ("RGBNet", "ZNet", "LDZNet", "ConcatNet")
CONFIGS = ROOT / "configs" / "ldznet"

MakeTraining = Callable[..., Training]
MakeData = Callable[..., SegmentationData]
Train = Callable[..., Trainer]


class Curve(Callback):
    """Keeps the losses, and a checkpoint behind one of the steps."""

    def __init__(self, save_at: int | None = None, file: str = "half.ckpt") -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.save_at, self.file = save_at, file

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        self.losses.append(float(outputs["loss"]))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        if len(self.losses) == self.save_at:
            trainer.save_checkpoint(self.file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_leaves_a_folder_that_segments(
    kind: str, make_training: MakeTraining, make_data: MakeData, train: Train, tmp_path: Path
) -> None:
    module, data = make_training(kind), make_data()
    before = [p.clone() for p in module.teacher.parameters()]
    train(module, data, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, module.teacher.parameters(), strict=True))
    model = Trained(str(tmp_path / "trained"))
    about = json.loads((tmp_path / "trained" / "config.json").read_text())
    assert (about["kind"], about["training"]["steps"], about["training"]["examples"]) == (kind, 2, 4)
    assert model.variant == kind
    samples = [data.validation.opened()[i] for i in range(3)]  # type: ignore[union-attr]
    images = torch.stack([sample.image for sample in samples])
    inputs = module.conditions(
        images, [s.prompt for s in samples], Draws([0] * 3, purpose="ldznet"), torch.full((3,), 400), posterior=False
    )
    with torch.no_grad():
        expected = module.average.module.eval()(*inputs.arguments())[:, 0].sigmoid()
        assert torch.allclose(torch.stack(model.masks(samples)), expected, atol=1e-6)
        assert (
            expected - module.network.eval()(*inputs.arguments())[:, 0].sigmoid()
        ).abs().max() > 1e-6  # the average, not the last


def test_a_killed_training_goes_on_with_the_same_curve(make_training: MakeTraining, make_data: MakeData, train: Train) -> None:
    whole, rest = Curve(save_at=3), Curve()
    first, second = make_training("LDZNet"), make_training("LDZNet")
    train(first, make_data(), 6, whole)
    train(second, make_data(), 6, rest, ckpt_path="half.ckpt")
    assert len(rest.losses) == 3
    assert rest.losses == whole.losses[3:]
    assert rest.rates == whole.rates[3:]
    for part in ("network", "average"):
        one, other = getattr(first, part).state_dict(), getattr(second, part).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert second.progress.seen == first.progress.seen == 12


def test_a_checkpoint_has_the_network_its_average_and_no_teacher(
    make_training: MakeTraining, make_data: MakeData, train: Train
) -> None:
    train(make_training(), make_data(), 1, Curve(save_at=1))
    kept = torch.load("half.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[0] for name in kept} == {"network", "average"}


def test_it_learns(make_training: MakeTraining, make_data: MakeData, train: Train) -> None:
    curve = Curve()
    module = make_training("ZNet", recipe=Recipe(learning_rate=1e-2, per_sample=False, schedule="constant", ema=0.5))
    train(module, make_data(count=2, repeat=True), 60, curve)
    assert sum(curve.losses[-5:]) < 0.6 * sum(curve.losses[:5])


def test_the_learning_rate_is_the_published_one(make_training: MakeTraining, make_data: MakeData, train: Train) -> None:
    curve = Curve()
    module = make_training(recipe=Recipe())
    train(module, make_data(count=8), 2, curve, accumulate_grad_batches=2)
    assert curve.rates[0] == pytest.approx(5e-7 * 2 * 2)  # two samples twice a step, on one device
    assert module.trainer.optimizers[0].param_groups[0]["weight_decay"] == 0.01
    assert isinstance(module.trainer.optimizers[0], torch.optim.AdamW)


def test_the_plateau_is_that_of_epochs(
    make_training: MakeTraining, make_data: MakeData, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = Curve()
    module = make_training(recipe=Recipe(learning_rate=1e-4, per_sample=False))
    monkeypatch.setattr(module.progress, "epoch_loss", lambda: 1.0)  # never falls
    train(module, make_data(count=3), 9, curve)  # epochs of two steps
    assert curve.rates[:6] == [1e-4] * 6 and curve.rates[6:] == [5e-5] * 3


def test_the_average_warms_up() -> None:
    move = averaging(0.9999)
    averaged = [torch.tensor(0.0)]
    for n in range(1, 4):
        move(averaged, [torch.tensor(1.0)], torch.tensor(n))
    expected = 0.0
    for n in range(1, 4):
        decay = (1 + n) / (10 + n)
        expected = decay * expected + (1 - decay)
    assert float(averaged[0]) == pytest.approx(expected)
    late = [torch.tensor(0.0)]
    move(late, [torch.tensor(1.0)], torch.tensor(10**6))
    assert float(late[0]) == pytest.approx(1e-4, rel=1e-3)


def test_timesteps_noise_and_samples_are_drawn_as_published(make_training: MakeTraining) -> None:
    module = make_training("LDZNet")
    t = module._drawn(Draws(list(range(4000)), purpose="ldznet"))
    assert (int(t.min()), int(t.max())) == (300, 499)
    images, prompts = torch.rand(2, 3, 16, 16), ["a bear", "a bus"]
    one, again, other = (
        module._inputs({"image": images, "prompt": prompts, "seed": seeds, "key": [0, 1]}) for seeds in ([1, 2], [1, 2], [1, 3])
    )
    assert torch.equal(one.x, again.x) and torch.equal(one.features[0], again.features[0])
    assert torch.equal(one.x[0], other.x[0]) and not torch.equal(one.x[1], other.x[1])
    mean = module.teacher.encode(images)
    assert not torch.allclose(one.x, mean)  # a sample of the posterior
    assert not torch.equal(one.features[0][1], other.features[0][1])


def test_features_that_come_again_are_read_from_the_cache(
    make_training: MakeTraining, make_data: MakeData, train: Train, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    calls: list[int] = []

    def counted(module: Training) -> Training:
        predict = module.teacher.predict_noise

        def asked(*args: Any) -> Tensor:
            calls.append(1)
            return predict(*args)

        module.teacher.predict_noise = asked  # type: ignore[method-assign]
        return module

    data = {"count": 4, "repeat": True, "validation": None}
    curves = Curve(), Curve(), Curve()
    train(counted(make_training("LDZNet", cache="bank")), make_data(**data), 4, curves[0])
    assert len(calls) == 1 + 2  # the measuring one and those of the first epoch
    assert len(list(Path("bank").glob("*.safetensors"))) == 4
    train(counted(make_training("LDZNet", cache="bank")), make_data(**data), 4, curves[1])
    assert len(calls) == 1 + 2 + 1
    train(make_training("LDZNet"), make_data(**data), 4, curves[2])
    assert curves[1].losses == pytest.approx(curves[2].losses, abs=2e-3)  # half precision
    with pytest.raises(ValueError, match="cache: expected a new folder or the cache of this training"):
        train(make_training("LDZNet", cache="bank", seed=3), make_data(**data), 1)
    with pytest.raises(ValueError, match="cache: expected examples that come again"):
        train(make_training("LDZNet", cache="other"), make_data(), 1)


def test_the_cache_says_its_size_beforehand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from peekaboo.ldznet.cache import FeatureCache

    cache = FeatureCache(tmp_path / "bank", {"seed": 0}, 1000)
    assert cache.announce(2_000_000) == 2_000_000_000
    with pytest.raises(ValueError, match="cache: expected room for"):
        FeatureCache(tmp_path / "bank", {"seed": 0}, 10**9).announce(10**9)


MISTAKES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({}, {"side": 32}, {}, "data.side: expected 16, the teacher's resolution, got 32"),
    ({"recipe": Recipe()}, {}, {}, "recipe.schedule: expected constant or linear for data without epochs"),
    ({}, {}, {"steps": -1}, "trainer.max_steps: expected how many steps"),
]


@pytest.mark.parametrize(("model", "data", "trainer", "said"), MISTAKES)
def test_what_does_not_fit_is_said_before_a_step(
    model: dict[str, Any],
    data: dict[str, Any],
    trainer: dict[str, Any],
    said: str,
    make_training: MakeTraining,
    make_data: MakeData,
    train: Train,
) -> None:
    with pytest.raises(ValueError, match=said):
        train(make_training(**model), make_data(**data), trainer.get("steps", 1))


def test_checkpoints_of_others_are_refused(make_training: MakeTraining, make_data: MakeData, train: Train) -> None:
    train(make_training(), make_data(), 2, Curve(save_at=1))
    for other, steps, said in (
        (make_training("LDZNet"), 2, "kind was 'ZNet', is 'LDZNet'"),
        (make_training(seed=1), 2, "model.seed was 0, is 1"),
        (make_training(), 1, "expected a training that is not over, got one after 1 steps"),
    ):
        with pytest.raises(ValueError, match=said):
            train(other, make_data(), steps, ckpt_path="half.ckpt")


def test_the_command_line_trains_tests_and_goes_on(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false"]
    small = [
        f"--model.teacher.path={pipeline}", "--data.side=16", "--data.train.size=16", "--data.validation.size=16",
        "--data.validation.single=2", "--data.validation.pair=0", "--data.validation.referring=0", "--data.batch_size=2",
        "--data.num_workers=0", "--model.head_width=2", "--model.output=out", "--trainer.log_every_n_steps=1",
    ]  # fmt: skip
    fit = ["fit", "--config", "ldznet/ldznet.yaml", *small, *quick]
    assert main([*fit, "--trainer.max_steps=2"]) == 0
    folder = Path("lightning_logs/version_0")
    assert len(list(folder.glob("*/overlay.png"))) == 2
    assert any(folder.glob("events.out.tfevents*"))
    assert {file.name for file in Path("out").iterdir()} == {"config.json", "network.safetensors"}
    last = next((folder / "checkpoints").glob("*.ckpt"))
    assert main([*fit, "--trainer.max_steps=3", "--ckpt_path", str(last)]) == 0
    assert main([*fit, "--trainer.max_steps=2", "--ckpt_path", str(last)]) == 1
    assert "error: ckpt_path: expected a training that is not over" in capsys.readouterr().err
    scenes = ["--config", "data/scenes.yaml", "--data.size=16", "--data.single=2", "--data.pair=1", "--data.referring=0"]
    assert main(["test", "--config", "ldznet.yaml", "--model.folder=out", *scenes, *quick]) == 0
    printed = capsys.readouterr().out
    assert "as LD-ZNet has it, at the best of 49 thresholds" in printed and "ms each" in printed
    assert main(["fit", "--config", "ldznet/ldznet.yaml", *small[:1], "--config", "data/scenes.yaml", *quick]) == 1
    assert "data: expected peekaboo.ldznet.SegmentationData" in capsys.readouterr().err
    before = sorted(Path("lightning_logs").iterdir())
    assert main([*fit, "--data.side=32"]) == 1
    assert "error: data.side: expected 16, the teacher's resolution, got 32" in capsys.readouterr().err
    assert main([*fit, "--config", "data/phrasecut_train.yaml", "--data.side=16"]) == 1
    assert "error: root: expected <root>/refer_<split>.json" in capsys.readouterr().err
    assert sorted(Path("lightning_logs").iterdir()) == before  # nothing half-written


def test_the_published_recipe_to_the_digit() -> None:
    for file in sorted((CONFIGS / "paper").glob("*.yaml")):
        config = yaml.safe_load(file.read_text())
        model, data, trainer = config["model"]["init_args"], config["data"]["init_args"], config["trainer"]
        assert model["teacher"]["init_args"] == {"path": "CompVis/stable-diffusion-v1-4", "resolution": 384}
        assert model["recipe"] == {
            "learning_rate": 5e-7, "per_sample": True, "weight_decay": 0.01, "schedule": "plateau", "warmup": 0, "ema": 0.9999,
        }  # fmt: skip
        assert (model["head_width"], model["channels"], model["template"], model["checkpointing"]) == (1, None, "{}.", True)
        assert (data["side"], data["batch_size"], trainer["devices"], trainer["max_steps"]) == (384, 4, 8, 2_560_000)
        assert 5e-7 * data["batch_size"] * trainer["devices"] == pytest.approx(1.6e-5)
        assert trainer["precision"] == "32-true" and "gradient_clip_val" not in trainer
        if file.stem in ("ldznet", "concat"):
            assert (model["blocks"], model["timesteps"], model["zero_start"]) == ([6, 7, 8, 9, 10], [300, 499], False)
    overlay = yaml.safe_load((CONFIGS.parent / "data" / "phrasecut_train.yaml").read_text())["data"]["init_args"]
    from peekaboo.ldznet.conditions import TEMPLATES

    assert tuple(overlay["templates"]) == TEMPLATES and len(TEMPLATES) == 9
    assert (overlay["crop"], overlay["min_area"], overlay["train"]["init_args"]["split"]) == (True, 0.05, "train")
