"""Forward diffusion, prediction types and guidance, against diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from peekaboo.functional.diffusion import add_noise, eps_from_sample, eps_from_v, guide


@pytest.fixture
def schedule() -> DDIMScheduler:
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)


T = torch.tensor([0, 20, 500, 980, 999])


def test_add_noise_equals_diffusers(schedule: DDIMScheduler) -> None:
    z, eps = torch.randn(2, 5, 4, 3, 3)
    found = add_noise(z, eps, schedule.alphas_cumprod[T])
    torch.testing.assert_close(found, schedule.add_noise(z, eps, T), rtol=0, atol=1e-6)  # float32, values of order 1


def test_v_and_sample_predictions_turn_into_the_noise_that_was_added(schedule: DDIMScheduler) -> None:
    z, eps = torch.randn(2, 5, 4, 3, 3, dtype=torch.float64)
    alpha_bar = schedule.alphas_cumprod[T].double()
    z_t = add_noise(z, eps, alpha_bar)
    v = schedule.get_velocity(z, eps, T)
    torch.testing.assert_close(eps_from_v(v.double(), z_t, alpha_bar), eps, rtol=0, atol=1e-6)  # diffusers' v is float32-ish
    # at t = 0 the noise is divided by sqrt(1 - alpha_bar) = 0.03: float64 keeps that exact
    torch.testing.assert_close(eps_from_sample(z, z_t, alpha_bar), eps, rtol=0, atol=1e-12)


def test_v_equals_what_the_scheduler_makes_of_it() -> None:
    schedule = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
    schedule.set_timesteps(1000)
    v, z_t = torch.randn(2, 1, 4, 3, 3)
    for t in (20, 500, 980):
        alpha_bar = schedule.alphas_cumprod[t][None]
        clean = schedule.step(v, t, z_t).pred_original_sample
        implied = (z_t - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()
        torch.testing.assert_close(eps_from_v(v, z_t, alpha_bar), implied, rtol=0, atol=2e-5)  # divided by sigma = 0.14


def test_guidance_is_uncond_base() -> None:
    uncond, text = torch.randn(2, 1, 4, 3, 3)
    assert torch.equal(guide(uncond, text, 0), uncond)
    torch.testing.assert_close(guide(uncond, text, 1), text, rtol=0, atol=1e-6)
    torch.testing.assert_close(guide(uncond, text, 7.5), uncond + 7.5 * (text - uncond), rtol=0, atol=1e-6)
    # the other convention, eps_text + s (eps_text - eps_uncond), is scale s + 1 here
    torch.testing.assert_close(guide(uncond, text, 8.5), text + 7.5 * (text - uncond), rtol=0, atol=1e-5)
