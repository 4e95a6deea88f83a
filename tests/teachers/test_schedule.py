"""Schedules and the time that a denoiser is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.models.embeddings import Timesteps

from peekaboo.teachers.schedule import TimestepTable, as_digits, read_schedule

T = torch.arange(1000)
SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_a_diffusion_has_the_alphas_of_its_betas(name: str) -> None:
    signal, noise = read_schedule({"_class_name": name, **SCALED}, 1)(T)
    expected = DDIMScheduler(**{**SCALED, "clip_sample": False}).alphas_cumprod
    torch.testing.assert_close(signal, expected.sqrt())
    torch.testing.assert_close(noise, (1 - expected).sqrt())


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_flow_has_the_sigmas_of_its_scheduler_ascending(shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    schedule = read_schedule({"_class_name": "FlowMatchEulerDiscreteScheduler", **scheduler.config}, 1)
    signal, noise = schedule(T)
    torch.testing.assert_close(noise, scheduler.sigmas.flip(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(signal + noise, torch.ones(1000))
    assert schedule.flow and schedule.prediction == "flow"


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_a_dynamic_shift_is_the_schedulers_own(kind: str) -> None:
    config = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind, **config)
    for tokens, mu in ((256, 0.5), (4096, 1.15), (1024, 0.63)):
        scheduler.set_timesteps(sigmas=[0.9, 0.5, 0.1], mu=mu)
        _, noise = read_schedule({"_class_name": "FlowMatchEulerDiscreteScheduler", **scheduler.config}, tokens)(T)
        torch.testing.assert_close(noise[[899, 499, 99]], scheduler.sigmas[:3], rtol=0, atol=1e-6)


def test_sana_s_solver_says_that_it_is_a_flow() -> None:
    config = {"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction", "flow_shift": 3.0}
    schedule = read_schedule({**config, "use_flow_sigmas": True}, 1)
    expected = read_schedule({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, 1)
    assert torch.equal(schedule.noise, expected.noise)
    assert schedule.prediction == "flow"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "EDMDPMSolverMultistepScheduler"}, "expected a diffusion or a rectified flow, got EDMDPM"),
        ({"_class_name": "SCMScheduler"}, "expected a diffusion or a rectified flow, got SCMScheduler"),
        ({"_class_name": "DDIMScheduler", "num_train_timesteps": 100}, "expected 1000 timesteps, got 100"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 10}, "expected 1000 timesteps, got 10"),
        ({"_class_name": "DDIMScheduler", "prediction_type": "x"}, "expected epsilon, v_prediction, sample or flow_pred"),
    ],
)
def test_other_schedules_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^scheduler: {message}"):
        read_schedule(config, 1)


@pytest.mark.parametrize("scale", [1, 1000])
def test_the_timestep_table_is_diffusers_own_embedding(scale: int) -> None:
    embedding = Timesteps(8, flip_sin_to_cos=True, downscale_freq_shift=0, scale=scale)
    table = TimestepTable(embedding, T / scale)
    torch.testing.assert_close(table(T), embedding(T / scale), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_digits_survive_half_precision(dtype: torch.dtype) -> None:
    """Flux and Qwen-Image round their time to the latents' type, and multiply it by 1000 there: .889 becomes 892."""
    table = TimestepTable(torch.nn.Identity(), T)
    assert (torch.tensor(0.889).to(torch.bfloat16) * 1000) == 892
    assert torch.equal(table(as_digits(T).to(dtype)), T)
    assert torch.equal(table((as_digits(T) / 1000).to(dtype) * 1000), T)
