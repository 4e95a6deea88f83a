"""The bilateral filter around any field: the variants "bilateral" of the paper."""

from __future__ import annotations

from torch import Tensor

from ..functional.bilateral import bilateral_filter, bilateral_weights
from ..guides.base import Guide
from .base import Alpha


class Bilateral(Alpha):
    """Filters a field's logits so that they respect the edges of a guide (Peekaboo, section 3.4).

    The weights are computed once from the guide, and applied at every step: the filter is part of the parametrization, not
    a clean-up after it.

    Args:
        field: any other alpha.
        guide: what the filter respects: the image, its depth, or a guide of yours.
        passes: number of applications.
        kernel: odd side of the window in pixels.
        dilation: pixels from one neighbour in the window to the next: a wider window at the same cost.
        sigma_space: standard deviation in pixels of the gaussian in space.
        tolerance: standard deviation of the gaussian in guide distance.
        error: that the filter may make, as a share of the logits, in exchange for speed: see
            :func:`peekaboo.functional.bilateral.bilateral_filter`. 0 for all passes as they are written.
        compile: fuse the filter's steps by `torch.compile`: some seconds to start, then twice as fast on two CPU cores.
    """

    weights: Tensor

    def __init__(
        self,
        field: Alpha,
        guide: Guide,
        passes: int = 40,
        kernel: int = 3,
        sigma_space: float = 5.0,
        tolerance: float = 0.08,
        dilation: int = 1,
        error: float = 0.002,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if passes < 0:
            raise ValueError(f"passes: expected 0 or more, got {passes}")
        if not 0 <= error < 1:
            raise ValueError(f"error: expected a number in [0, 1), got {error}")
        self.field, self.guide = field, guide
        self.passes, self.kernel, self.sigma_space, self.tolerance = passes, kernel, sigma_space, tolerance
        self.dilation, self.error, self.compile_filter = dilation, error, compile

    def reset(self, image: Tensor, seeds: list[int]) -> None:
        self.field.reset(image, seeds)
        weights = bilateral_weights(self.guide(image).float(), self.kernel, self.sigma_space, self.tolerance, self.dilation)
        self.register_buffer("weights", weights, persistent=False)

    def logits(self) -> Tensor:
        return bilateral_filter(self.field.logits(), self.weights, self.passes, self.compile_filter, self.dilation, self.error)
