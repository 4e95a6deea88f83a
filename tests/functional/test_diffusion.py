"""Forward diffusion, prediction types and guidance, against diffusers and against each other."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from peekaboo.functional.diffusion import TO_EPS, Prediction, add_noise, equal_alpha_bar, guide


@pytest.fixture
def schedule() -> DDIMScheduler:
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)


T = torch.tensor([0, 20, 500, 980, 999])


def test_add_noise_equals_diffusers(schedule: DDIMScheduler) -> None:
    z, eps = torch.randn(2, 5, 4, 3, 3)
    alpha_bar = schedule.alphas_cumprod[T]
    found = add_noise(z, eps, alpha_bar.sqrt(), (1 - alpha_bar).sqrt())
    torch.testing.assert_close(found, schedule.add_noise(z, eps, T), rtol=0, atol=1e-6)  # float32, values of order 1
    flow = FlowMatchEulerDiscreteScheduler()
    sigma = flow.sigmas[[100, 500, 900]]
    expected = flow.scale_noise(z[:3], flow.timesteps[[100, 500, 900]], eps[:3])
    torch.testing.assert_close(add_noise(z[:3], eps[:3], 1 - sigma, sigma), expected, rtol=0, atol=1e-6)


def perfect(prediction: Prediction, z: Tensor, eps: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """What a network without error puts out."""
    a, b = (x[:, None, None, None] for x in (signal, noise))
    return {
        "epsilon": eps,
        "v_prediction": a * eps - b * z,
        "sample": z,
        "flow": eps - z,
        "reversed_flow": z - eps,
    }[prediction]


def factors(prediction: Prediction, s: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise of the flow time s, or of the diffusion of equal signal-to-noise ratio."""
    norm = 1 if "flow" in prediction else ((1 - s).square() + s.square()).sqrt()
    return (1 - s) / norm, s / norm


@pytest.mark.parametrize("prediction", TO_EPS)
def test_a_perfect_network_of_every_kind_gives_back_the_noise(prediction: Prediction) -> None:
    z, eps = torch.randn(2, 5, 4, 3, 3, dtype=torch.float64)
    signal, noise = factors(prediction, torch.tensor([0.02, 0.2, 0.5, 0.8, 0.98], dtype=torch.float64))
    output = perfect(prediction, z, eps, signal, noise)
    found = TO_EPS[prediction](output, add_noise(z, eps, signal, noise), signal, noise)
    torch.testing.assert_close(found, eps, rtol=0, atol=1e-12)


def test_an_error_in_the_clean_image_is_the_same_error_in_eps_for_every_kind() -> None:
    """At one signal-to-noise ratio, networks that all take z for z + d have the same eps_hat - eps: -(a / b) d."""
    z, eps, d = torch.randn(3, 3, 4, 3, 3, dtype=torch.float64)
    s = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    for prediction in TO_EPS:
        signal, noise = factors(prediction, s)
        z_t = add_noise(z, eps, signal, noise)
        # The noise that z_t and the mistaken image leave is what the network believes, too.
        believed = (z_t - signal[:, None, None, None] * (z + d)) / noise[:, None, None, None]
        output = perfect(prediction, z + d, believed, signal, noise)
        found = TO_EPS[prediction](output, z_t, signal, noise) - eps
        torch.testing.assert_close(found, -((1 - s) / s)[:, None, None, None] * d, rtol=0, atol=1e-12)


def test_equal_signal_to_noise_ratio() -> None:
    """The published table of flow times and timesteps of Stable Diffusion."""
    schedule = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    s = torch.tensor([0.121, 0.256, 0.454, 0.618, 0.769, 0.929])
    expected = schedule.alphas_cumprod[[20, 100, 300, 500, 700, 980]]
    torch.testing.assert_close(equal_alpha_bar(1 - s, s), expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(equal_alpha_bar(expected.sqrt(), (1 - expected).sqrt()), expected)


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
        signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        clean = schedule.step(v, t, z_t).pred_original_sample
        implied = (z_t - signal * clean) / noise
        found = TO_EPS["v_prediction"](v, z_t, signal, noise)
        torch.testing.assert_close(found, implied, rtol=0, atol=2e-5)  # divided by sigma = 0.14


def test_guidance_is_uncond_base() -> None:
    uncond, text = torch.randn(2, 1, 4, 3, 3)
    assert torch.equal(guide(uncond, text, 0), uncond)
    torch.testing.assert_close(guide(uncond, text, 1), text, rtol=0, atol=1e-6)
    torch.testing.assert_close(guide(uncond, text, 7.5), uncond + 7.5 * (text - uncond), rtol=0, atol=1e-6)
    # the other convention, eps_text + s (eps_text - eps_uncond), is scale s + 1 here
    torch.testing.assert_close(guide(uncond, text, 8.5), text + 7.5 * (text - uncond), rtol=0, atol=1e-5)
