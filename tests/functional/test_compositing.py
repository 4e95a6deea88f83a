"""Compositing, the penalty, and the scale of the gradient."""

from __future__ import annotations

import pytest
import torch

from peekaboo.functional.compositing import alpha_penalty, composite, normalise_gradient


def test_composite_is_the_blend_and_exact_at_both_ends() -> None:
    image, alpha = torch.rand(2, 3, 4, 5), torch.rand(2, 1, 4, 5)
    colour = torch.rand(2, 3, 1, 1)
    torch.testing.assert_close(composite(image, colour, alpha), image * alpha + colour * (1 - alpha), rtol=0, atol=1e-6)
    assert torch.equal(composite(image, colour, torch.ones_like(alpha)), image)
    assert torch.equal(composite(image, colour, torch.zeros_like(alpha)), colour.expand_as(image))


def test_the_gradient_of_alpha_is_image_minus_background() -> None:
    image, colour = torch.rand(1, 3, 4, 5), torch.rand(1, 3, 1, 1)
    alpha = torch.rand(1, 1, 4, 5, requires_grad=True)
    composite(image, colour, alpha).sum().backward()
    torch.testing.assert_close(alpha.grad, (image - colour).sum(1, keepdim=True), rtol=0, atol=1e-6)


def test_penalty_is_the_published_sum_at_256_and_the_same_at_every_resolution() -> None:
    alpha = torch.rand(2, 1, 256, 256, dtype=torch.float64)
    torch.testing.assert_close(alpha_penalty(alpha), alpha.sum((1, 2, 3)), rtol=1e-12, atol=0)
    coarse = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    fine = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.testing.assert_close(alpha_penalty(fine), alpha_penalty(coarse), rtol=1e-12, atol=0)


@pytest.mark.parametrize("side", [8, 32])
def test_the_normalised_gradient_has_the_size_of_the_penaltys(side: int) -> None:
    alpha = torch.rand(3, 1, side, side, requires_grad=True)
    seen = normalise_gradient(alpha)
    assert torch.equal(seen, alpha)
    incoming = torch.randn(3, 1, side, side) * torch.tensor([1e-6, 1.0, 1e5])[:, None, None, None]
    (found,) = torch.autograd.grad(seen, alpha, incoming)
    (of_penalty,) = torch.autograd.grad(alpha_penalty(alpha).sum(), alpha)
    rms = found.square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(rms, of_penalty.mean((1, 2, 3)), rtol=1e-5, atol=0)
    cosine = torch.cosine_similarity(found.flatten(1), incoming.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(3), rtol=0, atol=1e-5)  # only its length changes


def test_a_vanishing_gradient_stays_zero_and_nan_stays_with_its_sample() -> None:
    alpha = torch.rand(3, 1, 4, 4, requires_grad=True)
    incoming = torch.randn(3, 1, 4, 4)
    incoming[0] = 0
    incoming[1, 0, 2, 2] = torch.nan
    (found,) = torch.autograd.grad(normalise_gradient(alpha), alpha, incoming)
    assert (found[0] == 0).all()
    assert found[1].isnan().any()
    assert found[2].isfinite().all()
