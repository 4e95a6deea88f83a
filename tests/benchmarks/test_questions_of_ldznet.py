"""The benchmark of LD-ZNet's questions trains, tests and probes."""

from __future__ import annotations

import json
from pathlib import Path

import ldznet
import pytest
import torch


def test_the_papers_questions_are_asked(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = [f"--model.teacher.path={pipeline}", "--data.side=16", "--data.train.size=16", "--data.validation=null"]
    fit += ["--data.num_workers=0", "--data.batch_size=2", "--trainer.accelerator=cpu", "--trainer.precision=32-true"]
    small = ["--steps", "1", "--size", "16", "--single", "1", "--pair", "1", "--referring", "0", "--device", "cpu"]
    asked = ["networks", "--networks", "znet", "ldznet", "--seeds", "0", "1", "--methods", "baselines/whole_image", *small]
    ldznet.main([*asked, "--output", "networks.json", "--arguments", *fit])
    found = json.loads(Path("networks.json").read_text())["found"]
    assert set(found) == {"znet", "ldznet", "baselines/whole_image"} and set(found["znet"]) == {"0", "1"}
    assert set(found["znet"]["0"]) == {"fluent_3d", "others", "unseen"}
    assert Path("networks.png").stat().st_size > 1000
    assert "ldznet - znet" in capsys.readouterr().out
    monkeypatch.setattr(ldznet, "command", None)  # a second time nothing is trained
    ldznet.main([*asked, "--arguments", *fit])


def test_probes_find_what_features_tell(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = (torch.rand(6, 1, 16, 16) > 0.6).float()
    features = torch.cat([torch.nn.functional.avg_pool2d(masks, 2), torch.randn(6, 3, 8, 8)], 1)
    features = (features - features.mean((0, 2, 3), keepdim=True)) / features.std((0, 2, 3), keepdim=True)
    layer = ldznet.probe(features, masks)
    assert layer.weight[0, 0].item() > 5 * layer.weight[0, 1:].abs().max().item()
    few = ["--train", "2", "--test", "2", "--timesteps", "300", "600"]
    ldznet.main(["probes", "--teacher", str(pipeline), *few, "--output", "probes.json"])
    found = json.loads(Path("probes.json").read_text())["found"]
    assert set(found["AP"]) == {"1", "2", "3", "4"} and Path("probes.png").stat().st_size > 1000
