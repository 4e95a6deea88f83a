"""A precision that a processor would only emulate is replaced by the one that it has, and that is said."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import peekaboo
from peekaboo.command_line.entry import main
from peekaboo.evaluation.batching import usable_precision


@pytest.mark.parametrize(
    ("asked", "device", "capability", "expected"),
    [
        ("bf16-mixed", "cpu", "AVX2", "32-true"),
        ("16-mixed", "cpu", "DEFAULT", "32-true"),
        ("32-true", "cpu", "AVX2", "32-true"),
        ("bf16-mixed", "cpu", "AVX512", "bf16-mixed"),
        ("bf16-mixed", "cuda", "AVX2", "bf16-mixed"),
        ("16-mixed", "mps", "DEFAULT", "16-mixed"),
    ],
)
def test_usable(
    asked: str, device: str, capability: str, expected: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with caplog.at_level(logging.WARNING):
        assert usable_precision(asked, device) == expected
    assert ("would emulate" in caplog.text) == (asked != expected)


def test_the_command_line_and_python_compute_and_record_it(
    fit_arguments: Any, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert main([*fit_arguments("raster.yaml"), "--trainer.precision=bf16-mixed"]) == 0
    saved = yaml.safe_load(Path("lightning_logs/version_0/config.yaml").read_text())
    assert saved["trainer"]["precision"] == "32-true"
    segmenter = peekaboo.load("rgb_bilateral", device="cpu", loss__teacher__path=str(pipeline), resolution=16, iterations=1)
    assert segmenter.precision == "32-true"
