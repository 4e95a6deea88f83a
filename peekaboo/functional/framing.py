"""From an image of any size to the square that is optimised, and back."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Framing = Literal["stretch", "crop"]


def resize(image: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Resizes (N, C, H, W) to (N, C, *size), differentiably; nothing thinner than a new pixel is lost, in either direction."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    shrinks = any(old > new for old, new in zip(image.shape[-2:], size, strict=True))
    return F.interpolate(image, size, mode=mode, antialias=shrinks)


def frame(image: Tensor, side: int, framing: Framing = "stretch") -> Tensor:
    """Makes a (C, H, W) image a (C, side, side) one: stretched, or its centred square."""
    return resize(square(image, framing)[None], (side, side))[0].clamp(0, 1)


def square(image: Tensor, framing: Framing) -> Tensor:
    """Returns what of a (..., H, W) image is framed: all of it, or its centred square."""
    if framing == "stretch":
        return image
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side]


def unframe(alpha: Tensor, size: tuple[int, int], framing: Framing = "stretch") -> Tensor:
    """Brings a (side, side) map back to the (height, width) of its image; 0 outside a centred square."""
    out = torch.zeros(size, dtype=alpha.dtype, device=alpha.device)
    framed = square(out, framing)  # a view
    framed.copy_(resize(alpha[None, None], (framed.shape[0], framed.shape[1]))[0, 0].clamp(0, 1))
    return out
