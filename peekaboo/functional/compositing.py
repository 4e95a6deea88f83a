"""Alpha compositing and the gradient scale of Peekaboo's alpha."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: The published penalty is lambda * sum(alpha) at this many pixels; other resolutions are brought to its scale.
REFERENCE_PIXELS = 256 * 256


def composite(image: Tensor, background: Tensor, alpha: Tensor) -> Tensor:
    """Blends an image over a background: ``image * alpha + background * (1 - alpha)`` (Peekaboo, eq. 1).

    Args:
        image: (N, 3, H, W) in [0, 1].
        background: broadcastable to it, (N, 3, 1, 1) for a solid colour.
        alpha: (N, 1, H, W) in [0, 1].

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    return torch.lerp(background.expand_as(image), image, alpha)


def alpha_penalty(alpha: Tensor) -> Tensor:
    """The published sum of alpha, at every resolution as it would be at 256 x 256: 65536 * mean(alpha).

    Args:
        alpha: (N, 1, H, W) in [0, 1].

    Returns:
        (N,).
    """
    return REFERENCE_PIXELS * alpha.mean((1, 2, 3))


class _UnitGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        pixels = gradient[0].numel()
        rms = gradient.float().square().mean((1, 2, 3), keepdim=True).sqrt()
        # A vanishing gradient stays zero instead of becoming amplified rounding; NaN stays NaN, for the guard to see.
        scale = torch.where(rms < torch.finfo(torch.float32).tiny, 0, REFERENCE_PIXELS / pixels / rms)
        return gradient * scale.to(gradient.dtype)


def normalise_gradient(value: Tensor) -> Tensor:
    """Returns ``value`` itself; the gradient that comes back through it is scaled to a fixed size for each sample.

    The root mean square over a sample becomes 65536 / (H * W): 1 at 256 x 256, where :func:`alpha_penalty` has the gradient
    1 everywhere too. So the balance of a loss and of the penalty depends neither on the loss's scale nor on the resolution.

    Args:
        value: (N, C, H, W).
    """
    return _UnitGradient.apply(value)
