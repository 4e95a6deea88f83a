"""The joint bilateral filter as a fixed linear map: weights from a guide, applied many times, with its adjoint.

For pixel i and its neighbours j in a K x K window (Peekaboo, section 3.4)::

    w_ij = exp(-|i - j|^2 / (2 sigma_space^2)) * exp(-|g_i - g_j|^2 / (2 tolerance^2)),   y_i = sum_j w_ij x_j / sum_j w_ij

where j runs over the neighbours inside the image: all pixels of the window, or every `dilation`-th of one that much wider, which
costs no more (the "a trous" form of Dammertz et al. 2010). The map y = W x does not depend on x, so `passes` of it need no
intermediate maps for the backward pass: the gradient is (W^T)^passes times the incoming one. The weights before normalisation are
symmetric, w_ij = w_ji, so with their sums D on a diagonal W^T = D W D^-1: the adjoint is the same filter between two scalings.

Many passes need not be done one by one. W is similar to a symmetric matrix with eigenvalues in [-1, 1], and there x^n is a sum of
Chebyshev polynomials whose coefficients are the chances of a random walk of n steps to end k from its start (Carne 1985)::

    x^n = sum_k P(|S_n| = k) T_k(x)

The walk hardly ever comes further than a few sqrt(n): of 40 passes, degrees above 20 hold 0.0007 of the sum. What is left out
bounds the error, and 20 applications of W (by Clenshaw's recurrence) do the work of 40.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)


def _offsets(kernel: int, dilation: int) -> list[tuple[int, int]]:
    steps = [dilation * (k - kernel // 2) for k in range(kernel)]
    return [(dy, dx) for dy in steps for dx in steps]


def _shifted(padded: Tensor, dy: int, dx: int, radius: int, height: int, width: int) -> Tensor:
    return padded[..., radius + dy : radius + dy + height, radius + dx : radius + dx + width]


def bilateral_weights(
    guide: Tensor, kernel: int = 3, sigma_space: float = 5.0, tolerance: float = 0.08, dilation: int = 1
) -> Tensor:
    """Computes the normalised weights of every pixel's window.

    Args:
        guide: (N, G, H, W), any number of channels; distances are L2 over them.
        kernel: odd side of the window.
        sigma_space: standard deviation in pixels of the gaussian in space.
        tolerance: standard deviation of the gaussian in guide distance, in the guide's units.
        dilation: pixels from one neighbour to the next.

    Returns:
        (N, kernel * kernel, H, W), non-negative, 1 in sum over the window; 0 for neighbours outside the image.

    Raises:
        ValueError: for an even kernel, a dilation under 1 or a standard deviation that is not positive.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel: expected an odd number of pixels, got {kernel}")
    if sigma_space <= 0 or tolerance <= 0:
        raise ValueError(f"sigma_space, tolerance: expected positive numbers, got {sigma_space}, {tolerance}")
    if dilation < 1:
        raise ValueError(f"dilation: expected at least 1, got {dilation}")
    radius, (height, width) = dilation * (kernel // 2), guide.shape[-2:]
    padded = F.pad(guide, (radius,) * 4)
    inside = F.pad(guide.new_ones(1, 1, height, width), (radius,) * 4)
    logits = []
    for dy, dx in _offsets(kernel, dilation):
        distance = (_shifted(padded, dy, dx, radius, height, width) - guide).square().sum(1)
        logit = -distance / (2 * tolerance**2) - (dy * dy + dx * dx) / (2 * sigma_space**2)
        logits.append(logit.masked_fill(_shifted(inside, dy, dx, radius, height, width)[:, 0] == 0, -torch.inf))
    return torch.stack(logits, 1).softmax(1)


def pad_weights(weights: Tensor, dilation: int = 1) -> Tensor:
    """Gives the weights the form that :func:`bilateral_filter` takes, with zeros where its rows have their gaps.

    Args:
        weights: (N, kernel * kernel, H, W) of :func:`bilateral_weights`.
        dilation: that they were made with.

    Returns:
        (N, kernel * kernel, H, W + 2 * dilation * (kernel // 2)), contiguous.
    """
    radius = _radius(weights, dilation)
    return F.pad(weights, (radius, radius)).contiguous()


def _side(weights: Tensor) -> int:
    """The window's."""
    return round(weights.shape[1] ** 0.5)


def _radius(weights: Tensor, dilation: int) -> int:
    """How many pixels the window reaches to each side."""
    return dilation * (_side(weights) // 2)


def _starts(kernel: int, dilation: int, row: int) -> list[int]:
    """Where each neighbour's stretch of memory begins, for padded rows of ``row`` numbers in a line."""
    return [dilation * (k // kernel * row + k % kernel) for k in range(kernel * kernel)]


@cache
def chebyshev_coefficients(passes: int, error: float) -> tuple[float, ...]:
    """Returns c with sum_k c_k T_k(x) = x^passes for x in [-1, 1], up to ``error``.

    The highest degrees are left out as long as their coefficients, all positive, sum to at most half of ``error``; the others are
    scaled to the sum 1, so that constants stay as they are. Together the two change the polynomial by at most ``error``.
    """
    walk = [0.0] * (passes + 1)
    for up in range(passes + 1):  # steps to one side out of `passes` leave the walk at |2 up - passes|
        walk[abs(2 * up - passes)] += math.comb(passes, up) / 2**passes
    tail = 0.0
    while len(walk) > 1 and tail + walk[-1] <= error / 2:
        tail += walk.pop()
    return tuple(c / (1 - tail) for c in walk)


@cache
def _factors(coefficients: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """The two numbers of each step of the recurrence, on the device: (2,) for each degree."""
    return torch.tensor([[2.0 if k else 1.0, c] for k, c in enumerate(coefficients)], dtype=dtype, device=device).unbind()


def _step(x: Tensor, source: Tensor, before: Tensor, weights: Tensor, starts: list[int], factors: Tensor) -> None:
    """One step of the recurrence, for the compiler to fuse: ``before`` becomes factor * W source - before + coefficient * x.

    All maps are padded rows in a line; ``source`` has its margins too. ``weights`` are (N, k * k, L).
    """
    length = weights.shape[-1]
    total = weights[:, 0] * source[:, :length]
    for k, start in enumerate(starts[1:], 1):
        total = total + weights[:, k] * source[:, start : start + length]
    before.copy_(factors[0] * total - before + factors[1] * x)


def _step_in_place(
    x: Tensor, products: list[tuple[Tensor, Tensor]], before: Tensor, total: Tensor, factor: float, coefficient: float
) -> None:
    """The same step out of operations that make no new map, for where nothing is compiled; ``total`` is room to work in."""
    torch.mul(*products[0], out=total)
    for weight, neighbour in products[1:]:
        total.addcmul_(weight, neighbour)
    before.neg_().add_(total, alpha=factor)
    if coefficient:
        before.add_(x, alpha=coefficient)


@cache
def _compiled_step() -> Callable[[Tensor, Tensor, Tensor, Tensor, list[int], Tensor], None]:
    log.warning("compiling the bilateral filter: the first step takes some seconds more")
    return torch.compile(_step, dynamic=False)  # shapes that it may not count on make it slower by a third


def _many_shapes() -> AbstractContextManager[Any]:
    """Lets the compiler make a step for each window and number of maps, where it would give up after eight."""
    return torch._dynamo.config.patch(recompile_limit=64)


def _apply(x: Tensor, weights: Tensor, passes: int, compiled: bool, dilation: int, error: float) -> Tensor:
    """Applies the filter to maps whose rows stand one behind the other, zeros between them: a neighbour is then a shift.

    So each of the k * k products of a step runs over one contiguous stretch of memory for each map.
    """
    radius, (height, width), row = _radius(weights, dilation), x.shape[-2:], weights.shape[-1]
    length, margin = height * row, radius * (row + 1)
    flat_weights = weights.flatten(2)
    rows = F.pad(x[:, 0], (radius, radius)).flatten(1)
    coefficients = chebyshev_coefficients(passes, error)
    # Clenshaw: b_k = c_k x + 2 W b_(k+1) - b_(k+2) from b_d = c_d x on; the sum is c_0 x + W b_1 - b_2.
    maps = x.new_zeros(2, len(x), length + 2 * margin).unbind()
    centres = [m[:, margin : margin + length] for m in maps]
    centres[0].copy_(coefficients[-1] * rows)
    starts = _starts(_side(weights), dilation, row)
    if compiled:
        factors = _factors(coefficients, x.dtype, x.device)
    else:
        products = [list(zip(flat_weights.unbind(1), (m[:, k : k + length] for k in starts), strict=True)) for m in maps]
        total = torch.empty_like(rows)
    here, there = 0, 1  # the newest map, and the one before it, which becomes the next
    with _many_shapes() if compiled else nullcontext():
        for k in reversed(range(len(coefficients) - 1)):
            if compiled:
                _compiled_step()(rows, maps[here], centres[there], flat_weights, starts, factors[k])
            else:
                _step_in_place(rows, products[here], centres[there], total, 2.0 if k else 1.0, coefficients[k])
            here, there = there, here
    return centres[here].view(-1, height, row)[..., radius : radius + width].unsqueeze(1).clone()


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, passes: int, compiled: bool, dilation: int, error: float) -> Tensor:
        ctx.save_for_backward(weights)
        ctx.how, ctx.radius = (passes, compiled, dilation, error), _radius(weights, dilation)
        return _apply(x, weights, *ctx.how)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (weights,) = ctx.saved_tensors
        middle = weights.shape[1] // 2
        # A pixel's weight for itself is 1 before normalisation: 1 / D.
        share = weights[:, middle : middle + 1, :, ctx.radius : weights.shape[-1] - ctx.radius]
        return _apply(gradients[0] * share, weights, *ctx.how) / share, None, None, None, None, None


def bilateral_filter(
    x: Tensor, weights: Tensor, passes: int = 40, compiled: bool = False, dilation: int = 1, error: float = 0.0
) -> Tensor:
    """Applies the filter `passes` times; differentiable in ``x``, with memory that does not grow with `passes`.

    Args:
        x: (N, 1, H, W).
        weights: of :func:`pad_weights`.
        passes: number of applications.
        compiled: fuse each step by `torch.compile`.
        dilation: that the weights were made with.
        error: that may be made, as a share of x, in the L2 norm that weights each pixel with its sum of weights before
            normalisation; the more, the fewer steps: 0.002 takes 20 for 40 passes. The gradient is that of what was applied.

    Returns:
        (N, 1, H, W).

    Raises:
        ValueError: if the shapes do not match.
    """
    expected = (weights.shape[0], 1, weights.shape[-2], weights.shape[-1] - 2 * _radius(weights, dilation))
    if x.shape != expected:
        raise ValueError(f"x: expected {expected} for padded weights {tuple(weights.shape)}, got {tuple(x.shape)}")
    return _Filter.apply(x, weights, passes, compiled, dilation, error)
