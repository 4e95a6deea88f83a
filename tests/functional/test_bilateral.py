"""The joint bilateral filter against its definition."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import needs_compiler
from reference import plain_filter
from torch import Tensor

from peekaboo.functional.bilateral import bilateral_filter, bilateral_weights, chebyshev_coefficients, pad_weights


def filtered(x: Tensor, weights: Tensor, passes: int = 40, dilation: int = 1, **options: Any) -> Tensor:
    """The filter with weights as they are defined."""
    return bilateral_filter(x, pad_weights(weights, dilation), passes, dilation=dilation, **options)


def definition(x: Tensor, guide: Tensor, kernel: int, sigma_space: float, tolerance: float, dilation: int = 1) -> Tensor:
    """One pass by the definition, pixel by pixel in float64: (H, W) from (H, W) and (G, H, W)."""
    height, width = x.shape
    out, radius = torch.zeros_like(x), dilation * (kernel // 2)
    for i in range(height):
        for j in range(width):
            total = weight_sum = 0.0
            for k in (k for k in range(i - radius, i + radius + 1, dilation) if 0 <= k < height):
                for m in (m for m in range(j - radius, j + radius + 1, dilation) if 0 <= m < width):
                    space = math.exp(-((i - k) ** 2 + (j - m) ** 2) / (2 * sigma_space**2))
                    colour = math.exp(-float((guide[:, i, j] - guide[:, k, m]).square().sum()) / (2 * tolerance**2))
                    total += space * colour * float(x[k, m])
                    weight_sum += space * colour
            out[i, j] = total / weight_sum
    return out


SIZES = [(1, 1), (1, 7), (6, 1), (2, 2), (5, 8)]


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 3)])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_definition_at_any_size(size: tuple[int, int], kernel: int, dilation: int) -> None:
    guide, x = torch.rand(2, 3, *size, dtype=torch.float64), torch.randn(2, 1, *size, dtype=torch.float64)
    weights = bilateral_weights(guide, kernel, sigma_space=1.5, tolerance=0.3, dilation=dilation)
    once = torch.stack([definition(a[0], g, kernel, 1.5, 0.3, dilation) for a, g in zip(x, guide, strict=True)])
    twice = torch.stack([definition(a, g, kernel, 1.5, 0.3, dilation) for a, g in zip(once, guide, strict=True)])
    # float64 in another order of summation
    torch.testing.assert_close(filtered(x, weights, 1, dilation=dilation)[:, 0], once, rtol=0, atol=1e-13)
    torch.testing.assert_close(filtered(x, weights, 2, dilation=dilation)[:, 0], twice, rtol=0, atol=1e-13)


def test_float32_equals_the_float64_definition_after_the_published_40_passes() -> None:
    guide, x = torch.rand(1, 3, 6, 5, dtype=torch.float64), torch.randn(1, 1, 6, 5, dtype=torch.float64)
    expected = x[0, 0]
    for _ in range(40):
        expected = definition(expected, guide[0], 3, 5.0, 0.08)
    found = filtered(x.float(), bilateral_weights(guide.float()), 40)[0, 0]
    # every pass is an average, so that rounding adds up at most: 40 passes of a few eps of 1.2e-7
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=40 * 4 * 1.2e-7)


def test_weights_sum_to_one_and_leave_out_what_lies_outside_the_image() -> None:
    weights = bilateral_weights(torch.rand(1, 3, 4, 5), kernel=3)
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 4, 5), rtol=0, atol=1e-6)
    assert (weights >= 0).all()
    assert (weights[0, :3, 0] == 0).all()  # nothing above the first row
    assert (weights[0, 2::3, :, -1] == 0).all()  # nothing right of the last column


def test_a_hard_edge_of_the_guide_stops_the_filter_and_a_flat_guide_does_not() -> None:
    guide = torch.zeros(1, 3, 6, 8)
    guide[..., 4:] = 1.0
    x = torch.zeros(1, 1, 6, 8)
    x[..., 4:] = 1.0
    sharp = filtered(x, bilateral_weights(guide), 40)
    torch.testing.assert_close(sharp, x, rtol=0, atol=1e-5)
    blurred = filtered(x, bilateral_weights(torch.zeros_like(guide)), 40)
    assert 0.2 < float(blurred[0, 0, 3, 3]) < 0.8


def test_gradcheck() -> None:
    weights = bilateral_weights(torch.rand(2, 2, 4, 3, dtype=torch.float64))
    x = torch.randn(2, 1, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: filtered(x, weights, 5), (x,))


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_is_the_adjoint(size: tuple[int, int], dilation: int) -> None:
    """Against the filter's matrix, column by column: the gradient of <W^3 x, y> is (W^3)^T y."""
    weights = bilateral_weights(torch.rand(1, 3, *size, dtype=torch.float64), kernel=5, dilation=dilation)
    pixels = size[0] * size[1]
    basis = torch.eye(pixels, dtype=torch.float64).view(pixels, 1, *size)
    matrix = filtered(basis, weights.expand(pixels, -1, -1, -1), 1, dilation=dilation).view(pixels, pixels).T
    x, y = torch.randn(2, 1, 1, *size, dtype=torch.float64)
    x.requires_grad_()
    (found,) = torch.autograd.grad((filtered(x, weights, 3, dilation=dilation) * y).sum(), x)
    torch.testing.assert_close(found.flatten(), matrix.T.matrix_power(3) @ y.flatten(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("passes", [0, 1, 2, 7, 40, 200])
@pytest.mark.parametrize("error", [0.0, 1e-4, 2e-3, 0.1])
def test_chebyshev_polynomials_sum_to_the_power(passes: int, error: float) -> None:
    coefficients = chebyshev_coefficients(passes, error)
    x = np.linspace(-1, 1, 501)
    found = np.polynomial.chebyshev.chebval(x, coefficients)
    assert np.abs(found - x**passes).max() <= error + 1e-12
    assert abs(sum(coefficients) - 1) < 1e-12 and min(coefficients) >= 0
    if error == 0:
        assert len(coefficients) == passes + 1


def test_forty_passes_take_twenty_steps() -> None:
    assert len(chebyshev_coefficients(40, 0.002)) == 21


@pytest.mark.parametrize("error", [1e-4, 2e-3, 0.05])
@pytest.mark.parametrize("dilation", [1, 2])
def test_fewer_steps_keep_to_the_error_in_value_and_gradient(error: float, dilation: int) -> None:
    """In the norm in which W is symmetric, weighted with D; the gradient's norm is weighted with 1 / D. Constants stay exact."""
    weights = bilateral_weights(torch.rand(3, 3, 12, 9, dtype=torch.float64), 3, 5.0, 0.5, dilation)
    d = 1 / weights[:, 4:5]  # the weight of a pixel for itself is 1 before normalisation
    x, incoming = torch.randn(2, 3, 1, 12, 9, dtype=torch.float64)
    found = []
    for allowed in (0.0, error):
        field = x.clone().requires_grad_()
        y = filtered(field, weights, 40, dilation=dilation, error=allowed)
        y.backward(incoming)
        found.append((y.detach(), field.grad))
    (value, gradient), (near, its_gradient) = found
    assert 0 < (d * (near - value) ** 2).sum() ** 0.5 <= error * (d * x**2).sum() ** 0.5
    assert 0 < ((its_gradient - gradient) ** 2 / d).sum() ** 0.5 <= error * (incoming**2 / d).sum() ** 0.5
    ones = torch.ones_like(x)
    torch.testing.assert_close(filtered(ones, weights, 40, dilation=dilation, error=error), ones, rtol=0, atol=1e-12)
    y = x.clone().requires_grad_()  # and the gradient is the one of what was computed
    assert torch.autograd.gradcheck(lambda y: filtered(y, weights[:1], 40, dilation=dilation, error=error), (y[:1],))


def plain_pass(x: Tensor, weights: Tensor) -> Tensor:
    """One pass out of operations that autograd knows."""
    patches = torch.nn.functional.unfold(x, 3, padding=1).unflatten(2, x.shape[-2:])
    return (patches * weights).sum(1, keepdim=True)


def test_backward_through_40_passes_equals_autograd_through_40_plain_ones() -> None:
    weights = bilateral_weights(torch.rand(2, 3, 7, 9, dtype=torch.float64))
    x, y = torch.randn(2, 2, 1, 7, 9, dtype=torch.float64)
    x.requires_grad_()
    plain = x
    for _ in range(40):
        plain = plain_pass(plain, weights)
    value = filtered(x, weights, 40)
    (expected,) = torch.autograd.grad((plain * y).sum(), x)
    (found,) = torch.autograd.grad((value * y).sum(), x)
    torch.testing.assert_close(value, plain, rtol=0, atol=1e-13)  # float64, another order of summation
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("passes", [1, 40])
def test_keeps_no_maps_for_the_backward_pass(passes: int) -> None:
    weights = pad_weights(bilateral_weights(torch.rand(1, 3, 16, 16)))
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    x = torch.randn(1, 1, 16, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        bilateral_filter(x, weights, passes)
    assert [tensor.data_ptr() for tensor in saved] == [weights.data_ptr()]  # the caller's own, whatever the passes


def test_does_not_change_its_input_and_zero_passes_are_the_identity() -> None:
    x = torch.randn(1, 1, 4, 4)
    before, weights = x.clone(), bilateral_weights(torch.rand(1, 3, 4, 4))
    torch.testing.assert_close(filtered(x, weights, 0), before, rtol=0, atol=0)
    filtered(x, weights, 3)
    assert torch.equal(x, before)


def test_one_pass_agrees_with_kornia_in_the_interior() -> None:
    """kornia reflects at the border, where this filter leaves the neighbours out, so the border is not compared.

    Its colour distance "l2" is the squared L2 norm over the channels, as here; its second sigma is the one in space.
    """
    from kornia.filters import joint_bilateral_blur

    guide, x = torch.rand(2, 3, 9, 10, dtype=torch.float64), torch.randn(2, 1, 9, 10, dtype=torch.float64)
    expected = joint_bilateral_blur(x, guide, 5, sigma_color=0.2, sigma_space=(1.3, 1.3), color_distance_type="l2")
    found = filtered(x, bilateral_weights(guide, 5, sigma_space=1.3, tolerance=0.2), 1)
    torch.testing.assert_close(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [0, 2, -3])
def test_refuses_an_even_window(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"kernel: expected an odd number of pixels, got {kernel}"):
        bilateral_weights(torch.rand(1, 3, 4, 4), kernel)


def test_refuses_a_dilation_under_one() -> None:
    with pytest.raises(ValueError, match="dilation: expected at least 1, got 0"):
        bilateral_weights(torch.rand(1, 3, 4, 4), dilation=0)


@pytest.mark.parametrize("sigmas", [(0.0, 0.1), (1.0, -0.1)])
def test_refuses_deviations_that_are_not_positive(sigmas: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="sigma_space, tolerance: expected positive numbers"):
        bilateral_weights(torch.rand(1, 3, 4, 4), 3, *sigmas)


def test_refuses_a_field_of_another_shape() -> None:
    weights = bilateral_weights(torch.rand(1, 3, 4, 4))
    for shape in ((1, 1, 4, 5), (2, 1, 4, 4), (1, 3, 4, 4)):
        with pytest.raises(ValueError, match=r"x: expected \(1, 1, 4, 4\) for padded weights \(1, 9, 4, 6\), got"):
            filtered(torch.zeros(shape), weights)


@needs_compiler
def test_compiled_passes_with_gaps_equal_the_others() -> None:
    weights, x = bilateral_weights(torch.rand(1, 3, 9, 7), dilation=2), torch.randn(1, 1, 9, 7)
    for error in (0.0, 0.002):
        expected, found = (filtered(x, weights, 40, compiled=c, dilation=2, error=error) for c in (False, True))
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@needs_compiler
def test_compiled_passes_give_the_value_and_the_gradient_of_the_plain_form() -> None:
    guide, x = torch.rand(2, 3, 9, 7), torch.randn(2, 1, 9, 7)
    weights, incoming = bilateral_weights(guide), torch.randn(2, 1, 9, 7)
    found = []
    for run in (plain_filter, partial(filtered, compiled=True)):
        field = x.clone().requires_grad_()
        y = run(field, weights, 40)
        y.backward(incoming)
        found.append((y.detach(), field.grad))
    # float32 in another order of summation, over 40 averages
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=2e-5)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=0, atol=2e-5)


@pytest.mark.slow
@needs_compiler
def test_the_compiler_does_not_give_up_after_many_numbers_of_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past eight shapes `torch.compile` would run the step uncompiled, several times as slow, with a warning."""
    monkeypatch.setattr(torch._dynamo.config, "fail_on_recompile_limit_hit", True)
    for count in range(1, 11):
        x, weights = torch.randn(count, 1, 5, 4), bilateral_weights(torch.rand(count, 3, 5, 4))
        expected, found = (filtered(x, weights, 3, compiled=c) for c in (False, True))
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
