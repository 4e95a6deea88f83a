"""The bilateral filter around any field: the variants "bilateral" of the paper."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..functional.bilateral import bilateral_filter, bilateral_weights, pad_weights
from ..guides.base import Guide
from .base import Alpha

When = Literal["every_step", "end"]


class Bilateral(Alpha):
    """Filters a field's logits so that they respect the edges of a guide (Peekaboo, section 3.4).

    The weights are computed once from the guide, and applied at every step: the filter is part of the parametrization, not
    a clean-up after it. ``at`` makes it one, to compare.

    Args:
        field: any other alpha.
        guide: what the filter respects: the image, its depth, or a guide of yours.
        passes: number of applications.
        kernel: odd side of the window in pixels.
        dilation: pixels from one neighbour in the window to the next: a wider window at the same cost.
        sigma_space: standard deviation in pixels of the gaussian in space.
        tolerance: standard deviation of the gaussian in guide distance.
        gap_passes: number of applications, after the others, of a 3 x 3 window without gaps: they take away the pattern that a
            `dilation` leaves. Its sigma and tolerance are the same.
        error: that the filter may make, as a share of the logits, in exchange for speed: see
            :func:`peekaboo.functional.bilateral.bilateral_filter`. 0 for all passes as they are written.
        compile: fuse the filter's steps by `torch.compile`: some seconds to start, then twice as fast on two CPU cores. None: on
            CUDA, where a step would be dozens of small kernels, if its compiler Triton is there; nowhere else.
        at: ``every_step``, as published; or ``end``: the field is optimised without the filter, and its result filtered once.
    """

    weights: Tensor
    gap_weights: Tensor

    def __init__(
        self,
        field: Alpha,
        guide: Guide,
        passes: int = 40,
        kernel: int = 3,
        sigma_space: float = 5.0,
        tolerance: float = 0.08,
        dilation: int = 1,
        gap_passes: int = 0,
        error: float = 0.002,
        compile: bool | None = None,
        at: When = "every_step",
    ) -> None:
        super().__init__()
        if passes < 0 or gap_passes < 0:
            raise ValueError(f"passes, gap_passes: expected 0 or more, got {passes}, {gap_passes}")
        if not 0 <= error < 1:
            raise ValueError(f"error: expected a number in [0, 1), got {error}")
        if at not in get_args(When):
            raise ValueError(f"at: expected one of {', '.join(get_args(When))}, got {at!r}")
        self.at = at
        self.field, self.guide = field, guide.requires_grad_(False)
        self.passes, self.kernel, self.sigma_space, self.tolerance = passes, kernel, sigma_space, tolerance
        self.dilation, self.gap_passes, self.error, self.compile_filter = dilation, gap_passes, error, compile

    def reset(self, image: Tensor, seeds: list[int]) -> None:
        self.field.reset(image, seeds)
        with torch.no_grad():
            guide = self.guide(image).float()
        weights = bilateral_weights(guide, self.kernel, self.sigma_space, self.tolerance, self.dilation)
        self.register_buffer("weights", pad_weights(weights, self.dilation), persistent=False)
        if self.gap_passes:
            gap_weights = bilateral_weights(guide, 3, self.sigma_space, self.tolerance)
            self.register_buffer("gap_weights", pad_weights(gap_weights), persistent=False)

    def begin_at(self, logits: Tensor) -> None:
        self.field.begin_at(logits)

    def logits(self) -> Tensor:
        x = self.field.logits()
        if self.at == "end" and not self.finished:
            return x
        options: dict[str, Any] = {"compiled": self._compiled(x.device), "error": self.error}
        x = bilateral_filter(x, self.weights, self.passes, dilation=self.dilation, **options)
        return bilateral_filter(x, self.gap_weights, self.gap_passes, **options) if self.gap_passes else x

    def _compiled(self, device: torch.device) -> bool:
        if self.compile_filter is None:
            return device.type == "cuda" and find_spec("triton") is not None
        return self.compile_filter
