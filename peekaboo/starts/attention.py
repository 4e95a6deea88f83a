"""Begin where the teacher looks when it reads the prompt."""

from __future__ import annotations

from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing
from ..functional.random import Draws
from ..teachers.attention import Words
from ..teachers.base import Teacher
from ..teachers.diffusion import Diffusion
from ..teachers.relevance import attention_relevance
from .base import Start, need


class Attention(Start):
    """The attention of image to text, averaged over heads, layers, words and noise levels (DAAM, Tang et al., arXiv 2210.04885).

    Of a U-Net all cross-attention; of a transformer that of one block in the middle. A compiled teacher looks uncompiled.

    Args:
        timesteps: of 1000, at which the image is noised; each costs one pass of the denoiser, a half to a third of an iteration.
        words: whose attention counts; see :func:`peekaboo.teachers.attention.word_tokens`. The end token has read them all.
        finest: side of the finest maps that are used, as a fraction of the latent's; 1 for all.
        mirror: average with the map of the mirrored image.
        scale, noise: see :class:`Start`.
    """

    def __init__(
        self,
        timesteps: list[int] | None = None,
        words: Words = "end",
        finest: float = 1.0,
        mirror: bool = False,
        scale: float = 2.0,
        noise: float = 0.1,
    ) -> None:
        super().__init__(scale, noise)
        self.timesteps = [100, 200, 300, 400, 500] if timesteps is None else timesteps
        if not self.timesteps or min(self.timesteps) < 0 or max(self.timesteps) > 999:
            raise ValueError(f"start.timesteps: expected some in 0..999, got {self.timesteps}")
        self.words, self.finest, self.mirror = words, finest, mirror
        self.cost = len(self.timesteps) * (2 if mirror else 1) / 3

    def maps(self, images: Tensor, pairs: list[Sample], framing: Framing, draws: Draws, teacher: Teacher | None) -> Tensor:
        teacher = need(teacher, self)
        if not isinstance(teacher, Diffusion):
            raise ValueError(f"start: expected a teacher whose attention can be read, got {type(teacher).__name__}")
        prompts = [pair.prompt for pair in pairs]
        chosen = (self.timesteps, self.words, self.finest)
        found = attention_relevance(teacher, images, prompts, draws, *chosen)
        if self.mirror:
            found = found + attention_relevance(teacher, images.flip(-1), prompts, draws, *chosen).flip(-1)
        return found[:, None]
