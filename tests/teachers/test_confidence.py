"""Confidence against a direct computation, image by image and draw by draw."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from peekaboo.functional.random import Draws
from peekaboo.teachers import Diffusion
from peekaboo.teachers.confidence import PARTS, Confidence, can_judge, prompt_gains

PROMPTS = ["a red apple", "a bear"]


@pytest.fixture
def teacher(pipeline: Path) -> Diffusion:
    return Diffusion(str(pipeline))


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)


def direct_gain(teacher: Diffusion, seen: torch.Tensor, prompt: str, timesteps: list[int], repeats: int) -> float:
    """The definition, for one picture (3, H, W), by the scheduler's own schedule."""
    z = teacher.encode(seen[None])
    alpha_bar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    gains = []
    for t in timesteps:
        for repeat in range(repeats):
            eps = Draws([0], repeat, purpose=f"confidence/{t}").normal(*z.shape[1:])
            z_t = float(alpha_bar[t].sqrt()) * z + float((1 - alpha_bar[t]).sqrt()) * eps
            errors = [
                (teacher.predict_noise(z_t, torch.tensor([t]), teacher.embed([text])) - eps).square().sum().item()
                for text in ("", prompt)
            ]
            gains.append((errors[0] - errors[1]) / (errors[0] + errors[1]))
    return sum(gains) / len(gains)


def test_gains_are_those_of_a_direct_computation(teacher: Diffusion, pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, alphas = pairs
    found = prompt_gains(teacher, images, alphas, PROMPTS, [100, 700], repeats=2)
    assert found.shape == (2, len(PARTS))
    for i, prompt in enumerate(PROMPTS):
        cut = images[i] * alphas[i] + 0.5 * (1 - alphas[i])
        complement = images[i] * (1 - alphas[i]) + 0.5 * alphas[i]
        for j, seen in enumerate((cut, complement, images[i])):
            expected = direct_gain(teacher, seen, prompt, [100, 700], 2)
            assert abs(expected) > 1e-6
            assert found[i, j].item() == pytest.approx(expected, rel=2e-2, abs=1e-6)


def test_a_gain_does_not_depend_on_neighbours_and_is_the_same_again(
    teacher: Diffusion, pairs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, alphas = pairs
    both = prompt_gains(teacher, images, alphas, PROMPTS, [300])
    torch.manual_seed(5)
    torch.testing.assert_close(prompt_gains(teacher, images[1:], alphas[1:], PROMPTS[1:], [300]), both[1:], rtol=1e-3, atol=1e-7)


def test_the_confidence_is_the_logistic_of_the_gains(teacher: Diffusion, pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    judge = Confidence([200], weights=(300.0, -200.0, 100.0), bias=-0.3)
    found = judge(teacher, *pairs, PROMPTS)
    for own, (cut, complement, whole) in zip(found.confidence.tolist(), found.gains.tolist(), strict=True):
        assert own == pytest.approx(1 / (1 + math.exp(-(300 * cut - 200 * complement + 100 * whole - 0.3))), rel=1e-4)
    assert not judge.calibrated_for(teacher)


def test_an_empty_mask_has_no_confidence(teacher: Diffusion, pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, alphas = pairs
    alphas[1] = 0.4
    sure, none = Confidence([200], bias=5.0)(teacher, images, alphas, PROMPTS).confidence.tolist()
    assert sure > 0.5 and none == 0


def test_the_unconditional_prompt_gains_nothing(teacher: Diffusion, pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert prompt_gains(teacher, *pairs, ["", ""], [300]).abs().max() < 1e-6


def test_who_can_judge(teacher: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_judge(teacher) and not can_judge(None)

    def refuse(scale: float) -> None:
        raise ValueError("distilled")

    monkeypatch.setattr(teacher, "check_guidance", refuse)
    assert not can_judge(teacher)


def test_a_few_step_student_is_asked_at_the_timesteps_that_it_knows(
    teacher: Diffusion, pairs: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    make = teacher.predict_noise
    monkeypatch.setattr(teacher, "predict_noise", lambda z, t, text: (asked.append(int(t[0])), make(z, t, text))[1])
    teacher.timesteps = (259, 519, 999)
    prompt_gains(teacher, *pairs, PROMPTS, [200, 600])
    assert set(asked) == {259, 519}


@pytest.mark.parametrize("wrong", [{"timesteps": []}, {"timesteps": [1000]}, {"repeats": 0}])
def test_settings_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"confidence.timesteps, repeats: expected"):
        Confidence(**wrong)
