"""The teachers at their true size, on the meta device; and the timesteps of their overlays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT
from teachers import count, counted
from true_configurations import SCALED, TEACHERS, build

from peekaboo.functional.diffusion import equal_alpha_bar
from peekaboo.teachers.schedule import read_schedule

T = torch.arange(1000)


@pytest.mark.parametrize("name", [name for name in TEACHERS if name not in ("sd35_medium", "sana_600m", "flux_schnell")])
def test_published_numbers_of_parameters_and_a_step_at_the_true_shapes(name: str) -> None:
    family = build(name)
    assert count(family.denoiser) / 1e6 == pytest.approx(TEACHERS[name][-1], abs=0.6)
    assert family.resolution == {"sd14": 512, "sd21": 768}.get(name, 1024)


def test_the_benchmark_counts_memory_and_operations() -> None:
    row: dict[str, Any] = counted("sd14", 512)
    # shared facts: 859.5 M and an encoder of 34 M in bfloat16; 1.5 GiB kept; the encoder's 1.12 TFLOP forth, and as much back,
    # and 0.80 for each of two predictions.
    assert row["gb_at_rest"] == pytest.approx(2 * (0.8595 + 0.0342), abs=0.01)
    assert row["gb_kept"] / 1.0737 == pytest.approx(1.5, abs=0.05)
    assert row["encode_tflop"] == pytest.approx(2.24, abs=0.1)
    assert row["predict_tflop"] == pytest.approx(1.6, abs=0.05)


@pytest.mark.parametrize(
    ("overlay", "name"),
    [("sd35", "sd35_medium"), ("pixart_alpha", "pixart_sigma"), ("lcm", "sd14"), *((name, name) for name in TEACHERS)],
)
def test_overlays_have_the_timesteps_of_the_published_signal_to_noise_ratios(overlay: str, name: str) -> None:
    file = ROOT / "configs" / "teachers" / f"{overlay}.yaml"
    if not file.exists():
        pytest.skip("a size that is an argument of another's overlay")
    loss = yaml.safe_load(file.read_text())["model"]["init_args"]["loss"]["init_args"]
    published = equal_alpha_bar(*read_schedule(SCALED, 1)(T))
    own = equal_alpha_bar(*read_schedule(TEACHERS[name][2], 4096)(T))
    nearest = [int((own - published[t]).abs().argmin()) for t in (20, 980)]
    assert abs(loss["t_min"] - nearest[0]) <= 1 and abs(loss["t_max"] - nearest[1]) <= 1
