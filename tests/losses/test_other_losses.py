"""The CLIP loss against transformers' own logits, the sum of losses, and the objective around them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from peekaboo.backgrounds import FadingImage, FixedColour, RandomColour
from peekaboo.functional.compositing import composite
from peekaboo.functional.random import Draws
from peekaboo.losses import CLIPLoss, Loss, ScoreDistillation, WeightedSum
from peekaboo.optimisation.objective import Objective
from peekaboo.teachers import CLIP, Diffusion

PROMPTS = ["a red apple", "a bear"]


def reference_logits(folder: Path, pixels: Tensor) -> Tensor:
    """The diagonal of ``logits_per_image`` of normalised pixels with their prompts."""
    tokens = CLIPTokenizer.from_pretrained(folder)(PROMPTS, padding=True, return_tensors="pt")
    return CLIPModel.from_pretrained(folder).eval()(pixel_values=pixels, **tokens).logits_per_image.diagonal()


def test_clip_loss_is_minus_the_logit_and_so_is_its_gradient(clip_folder: Path) -> None:
    clip = CLIP(str(clip_folder))
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    expected = -3.0 * reference_logits(clip_folder, (image - clip.mean) / clip.std)
    found = CLIPLoss(clip, coefficient=3.0)(image, PROMPTS, Draws([0, 1]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)  # logits of order 10 in float32
    (gradient,) = torch.autograd.grad(found.sum(), image)
    (of_reference,) = torch.autograd.grad(expected.sum(), image)
    assert float(gradient.abs().max()) > 0
    torch.testing.assert_close(gradient, of_reference, rtol=0, atol=1e-4 * float(of_reference.abs().max()))


def test_clip_normalises_with_the_processors_own_colours(clip_folder: Path) -> None:
    clip = CLIP(str(clip_folder))
    grey = torch.full((1, 3, 16, 16), 0.5)
    expected = (0.5 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor([0.26862954, 0.26130258, 0.27577711])
    torch.testing.assert_close(clip.preprocess(grey)[0, :, 0, 0], expected, rtol=0, atol=1e-6)


def test_clip_takes_any_size(clip_folder: Path) -> None:
    assert CLIPLoss(CLIP(str(clip_folder)))(torch.rand(2, 3, 9, 40), PROMPTS, Draws([0, 1])).isfinite().all()


class Constant(Loss):
    """A value times the sum of the composite."""

    def __init__(self, value: float, side: int | None = None) -> None:
        super().__init__()
        self.value, self.side = value, side

    @property
    def resolution(self) -> int | None:
        return self.side

    @property
    def teacher_name(self) -> str:
        return f"constant {self.value}"

    def forward(self, composite: Tensor, prompts: list[str], draws: Draws) -> Tensor:
        return self.value * composite.sum((1, 2, 3))


def test_weighted_sum_weighs_and_sums() -> None:
    image, draws = torch.rand(2, 3, 4, 4), Draws([0, 1])
    sums = image.sum((1, 2, 3))
    torch.testing.assert_close(WeightedSum([Constant(2), Constant(3)])(image, PROMPTS, draws), 5 * sums, rtol=1e-6, atol=0)
    weighted = WeightedSum([Constant(2), Constant(3)], weights=[0.5, -1.0])(image, PROMPTS, draws)
    torch.testing.assert_close(weighted, -2 * sums, rtol=1e-6, atol=0)


def test_weighted_sum_of_distillation_and_clip(pipeline: Path, clip_folder: Path) -> None:
    distillation, clip = ScoreDistillation(Diffusion(str(pipeline))), CLIPLoss(CLIP(str(clip_folder)))
    image = torch.rand(2, 3, 16, 16)
    both = WeightedSum([distillation, clip], [1.0, 10.0])(image, PROMPTS, Draws([0, 1]))
    expected = distillation(image, PROMPTS, Draws([0, 1]).of("0")) + 10 * clip(image, PROMPTS, Draws([0, 1]))
    torch.testing.assert_close(both, expected, rtol=1e-6, atol=0)


def test_weighted_sum_looks_as_closely_as_its_closest_loss_and_names_all_teachers() -> None:
    both = WeightedSum([Constant(1, side=64), Constant(2), Constant(3, side=128)])
    assert both.resolution == 128
    assert both.teacher_name == "constant 1 + constant 2 + constant 3"
    assert WeightedSum([Constant(1)]).resolution is None


@pytest.mark.parametrize(("count", "weights"), [(0, None), (2, [1.0]), (1, [1.0, 2.0])])
def test_weighted_sum_refuses_weights_that_do_not_match(count: int, weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match="weights: expected one for each of at least one loss"):
        WeightedSum([Constant(1)] * count, weights)


def test_objective_adds_the_penalty_and_reports_its_terms() -> None:
    image, alpha = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    terms = Objective(Constant(1.0), FixedColour((0.0, 0.0, 0.0)), penalty=0.1)(alpha, image, PROMPTS, Draws([0, 1]))
    torch.testing.assert_close(terms["loss"], (image * alpha).sum((1, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(terms["penalty"], 0.1 * 65536 * alpha.mean((1, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(terms["total"], terms["loss"] + terms["penalty"], rtol=1e-6, atol=0)


def test_normalisation_balances_the_loss_with_the_penalty_whatever_its_scale() -> None:
    image = torch.rand(1, 3, 8, 8)
    gradients = []
    for value in (1e-4, 1e4):
        alpha = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        objective = Objective(Constant(value), FixedColour(), penalty=0.3, normalise=True)
        objective(alpha, image, PROMPTS[:1], Draws([0]))["total"].sum().backward()
        gradients.append(alpha.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=0)
    without_penalty = gradients[0] - 0.3 * 65536 / 64
    assert float(without_penalty.square().mean().sqrt()) == pytest.approx(65536 / 64, rel=1e-4)


def test_backgrounds() -> None:
    image, draws = torch.rand(2, 3, 8, 8), Draws([0, 1])
    random = RandomColour()(image, draws)
    assert random.shape == (2, 3, 1, 1)
    assert not torch.equal(random[0], random[1])
    assert not torch.equal(random, RandomColour()(image, Draws([0, 1], step=1)))
    fixed = FixedColour((0.1, 0.2, 0.3))(image, draws)
    torch.testing.assert_close(fixed[1, :, 0, 0], torch.tensor([0.1, 0.2, 0.3]), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"colour: expected three numbers in \[0, 1\]"):
        FixedColour((0.0, 0.0, 1.5))


def test_a_fading_image_bounds_the_opacity_that_is_seen_from_below_and_then_goes() -> None:
    image, alpha = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    fading = FadingImage(visible=0.75, until=0.3)
    early, late = Draws([0, 1], step=2, total=11), Draws([0, 1], step=3, total=11)
    colour = RandomColour()(image, Draws([0, 1], step=2, total=11))
    seen = composite(image, fading(image, early), alpha)
    torch.testing.assert_close(seen, composite(image, colour, 0.75 + 0.25 * alpha))
    assert torch.equal(fading(image, late), RandomColour()(image, Draws([0, 1], step=3, total=11)))
    with pytest.raises(ValueError, match=r"visible: expected a number in \[0, 1\), got 1"):
        FadingImage(visible=1)
    with pytest.raises(ValueError, match=r"until: expected a number in \[0, 1\], got 2"):
        FadingImage(until=2)
