"""Alpha compositing and the gradient scale of Peekaboo's alpha."""

from __future__ import annotations

from collections.abc import Callable

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


def with_unit_gradient(value: Tensor, judge: Callable[[Tensor], Tensor], ranks: int = 1) -> Tensor:
    """Returns ``judge(value)``; of its gradient on ``value`` only the direction is kept, scaled to a fixed size for each sample.

    The root mean square over a sample becomes 65536 / (H * W): 1 at 256 x 256, where :func:`alpha_penalty` has the gradient
    1 everywhere too. So the balance of a loss and of the penalty depends neither on the loss's scale nor on the resolution.
    What multiplies the loss afterwards (a weight, accumulation, the loss scale of half precision) multiplies the gradient.

    Args:
        value: (N, C, H, W).
        judge: maps it to the losses (N,), each of its own sample alone.
        ranks: processes that judge the same values by other draws; their mean gradient is what is scaled.
    """
    if not (value.requires_grad and torch.is_grad_enabled()):
        return judge(value)
    seen = value.view_as(value)  # a hook on `value` itself would also see what comes back from elsewhere
    losses = judge(seen)
    if losses.requires_grad:
        behind: list[Tensor] = []  # what multiplied the losses; known before their gradient comes back to `seen`
        losses.register_hook(behind.append)
        seen.register_hook(lambda own: _unit(own, ranks) * behind.pop().abs().to(own.dtype).view(-1, 1, 1, 1))
    return losses


def _unit(gradient: Tensor, ranks: int) -> Tensor:
    if ranks > 1:
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)  # their sum: only its direction is kept
    rms = gradient.float().square().mean((1, 2, 3), keepdim=True).sqrt()
    # A vanishing gradient stays zero instead of becoming amplified rounding; NaN stays NaN, for the guard to see.
    scale = torch.where(rms < torch.finfo(torch.float32).tiny, 0, REFERENCE_PIXELS / gradient.shape[-2:].numel() / rms)
    return gradient * scale.to(gradient.dtype)
