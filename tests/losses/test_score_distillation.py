"""The distillation gradient against the published formula, written out with the objects of diffusers and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from peekaboo.alphas import Raster
from peekaboo.backgrounds import RandomColour
from peekaboo.functional.random import Draws
from peekaboo.losses import ScoreDistillation
from peekaboo.optimisation.objective import Objective
from peekaboo.teachers import Diffusion

PROMPTS = ["a red apple", "a teddy bear"]


class Recorded(Draws):
    """Draws that keep what they gave out, for a second computation with the same numbers."""

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.given: list[Tensor] = []

    def of(self, purpose: str) -> Draws:
        own = Recorded(self.seeds, self.step, self.total, self.rank, self.device, f"{self.purpose}/{purpose}")
        own.given = self.given
        return own

    def _stack(self, draw: Any) -> Tensor:
        self.given.append(super()._stack(draw))
        return self.given[-1]


class Published:
    """One step of Peekaboo, one sample at a time, as a reader of the paper would write it with diffusers."""

    def __init__(self, folder: Path, guidance: float, negative: str = "") -> None:
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").eval()
        self.encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scheduler = DDPMScheduler.from_pretrained(folder / "scheduler")
        self.guidance, self.negative = guidance, negative

    @torch.no_grad()
    def text(self, prompt: str) -> Tensor:
        tokens = self.tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        return self.encoder(tokens.input_ids).last_hidden_state

    @torch.no_grad()
    def eps_hat(self, z_t: Tensor, t: Tensor, prompt: str) -> tuple[Tensor, Tensor]:
        """The noise predicted without and with the text."""
        out = []
        for words in (self.negative, prompt):
            prediction = self.unet(z_t, t, encoder_hidden_states=self.text(words)).sample
            if self.scheduler.config.prediction_type == "v_prediction":
                alpha_bar = self.scheduler.alphas_cumprod[t]
                prediction = alpha_bar.sqrt() * prediction + (1 - alpha_bar).sqrt() * z_t
            out.append(prediction)
        return out[0], out[1]

    def latent(self, composite: Tensor, noise: Tensor | None) -> Tensor:
        posterior = self.vae.encode(2 * composite - 1).latent_dist
        sample = posterior.mean if noise is None else posterior.mean + posterior.std * noise
        return 0.18215 * sample

    def gradient(self, z: Tensor, prompt: str, t: Tensor, eps: Tensor) -> Tensor:
        """(1 - alpha_bar) (eps_hat - eps) on the latent."""
        z_t = self.scheduler.add_noise(z.detach(), eps, t)
        uncond, text = self.eps_hat(z_t, t, prompt)
        return (1 - self.scheduler.alphas_cumprod[t]) * (uncond + self.guidance * (text - uncond) - eps)


def close(found: Tensor, expected: Tensor) -> None:
    """To float32 rounding: guidance 100 multiplies the difference of two predictions, each exact to 5e-7 of the largest."""
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("prediction", ["pipeline", "v_pipeline"])
def test_the_gradient_of_the_alpha_equals_the_published_formula(prediction: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(prediction)
    loss = ScoreDistillation(Diffusion(str(folder)), guidance=100.0)
    image, alpha = torch.rand(2, 3, 16, 16), Raster()
    alpha.reset(image, [0, 1])
    draws = Recorded([5, 6], step=3, total=10)
    Objective(loss, RandomColour(), penalty=0.0)(alpha(), image, PROMPTS, draws)["total"].sum().backward()

    colour, posterior_noise, t, eps = draws.given
    published = Published(folder, 100.0)
    raw = alpha.field.detach().clone().requires_grad_()
    for i, prompt in enumerate(PROMPTS):
        opacity = raw[i : i + 1].sigmoid()
        composite = image[i : i + 1] * opacity + colour[i] * (1 - opacity)
        z = published.latent(composite, posterior_noise[i : i + 1])
        gradient = published.gradient(z, prompt, t[i], eps[i])
        (expected,) = torch.autograd.grad(z, raw, gradient)
        close(alpha.field.grad[i], expected[i])


def test_the_value_is_half_the_squared_gradient_and_the_gradient_on_the_latent_exact(pipeline: Path) -> None:
    loss = ScoreDistillation(Diffusion(str(pipeline)), guidance=30.0, sample_posterior=False)
    composite = torch.rand(2, 3, 16, 16, requires_grad=True)
    value = loss(composite, PROMPTS, Draws([0, 1]))
    z = loss.teacher.encode(composite)
    gradient = loss.gradient(z.detach(), PROMPTS, Draws([0, 1]))
    torch.testing.assert_close(value, 0.5 * gradient.square().sum((1, 2, 3)), rtol=1e-6, atol=0)
    (expected,) = torch.autograd.grad(z, composite, gradient)
    (found,) = torch.autograd.grad(value.sum(), composite)
    assert torch.equal(found, expected)


def test_nothing_of_the_teacher_gets_a_gradient(pipeline: Path) -> None:
    loss = ScoreDistillation(Diffusion(str(pipeline)))
    loss(torch.rand(1, 3, 16, 16, requires_grad=True), PROMPTS[:1], Draws([0])).sum().backward()
    assert all(p.grad is None for p in loss.parameters())
    assert not loss.gradient(torch.randn(1, 4, 8, 8, requires_grad=True), PROMPTS[:1], Draws([0])).requires_grad


def latents() -> Tensor:
    return torch.randn(2, 4, 8, 8)


def test_noise_samples_average_their_gradients(pipeline: Path) -> None:
    teacher, z, draws = Diffusion(str(pipeline)), latents(), Recorded([0, 1])
    found = ScoreDistillation(teacher, guidance=20.0, noise_samples=3).gradient(z, PROMPTS, draws)
    t, eps = draws.given
    assert t.shape == (2, 3)
    assert len(t.unique()) > 3
    published = Published(pipeline, 20.0)
    for i, prompt in enumerate(PROMPTS):
        each = [published.gradient(z[i : i + 1], prompt, t[i, k], eps[i, k][None]) for k in range(3)]
        close(found[i], torch.cat(each).mean(0))


def test_classifier_only_leaves_the_prior_out(pipeline: Path) -> None:
    teacher, z, draws = Diffusion(str(pipeline)), latents(), Recorded([0, 1])
    found = ScoreDistillation(teacher, guidance=20.0, classifier_only=True).gradient(z, PROMPTS, draws)
    (t, eps), published = draws.given, Published(pipeline, 20.0)
    for i, prompt in enumerate(PROMPTS):
        z_t = published.scheduler.add_noise(z[i : i + 1], eps[i], t[i])
        uncond, text = published.eps_hat(z_t, t[i], prompt)
        close(found[i : i + 1], (1 - published.scheduler.alphas_cumprod[t[i]]) * 20.0 * (text - uncond))


def test_the_negative_prompt_takes_the_place_of_the_empty_one(pipeline: Path) -> None:
    teacher, z, draws = Diffusion(str(pipeline)), latents(), Recorded([0, 1])
    found = ScoreDistillation(teacher, guidance=20.0, negative_prompt="a bear").gradient(z, PROMPTS, draws)
    (t, eps), published = draws.given, Published(pipeline, 20.0, negative="a bear")
    for i, prompt in enumerate(PROMPTS):
        close(found[i], published.gradient(z[i : i + 1], prompt, t[i], eps[i])[0])
    plain = ScoreDistillation(teacher, guidance=20.0).gradient(z, PROMPTS, Draws([0, 1]))
    assert not torch.allclose(found, plain, atol=1e-3 * float(plain.abs().max()))


def test_guidance_one_asks_the_network_once_and_gives_the_same(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, z = Diffusion(str(pipeline)), latents()
    asked: list[int] = []
    predict = teacher.predict_noise
    monkeypatch.setattr(teacher, "predict_noise", lambda z_t, t, text: asked.append(len(z_t)) or predict(z_t, t, text))
    one = ScoreDistillation(teacher, guidance=1.0).gradient(z, PROMPTS, Draws([0, 1]))
    nearly = ScoreDistillation(teacher, guidance=1.0 + 1e-9).gradient(z, PROMPTS, Draws([0, 1]))
    assert asked == [2, 4]
    torch.testing.assert_close(one, nearly, rtol=0, atol=1e-5)


def test_guidance_zero_ignores_the_prompt(pipeline: Path) -> None:
    loss, z = ScoreDistillation(Diffusion(str(pipeline)), guidance=0.0), latents()
    found, other = (loss.gradient(z, prompts, Draws([0, 1])) for prompts in (PROMPTS, PROMPTS[::-1]))
    torch.testing.assert_close(found, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("weighting", ["sigma_squared", "one", "sigma_squared_sqrt_alpha", "rfds"])
def test_weightings(pipeline: Path, weighting: Any) -> None:
    teacher, z, draws = Diffusion(str(pipeline)), latents(), Recorded([0, 1])
    unweighted = ScoreDistillation(teacher, weighting="one").gradient(z, PROMPTS, draws)
    signal, noise = (x[:, None, None, None] for x in teacher.signal_noise(draws.given[0].flatten()))
    alpha_bar = signal**2
    factor = {"one": 1, "sigma_squared": 1 - alpha_bar, "sigma_squared_sqrt_alpha": (1 - alpha_bar) * alpha_bar.sqrt()}
    factor["rfds"] = (signal + noise) / signal
    found = ScoreDistillation(teacher, weighting=weighting).gradient(z, PROMPTS, Draws([0, 1]))
    close(found, factor[weighting] * unweighted)


def timesteps(loss: ScoreDistillation, step: int, total: int) -> Tensor:
    draws = Recorded(range(200), step=step, total=total)
    loss.teacher.predict_noise = lambda z_t, t, text: torch.zeros_like(z_t)  # type: ignore[method-assign]
    loss.gradient(torch.zeros(200, 4, 8, 8), [""] * 200, draws)
    return draws.given[0]


def test_timesteps_stay_in_their_range_and_reach_both_ends(pipeline: Path) -> None:
    loss = ScoreDistillation(Diffusion(str(pipeline)), t_min=20, t_max=29)
    assert sorted(timesteps(loss, 0, 10).unique().tolist()) == list(range(20, 30))


def test_the_annealed_schedule_lowers_the_upper_end_to_the_lower(pipeline: Path) -> None:
    loss = ScoreDistillation(Diffusion(str(pipeline)), t_min=100, t_max=900, schedule="annealed")
    assert 880 <= int(timesteps(loss, 0, 11).max()) <= 900
    middle = timesteps(loss, 5, 11)
    assert 480 <= int(middle.max()) <= 500
    assert int(middle.min()) < 120
    assert timesteps(loss, 10, 11).unique().tolist() == [100]


def test_guidance_goes_from_its_start_to_its_end(pipeline: Path) -> None:
    """At the first, middle and last of 11 steps it is the gradient of that scale, with the same draws."""
    teacher = Diffusion(str(pipeline))
    loss, z = ScoreDistillation(teacher, guidance=20.0, guidance_start=4.0), torch.randn(2, *teacher.latent_shape())
    for step, scale in ((0, 4.0), (5, 12.0), (10, 20.0)):
        found = loss.gradient(z, ["a dog", "a cat"], Draws([1, 2], step, 11))
        expected = ScoreDistillation(teacher, guidance=scale).gradient(z, ["a dog", "a cat"], Draws([1, 2], step, 11))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_timestep_belongs_to_the_sample(pipeline: Path) -> None:
    assert len(timesteps(ScoreDistillation(Diffusion(str(pipeline))), 0, 10).unique()) > 100


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"t_min": 500, "t_max": 100}, "t_min, t_max: expected 0 <= t_min <= t_max <= 999, got 500, 100"),
        ({"t_max": 1000}, "t_min, t_max: expected 0 <= t_min <= t_max <= 999, got 20, 1000"),
        ({"noise_samples": 0}, "noise_samples: expected at least 1, got 0"),
        ({"schedule": "cosine"}, "schedule: expected one of uniform, annealed, got 'cosine'"),
        ({"weighting": "snr"}, "weighting: expected one of sigma_squared, one, sigma_squared_sqrt_alpha, rfds, got 'snr'"),
    ],
)
def test_refuses_settings_that_mean_nothing(pipeline: Path, argument: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoreDistillation(Diffusion(str(pipeline)), **argument)


def gradients(teacher: Diffusion, draws: Draws, **options: Any) -> Tensor:
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return ScoreDistillation(teacher, guidance=20.0, **options).gradient(z, PROMPTS, draws)


def test_a_bank_visits_its_timesteps_and_noise_in_rounds(pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline))
    rounds = [gradients(teacher, Draws([0, 1], step, 100, purpose="step"), bank=3) for step in range(7)]
    for step in range(4):
        assert torch.equal(rounds[step], rounds[step + 3])
    assert not torch.equal(rounds[0], rounds[1])
    fresh = [gradients(teacher, Draws([0, 1], step, 100, purpose="step")) for step in (0, 3)]
    assert torch.equal(fresh[0], rounds[0]) and not torch.equal(fresh[1], rounds[3])


def test_a_bank_leaves_schedules_their_own_progress(pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline))
    early, late = (
        gradients(teacher, Draws([0, 1], step, 100), schedule="annealed", t_min=20, t_max=900, bank=1) for step in (0, 99)
    )
    last = gradients(teacher, Draws([0, 1], 0, 100), t_min=20, t_max=20, bank=1)
    torch.testing.assert_close(late, last, rtol=0, atol=0)
    assert not torch.equal(early, late)


def test_antithetic_noise_comes_in_twos_of_both_signs(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    loss = ScoreDistillation(Diffusion(str(pipeline)), guidance=1.0, noise_samples=4, antithetic=True)
    monkeypatch.setattr(loss.teacher, "predict_noise", lambda z_t, t, text: seen.append((z_t, t)) or torch.zeros_like(z_t))
    loss.gradient(torch.zeros(2, 4, 8, 8), PROMPTS, Draws([0, 1]))
    z_t, t = seen[0]
    for n in range(2):
        for k in (0, 2):
            first, second = 4 * n + k, 4 * n + k + 1
            assert torch.equal(z_t[first], -z_t[second]) and t[first] == t[second]
        assert not torch.equal(z_t[4 * n], z_t[4 * n + 2])
    with pytest.raises(ValueError, match="noise_samples: expected an even number with antithetic noise, got 3"):
        ScoreDistillation(loss.teacher, noise_samples=3, antithetic=True)


def test_a_share_of_the_noise_may_be_subtracted(pipeline: Path) -> None:
    teacher, draws = Diffusion(str(pipeline)), Draws([0, 1])
    whole, half, none = (gradients(teacher, draws, subtracted=c, weighting="one") for c in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half, (whole + none) / 2, rtol=0, atol=1e-4)
    eps = draws.of("noise").normal(1, 4, 8, 8)[:, 0]
    torch.testing.assert_close(none - whole, eps, rtol=0, atol=1e-4)
