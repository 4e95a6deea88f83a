"""Begin where the prompt changes the predicted noise."""

from __future__ import annotations

from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing
from ..functional.random import Draws
from ..teachers.base import Teacher
from ..teachers.relevance import noise_difference
from .base import Start, need


class NoiseDifference(Start):
    """|eps_text - eps_uncond| of each pixel of the latent, averaged over noise levels and draws (LD-ZNet, figure 1).

    It looks at what the teacher says, not inside it: any teacher will do, compiled or not.

    Args:
        timesteps: of 1000, at which the image is noised.
        draws: of the noise at each of them; each costs two passes of the denoiser.
        scale, noise: see :class:`Start`.
    """

    def __init__(self, timesteps: list[int] | None = None, draws: int = 1, scale: float = 2.0, noise: float = 0.1) -> None:
        super().__init__(scale, noise)
        self.timesteps = [200, 300, 400, 500, 600] if timesteps is None else timesteps
        if not self.timesteps or min(self.timesteps) < 0 or max(self.timesteps) > 999 or draws < 1:
            raise ValueError(
                f"start.timesteps, draws: expected timesteps in 0..999 and at least one draw, got {self.timesteps}, {draws}"
            )
        self.draws = draws
        self.cost = len(self.timesteps) * draws * 2 / 3

    def maps(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        prompts = [pair.prompt for pair in pairs]
        return noise_difference(need(teacher, self), images, prompts, draws, self.timesteps, self.draws)[:, None]
