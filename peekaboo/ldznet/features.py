"""What a frozen teacher knows of a picture: the feature maps inside its denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor

from ..teachers.diffusion import Diffusion
from ..teachers.families.stable_diffusion import UNetFamily
from ..teachers.text import Text
from .places import Place, at, places_of


class _Enough(Exception):  # noqa: N818  # no error: what was wanted is there
    """Ends a forward pass whose rest nobody needs."""


def check_source(teacher: Diffusion) -> None:
    """Makes sure of a teacher around a U-Net whose features can be read.

    Raises:
        ValueError: for one of another kind.
    """
    if not isinstance(teacher.family, UNetFamily):
        raise ValueError(
            f"teacher: expected one around a U-Net, whose network a ZNet starts from, got {teacher.name!r}, "
            f"a {type(teacher.family).__name__}"
        )


class FeatureReader:
    """Reads feature maps of a teacher's U-Net by hooks behind its spatial transformers.

    Args:
        teacher: frozen, around a U-Net.
        places: of the features, in the order of the forward pass.

    Raises:
        ValueError: see :func:`check_source`.
    """

    def __init__(self, teacher: Diffusion, places: Sequence[Place]) -> None:
        check_source(teacher)
        self.teacher, self.places = teacher, list(places)
        known = {place.name for place in places_of(teacher.denoiser)}
        if missing := [place.name for place in self.places if place.name not in known]:
            raise ValueError(f"teacher: expected the U-Net of the training, got one without {', '.join(missing)}")

    @torch.no_grad()
    def __call__(self, z_t: Tensor, t: Tensor, text: Text) -> list[Tensor]:
        """Asks the denoiser once, without guidance, and stops behind the last place (LD-ZNet, section 3.2).

        Args:
            z_t: (N, C, h, w).
            t: (N,) int64.
            text: of N prompts.

        Returns:
            (N, c, h / stride, w / stride) float32 for each place.
        """
        found: dict[int, Tensor] = {}

        def keep(number: int) -> Any:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                found[number] = (output[0] if isinstance(output, tuple) else output.sample).float()
                if number == self.places[-1].number:
                    raise _Enough

            return hook

        with self.teacher.open(), ExitStack() as stack:
            for place in self.places:
                handle = at(self.teacher.denoiser, place).register_forward_hook(keep(place.number))
                stack.callback(handle.remove)
            with suppress(_Enough):
                self.teacher.predict_noise(z_t, t, text)
        return [found[place.number] for place in self.places]
