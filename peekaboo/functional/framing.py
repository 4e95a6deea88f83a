"""From an image of any size to the square that is optimised, and back."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Framing = Literal["stretch", "crop"]


def frame(image: Tensor, side: int, framing: Framing = "stretch") -> Tensor:
    """Makes a (C, H, W) image a (C, side, side) one: stretched, or its centred square."""
    height, width = image.shape[-2:]
    if framing == "crop":
        square = min(height, width)
        top, left = (height - square) // 2, (width - square) // 2
        image = image[..., top : top + square, left : left + square]
    if image.shape[-2:] == (side, side):
        return image
    shrinks = min(image.shape[-2:]) > side
    return F.interpolate(image[None], (side, side), mode="bilinear", antialias=shrinks)[0].clamp(0, 1)


def unframe(alpha: Tensor, size: tuple[int, int], framing: Framing = "stretch") -> Tensor:
    """Brings a (side, side) map back to the (height, width) of its image; 0 outside a centred square."""
    height, width = size
    target = (min(size),) * 2 if framing == "crop" else size
    shrinks = min(target) < alpha.shape[-1]
    resized = alpha
    if tuple(alpha.shape) != tuple(target):
        resized = F.interpolate(alpha[None, None], target, mode="bilinear", antialias=shrinks)[0, 0].clamp(0, 1)
    if framing == "stretch":
        return resized
    square = min(size)
    top, left = (height - square) // 2, (width - square) // 2
    out = torch.zeros(size, dtype=alpha.dtype, device=alpha.device)
    out[top : top + square, left : left + square] = resized
    return out
