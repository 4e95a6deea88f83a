"""The latent image: what the teacher's own decoder makes of learned latents."""

from __future__ import annotations

from torch import Tensor, nn

from ..functional.framing import resize
from ..functional.random import Draws
from ..teachers.base import Teacher
from ..teachers.diffusion import Diffusion
from .base import Image


class Latent(Image):
    """Learnable latents of the teacher's autoencoder, decoded: an image can look like nothing that the decoder does not know.

    The decoder is frozen, and is the teacher's own: the loss's teacher needs ``decoder: true``.

    Args:
        scale: standard deviation of the initial latents, in the denoiser's unit, where data has about 1.
    """

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.scale = scale
        self._decoder: list[Diffusion] = []  # in a list, so that it is no part of this module: the loss has it

    def reset(self, draws: Draws, size: tuple[int, int], teacher: Teacher | None) -> None:
        if not isinstance(teacher, Diffusion) or not teacher.family.autoencoder.has_decoder:
            raise ValueError(
                "image: expected a loss whose teacher keeps its decoder for Latent, got one without; "
                "`--model.loss.teacher.decoder true` keeps it"
            )
        channels, *places = teacher.latent_shape()
        factor = teacher.resolution // places[0]
        if size[0] % factor or size[1] % factor:
            raise ValueError(
                f"resolution: expected a multiple of {factor}, the pixels of a place of the teacher's latents, got {size[0]}"
            )
        self._decoder, self._size = [teacher], size
        self.latents = nn.Parameter(self.scale * draws.normal(channels, size[0] // factor, size[1] // factor))

    def forward(self) -> Tensor:
        return resize(self._decoder[0].decode(self.latents), self._size).clamp(0, 1)
