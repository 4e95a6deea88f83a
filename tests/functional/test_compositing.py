"""Compositing, the penalty, and the scale of the gradient."""

from __future__ import annotations

import pytest
import torch

from peekaboo.functional.compositing import alpha_penalty, composite, with_unit_gradient


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


def unit_gradient(alpha: torch.Tensor, incoming: torch.Tensor, behind: float = 1.0) -> torch.Tensor:
    """The gradient on alpha of losses whose own is ``incoming``, times something behind them."""
    losses = with_unit_gradient(alpha, lambda seen: (seen * incoming).sum((1, 2, 3)))
    torch.testing.assert_close(losses, (alpha * incoming).sum((1, 2, 3)), rtol=0, atol=0, equal_nan=True)
    (found,) = torch.autograd.grad((losses * behind).sum(), alpha)
    return found


@pytest.mark.parametrize("side", [8, 32])
def test_the_normalised_gradient_has_the_size_of_the_penaltys(side: int) -> None:
    alpha = torch.rand(3, 1, side, side, requires_grad=True)
    incoming = torch.randn(3, 1, side, side) * torch.tensor([1e-6, 1.0, 1e5])[:, None, None, None]
    found = unit_gradient(alpha, incoming)
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
    found = unit_gradient(alpha, incoming)
    assert (found[0] == 0).all()
    assert found[1].isnan().any()
    assert found[2].isfinite().all()


def test_what_multiplies_the_loss_multiplies_its_normalised_gradient() -> None:
    """Accumulated steps and the loss scale of half precision do, and the penalty's gradient gets them as well."""
    alpha, incoming = torch.rand(2, 1, 8, 8, requires_grad=True), torch.randn(2, 1, 8, 8)
    for behind in (65536.0, 0.25, -2.0):
        torch.testing.assert_close(unit_gradient(alpha, incoming, behind), behind * unit_gradient(alpha, incoming))
    losses = with_unit_gradient(alpha, lambda seen: (seen * incoming).double().sum((1, 2, 3)))  # a loss may be wider
    (found,) = torch.autograd.grad(losses.sum(), alpha)
    torch.testing.assert_close(found, unit_gradient(alpha, incoming))
    with torch.no_grad():
        assert with_unit_gradient(alpha, lambda seen: seen.sum((1, 2, 3))).shape == (2,)


def test_processes_normalise_the_mean_of_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were each to normalise its own, the mean would be shorter than the penalty's by as much as they differ."""
    alpha, own, other = torch.rand(2, 1, 8, 8, requires_grad=True), torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda gradient: gradient.add_(other))
    losses = with_unit_gradient(alpha, lambda seen: (seen * own).sum((1, 2, 3)), ranks=2)
    (found,) = torch.autograd.grad(losses.sum(), alpha)
    torch.testing.assert_close(found, unit_gradient(alpha, (own + other) / 2))
