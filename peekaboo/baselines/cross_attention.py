"""Where the teacher's denoiser looks when it reads the prompt's words: DAAM, and its like for transformers."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.framing import Framing, frame, unframe
from ..functional.maps import rescale
from ..functional.random import Draws
from ..results.result import Threshold
from ..teachers.attention import Words
from ..teachers.diffusion import Diffusion
from ..teachers.relevance import attention_relevance
from .base import Baseline, size_of


class CrossAttention(Baseline):
    """The attention of image to text, averaged over heads, layers, words and timesteps.

    Of a U-Net all cross-attention (DAAM, Tang et al., arXiv 2210.04885); of a transformer that of one block in the middle.

    Args:
        teacher: the frozen diffusion model.
        timesteps: of 1000, at which the image is noised.
        words: whose attention counts: ``content`` leaves function words out, ``last`` takes the last content word, ``all``;
            ``end``: the end token and the padding behind it, which in a causal text tower have read the whole prompt.
        finest: side of the finest attention maps that are used, as a fraction of the latent's; 1 for all.
        blocks: numbers of the attention layers; None for all of a U-Net, and the middle one of a transformer.
        framing: see :class:`Segmenter`.
        threshold, seed: see :class:`Baseline`.
    """

    def __init__(
        self,
        teacher: Diffusion,
        timesteps: list[int] | None = None,
        words: Words = "content",
        finest: float = 1.0,
        blocks: list[int] | None = None,
        framing: Framing = "stretch",
        threshold: Threshold = "otsu",
        seed: int = 0,
    ) -> None:
        super().__init__(threshold, seed)
        if words not in get_args(Words):
            raise ValueError(f"words: expected one of {', '.join(get_args(Words))}, got {words!r}")
        self.timesteps = [100, 200, 300, 400, 500] if timesteps is None else timesteps
        if not self.timesteps or min(self.timesteps) < 0 or max(self.timesteps) > 999:
            raise ValueError(f"timesteps: expected some in 0..999, got {self.timesteps}")
        self.teacher, self.words, self.finest, self.blocks, self.framing = teacher, words, finest, blocks, framing
        self.iterations = len(self.timesteps)

    @property
    def teacher_name(self) -> str:
        return self.teacher.name

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        framed = [frame(sample.image.to(self.device), self.teacher.resolution, self.framing) for sample in samples]
        draws = Draws([self.sample_seed(sample.id) for sample in samples], device=self.device, purpose="relevance")
        asked = (torch.stack(framed), [sample.prompt for sample in samples], draws, self.timesteps)
        maps = attention_relevance(self.teacher, *asked, self.words, self.finest, self.blocks, self.report)
        return [unframe(own, size_of(s), self.framing) for own, s in zip(rescale(maps), samples, strict=True)]
