"""The joint bilateral filter as a fixed linear map: weights from a guide, applied many times, with its adjoint.

For pixel i and its neighbours j in a K x K window (Peekaboo, section 3.4)::

    w_ij = exp(-|i - j|^2 / (2 sigma_space^2)) * exp(-|g_i - g_j|^2 / (2 tolerance^2)),   y_i = sum_j w_ij x_j / sum_j w_ij

where j runs over the neighbours inside the image: all pixels of the window, or every `dilation`-th of one that much wider, which
costs no more (the "a trous" form of Dammertz et al. 2010). The map y = W x does not depend on x, so `passes` of it need no
intermediate maps for the backward pass: the gradient is (W^T)^passes times the incoming one. The weights before normalisation are
symmetric, w_ij = w_ji, so with their sums D on a diagonal W^T = D W D^-1: the adjoint is the same filter between two scalings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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


def _starts(kernel: int, dilation: int, row: int) -> list[int]:
    """Where each neighbour's stretch of memory begins, for padded rows of ``row`` numbers in a line."""
    return [dilation * (k // kernel * row + k % kernel) for k in range(kernel * kernel)]


def _one_pass(source: Tensor, weights: Tensor, starts: list[int], centre: Tensor) -> None:
    """One pass, for the compiler to fuse: ``source``, padded rows in a line, to ``centre``, with ``weights`` (N, k * k, L)."""
    length = weights.shape[-1]
    total = weights[:, 0] * source[:, :length]
    for k, start in enumerate(starts[1:], 1):
        total = total + weights[:, k] * source[:, start : start + length]
    centre.copy_(total)


@cache
def _compiled_pass() -> Callable[[Tensor, Tensor, list[int], Tensor], None]:
    log.warning("compiling the bilateral filter: the first step takes some seconds more")
    return torch.compile(_one_pass)


def _apply(x: Tensor, weights: Tensor, passes: int, compiled: bool, dilation: int) -> Tensor:
    """Applies the filter to maps whose rows stand one behind the other, zeros between them: a neighbour is then a shift.

    So each of the k * k products of a pass runs over one contiguous stretch of memory for each map.
    """
    kernel = round(weights.shape[1] ** 0.5)
    radius, (height, width) = dilation * (kernel // 2), x.shape[-2:]
    row = width + 2 * radius
    length, margin = height * row, radius * (row + 1)
    flat_weights = F.pad(weights, (radius, radius)).flatten(2)
    source = x.new_zeros(len(x), length + 2 * margin)
    centre = source[:, margin : margin + length]
    centre.view(-1, height, row)[..., radius : radius + width] = x[:, 0]
    starts = _starts(kernel, dilation, row)
    if compiled:
        step, out = _compiled_pass(), torch.zeros_like(source)
        next_centre = out[:, margin : margin + length]
        for _ in range(passes):
            step(source, flat_weights, starts, next_centre)
            source, centre, out, next_centre = out, next_centre, source, centre
    else:
        views = [(flat_weights[:, k], source[:, start : start + length]) for k, start in enumerate(starts)]
        total = torch.empty_like(centre)
        for _ in range(passes):
            torch.mul(*views[0], out=total)
            for weight, view in views[1:]:
                total.addcmul_(weight, view)
            centre.copy_(total)
    return centre.view(-1, height, row)[..., radius : radius + width].unsqueeze(1).clone()


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, passes: int, compiled: bool, dilation: int) -> Tensor:
        ctx.save_for_backward(weights)
        ctx.how = (passes, compiled, dilation)
        return _apply(x, weights, *ctx.how)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (weights,) = ctx.saved_tensors
        middle = weights.shape[1] // 2
        share = weights[:, middle : middle + 1]  # a pixel's weight for itself is 1 before normalisation: 1 / D
        return _apply(gradients[0] * share, weights, *ctx.how) / share, None, None, None, None


def bilateral_filter(x: Tensor, weights: Tensor, passes: int = 40, compiled: bool = False, dilation: int = 1) -> Tensor:
    """Applies the filter `passes` times; differentiable in ``x``, with memory that does not grow with `passes`.

    Args:
        x: (N, 1, H, W).
        weights: (N, kernel * kernel, H, W) of :func:`bilateral_weights`.
        passes: number of applications.
        compiled: fuse each pass by `torch.compile`.
        dilation: that the weights were made with.

    Returns:
        (N, 1, H, W).

    Raises:
        ValueError: if the shapes do not match.
    """
    if x.shape[1] != 1 or x.shape[0] != weights.shape[0] or x.shape[-2:] != weights.shape[-2:]:
        raise ValueError(f"x: expected (N, 1, H, W) for weights {tuple(weights.shape)}, got {tuple(x.shape)}")
    return _Filter.apply(x, weights, passes, compiled, dilation)
