"""A tokenizer and its text encoder, which is on the device only while it reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .base import warn_of_cut

#: (start, end) of a token's characters in its prompt; None for a token that stands for none of them.
Span = tuple[int, int] | None


@dataclass(frozen=True)
class TokenMap:
    """What the tokens of a denoiser's text stand for.

    Attributes:
        spans: of each place's token; places behind them are padding.
        ends: places that stand for the whole prompt: its end token, and CLIP's padding, which has read the prompt, too.
    """

    spans: list[Span]
    ends: list[int]

    def followed_by(self, other: TokenMap, at: int) -> TokenMap:
        """Another text behind this one, from a place on."""
        spans = self.spans + [None] * (at - len(self.spans)) + other.spans
        return TokenMap(spans, self.ends + [at + end for end in other.ends])

    def moved(self, by: int) -> TokenMap:
        """With spans that start ``by`` characters later."""
        return TokenMap([None if span is None else (span[0] + by, span[1] + by) for span in self.spans], self.ends)

    def from_place(self, start: int) -> TokenMap:
        """Without the places before ``start``."""
        return TokenMap(self.spans[start:], [end - start for end in self.ends if end >= start])


class TextEncoder:
    """Reads one text at a time. Deliberately no module: it is neither moved, nor saved, nor counted with the teacher.

    Args:
        network: of transformers.
        tokenizer: of transformers.
        length: tokens that it is given at most, the special ones included.
        padded: whether it is given ``length`` tokens of every text.
        masked: whether it is told which of them are padding.
        stays: on the CPU, instead of going to the teacher's device to read.
    """

    def __init__(
        self, network: nn.Module, tokenizer: Any, length: int, padded: bool = True, masked: bool = False, stays: bool = False
    ) -> None:
        self.network, self.tokenizer, self.length = network.requires_grad_(False).eval(), tokenizer, length
        self.padded, self.masked, self.stays = padded, masked, stays
        tokenizer.padding_side = "right"  # Gemma's and Qwen's own is for writing on

    def __call__(self, text: str, device: torch.device, length: int | None = None, warn: bool = True) -> tuple[Any, Tensor]:
        """Returns the network's output, with all hidden states, and the mask (1, L) bool of the tokens that are no padding.

        Args:
            text: to read.
            device: where to, unless the encoder stays on the CPU; the result is moved by the caller.
            length: another one than the encoder's.
            warn: of what is cut off.
        """
        length = length or self.length
        if warn:
            warn_of_cut(text, self.tokenizer, length)
        padding = "max_length" if self.padded else False
        tokens = self.tokenizer([text], max_length=length, padding=padding, truncation=True, return_tensors="pt")
        with self._on(torch.device("cpu") if self.stays else device) as where, torch.no_grad():
            inputs = {"input_ids": tokens.input_ids.to(where)}
            if self.masked:
                inputs["attention_mask"] = tokens.attention_mask.to(where)
            with torch.autocast(where.type, enabled=False):  # what is kept serves every precision
                output = self.network(**inputs, output_hidden_states=True)
        return output, tokens.attention_mask.bool().to(where)

    @contextmanager
    def _on(self, device: torch.device) -> Iterator[torch.device]:
        """Lends the device: weights that are needed once a prompt are not to take memory from what is needed each step."""
        if device.type == "cpu":
            yield device
            return
        try:
            nn.Module.to(self.network, device)
            yield device
        finally:
            nn.Module.to(self.network, "cpu")

    def tokens(self, text: str, prompt: str, length: int | None = None) -> TokenMap:
        """Says which characters of the prompt each token stands for.

        Args:
            text: what is read, which has the prompt in it.
            prompt: whose characters count.
            length: see :meth:`__call__`.
        """
        length, start = length or self.length, text.rfind(prompt)
        found = self.tokenizer(text, max_length=length, truncation=True, return_offsets_mapping=True)
        inside = [(max(first - start, 0), min(last - start, len(prompt))) for first, last in found.offset_mapping]
        spans: list[Span] = [span if span[0] < span[1] else None for span in inside]
        end = len(spans) - 1
        return TokenMap(spans, list(range(end, length)) if self.padded and not self.masked else [end])
