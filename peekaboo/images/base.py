"""The contract of every parametrization of a learned image."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ..functional.random import Draws
from ..identity import Configured
from ..teachers.base import Teacher


class Image(Configured, nn.Module):
    """N images that are learned side by side, each beside an alpha of its own or with one inside it.

    To add a parametrization, subclass this, implement :meth:`reset` and :meth:`forward`, and name the class in YAML
    (docs/generation.md). Constructor arguments are the configuration; shapes arrive with :meth:`reset`.
    """

    @abstractmethod
    def reset(self, draws: Draws, size: tuple[int, int], teacher: Teacher | None) -> None:
        """Starts N new images, with fresh parameters.

        Args:
            draws: of the N random initial values, the only source of randomness, so that an image does not depend on its
                neighbours; its device is the images'.
            size: their height and width in pixels.
            teacher: of the loss; None where it has none.

        Raises:
            ValueError: in one line, for a size or a teacher that the parametrization cannot do with.
        """

    @abstractmethod
    def forward(self) -> Tensor:
        """Returns the images (N, 3, H, W) in [0, 1], differentiable in the parameters.

        It is called in the precision of the frozen networks; what is learned stays in float32.
        """

    def opacity_logits(self) -> Tensor:
        """Returns the logits (N, 1, H, W) of an opacity that is part of the image, for parametrizations that have one.

        Raises:
            ValueError: in one line, for one that has none.
        """
        raise ValueError(
            f"alpha: expected one beside an image that has no opacity of its own, got null beside {type(self).__name__}"
        )
