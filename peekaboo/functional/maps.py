"""Maps of relevance brought to [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


def rescale(values: Tensor) -> Tensor:
    """Brings each (..., H, W) map to [0, 1], its minimum to 0 and its maximum to 1; a constant map becomes 0."""
    low, high = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
    return torch.where(high > low, (values - low) / (high - low).clamp(min=torch.finfo(values.dtype).tiny), 0)


def stretch(values: Tensor, tail: float = 0.02) -> Tensor:
    """Brings each (..., H, W) map to [0, 1] between its quantiles ``tail`` and 1 - ``tail``; what lies outside is cut.

    A map without spread between them becomes one half everywhere: it says nothing.

    >>> stretch(torch.linspace(-1, 1, 101).view(1, 1, 101), tail=0.25)[0, 0, [0, 25, 50, 75, 100]]
    tensor([0.0000, 0.0000, 0.5000, 1.0000, 1.0000])
    """
    flat = values.flatten(-2).float()
    low, high = (flat.quantile(q, -1)[..., None, None] for q in (tail, 1 - tail))
    spread = high - low
    return torch.where(spread > 1e-8, ((values - low) / spread.clamp(min=1e-8)).clamp(0, 1), 0.5)
