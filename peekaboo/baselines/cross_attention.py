"""Where the teacher's U-Net looks when it reads the prompt's words: DAAM."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.base import Sample
from ..functional.diffusion import add_noise
from ..functional.framing import Framing, frame, unframe
from ..functional.random import Draws
from ..results.result import Threshold
from ..teachers.diffusion import Diffusion
from .base import Baseline, rescale, size_of

Words = Literal["content", "last", "all", "end"]
#: Words that name nothing.
ARTICLES, RELATIONS = (
    ("a", "an", "the", "and", "or", "is", "are"),
    ("of", "on", "in", "at", "to", "by", "with", "next", "behind", "front"),
)
FUNCTION_WORDS = frozenset({*ARTICLES, *RELATIONS, "left", "right", "above", "below", "under", "over"})


class Recorder:
    """An attention processor that keeps how much each place attends to each token, averaged over heads."""

    def __init__(self) -> None:
        self.maps: list[Tensor] = []

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        """Attends as diffusers' own processor does; ``attn`` is its ``Attention``, the states are (N, L, D)."""
        shape, residual = hidden_states.shape, hidden_states
        if hidden_states.ndim == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        query, key, value = (
            attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        weights = attn.get_attention_scores(query, key)
        self.maps.append(weights.float().unflatten(0, (len(hidden_states), -1)).mean(1))
        out = attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(weights @ value)))
        if len(shape) == 4:
            out = out.transpose(1, 2).reshape(shape)
        return (out + residual if attn.residual_connection else out) / attn.rescale_output_factor


@contextmanager
def recording(unet: torch.nn.Module) -> Iterator[Recorder]:
    """Records the cross-attention of a diffusers U-Net, and puts its own processors back afterwards."""
    recorder = Recorder()
    layers = [m for name, m in unet.named_modules() if name.endswith("attn2") and hasattr(m, "set_processor")]
    before = [layer.processor for layer in layers]
    try:
        for layer in layers:
            layer.set_processor(recorder)
        yield recorder
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.set_processor(processor)


class CrossAttention(Baseline):
    """The U-Net's cross-attention to the prompt's words, averaged over heads, layers, words and timesteps (DAAM, Tang et al.,
    arXiv 2210.04885).

    Args:
        teacher: the frozen diffusion model.
        timesteps: of 1000, at which the image is noised.
        words: whose attention counts: ``content`` leaves function words out, ``last`` takes the last content word, ``all``;
            ``end``: the end token and the padding behind it, which in a causal text tower have read the whole prompt.
        finest: side of the finest attention maps that are used, as a fraction of the latent's; 1 for all.
        framing: see :class:`Segmenter`.
        threshold, seed: see :class:`Baseline`.
    """

    def __init__(
        self,
        teacher: Diffusion,
        timesteps: list[int] | None = None,
        words: Words = "content",
        finest: float = 1.0,
        framing: Framing = "stretch",
        threshold: Threshold = "otsu",
        seed: int = 0,
    ) -> None:
        super().__init__(threshold, seed)
        if words not in get_args(Words):
            raise ValueError(f"words: expected one of {', '.join(get_args(Words))}, got {words!r}")
        if teacher.compiled:
            raise ValueError("teacher.compile: expected false, since attention is read inside the U-Net, got a compiled teacher")
        self.timesteps = [100, 200, 300, 400, 500] if timesteps is None else timesteps
        if not self.timesteps or min(self.timesteps) < 0 or max(self.timesteps) > 999:
            raise ValueError(f"timesteps: expected some in 0..999, got {self.timesteps}")
        self.teacher, self.words, self.finest, self.framing = teacher, words, finest, framing
        self.iterations = len(self.timesteps)

    @property
    def teacher_name(self) -> str:
        return self.teacher.name

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        framed = [frame(sample.image.to(self.device), self.teacher.resolution, self.framing) for sample in samples]
        z = self.teacher.encode(torch.stack(framed))
        text = self.teacher.embed([sample.prompt for sample in samples])
        total = torch.zeros(len(z), *z.shape[2:], device=z.device)
        for number, step in enumerate(self.timesteps):
            draws = Draws([self.sample_seed(sample.id) for sample in samples], number, len(self.timesteps), device=z.device)
            t = torch.full((len(z),), step, dtype=torch.int64, device=z.device)
            with recording(self.teacher.unet) as recorder:
                self.teacher.predict_noise(add_noise(z, draws.normal(*z.shape[1:]), self.teacher.alpha_bar(t)), t, text)
            total += self._combine(recorder.maps, [sample.prompt for sample in samples], z)
            if self.report is not None:
                self.report(number + 1)
        maps = rescale(total)
        return [unframe(own, size_of(s), self.framing) for own, s in zip(maps, samples, strict=True)]

    def _combine(self, maps: list[Tensor], prompts: list[str], z: Tensor) -> Tensor:
        """Averages layers and words, (N, h, w) from maps (N, places, tokens)."""
        tokens = [self.word_tokens(prompt) for prompt in prompts]
        height, width = z.shape[-2:]
        total, used = torch.zeros(len(z), height, width, device=z.device), 0
        for attention in maps:
            scale = (height * width / attention.shape[1]) ** 0.5
            rows, columns = round(height / scale), round(width / scale)
            if rows > self.finest * height:
                continue
            own = torch.stack([one[:, chosen].mean(1) for one, chosen in zip(attention, tokens, strict=True)])
            total += F.interpolate(own.view(-1, 1, rows, columns), (height, width), mode="bilinear")[:, 0]
            used += 1
        if not used:
            raise ValueError(
                f"finest: expected to leave some of the U-Net's attention maps, got {self.finest}, which leaves none"
            )
        return total

    def word_tokens(self, prompt: str) -> list[int]:
        """Returns the places of the tokens that count; of all words where none does."""
        limit = int(self.teacher.text_encoder.config.max_position_embeddings) - 1
        spans = self.teacher.tokenizer(prompt, return_offsets_mapping=True).offset_mapping  # with the start and end tokens
        if self.words == "end":
            return list(range(min(len(spans) - 1, limit), limit + 1))
        words = list(re.finditer(r"[^\W_]+", prompt))
        content = [word for word in words if word[0].lower() not in FUNCTION_WORDS]
        wanted = {"all": words, "content": content, "last": content[-1:]}[self.words] or words
        places = [
            place
            for place, (start, end) in enumerate(spans[:-1])
            if 0 < place < limit and any(start < word.end() and end > word.start() for word in wanted)
        ]
        return places or [1]
