"""The contract of every alpha parametrization, and the one place where a field becomes an opacity."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from ..identity import Configured


class Alpha(Configured, nn.Module):
    """N opacity maps that are optimised side by side, one for each (image, prompt) pair.

    To add a parametrization, subclass this, implement :meth:`reset` and :meth:`logits`, and name the class in YAML
    (docs/extending.md). Constructor arguments are the configuration; shapes arrive with :meth:`reset`.

    Attributes:
        coupled: whether a map depends on the others beside it, so that pairs must not be shared out over batches.
        finished: whether the opacities are asked for as a result, and not for a step; see :func:`finished`.
    """

    coupled = False
    finished = False

    @abstractmethod
    def reset(self, image: Tensor, seeds: list[int]) -> None:
        """Starts N new maps, with fresh parameters.

        Args:
            image: (N, 3, H, W) in [0, 1]; the maps get its height, width, device and number.
            seeds: of each map's random initial values. A map must not depend on its neighbours: draw with
                :class:`peekaboo.functional.random.Draws`, which has a generator for each.
        """

    def begin_at(self, logits: Tensor) -> None:
        """Takes up logits, (N, 1, H, W) of the shape that :meth:`reset` was given, in the place of random initial values.

        Called behind :meth:`reset`, where the segmenter has a ``start``. A parametrization that can is free to take them up
        as nearly as it is able to.

        Raises:
            ValueError: in one line, for an alpha that cannot.
        """
        raise ValueError(
            f"start: expected an alpha that can begin at a map (that implements `begin_at`), got {type(self).__name__}; "
            "`--model.start null` begins at random"
        )

    @abstractmethod
    def logits(self) -> Tensor:
        """Returns (N, 1, H, W), unbounded, differentiable in the parameters."""

    def forward(self) -> Tensor:
        """Returns the opacities (N, 1, H, W) in [0, 1]."""
        return self.logits().sigmoid()


@contextmanager
def finished(alpha: Alpha) -> Iterator[None]:
    """Asks an alpha, and all alphas inside it, for its result: for what is done once, behind the optimisation."""
    parts = [part for part in alpha.modules() if isinstance(part, Alpha)]
    before = [part.finished for part in parts]
    try:
        for part in parts:
            part.finished = True
        yield
    finally:
        for part, was in zip(parts, before, strict=True):
            part.finished = was
