"""How features of the teacher come into a segmentation network: by attention, as published, or by concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

Fusion = Literal["attention", "concatenation"]


class AttentionPool(nn.Module):
    """Brings a feature map to tokens with positions, in the range of the network that reads them (LD-ZNet, section 3.2.2).

    As CLIP's attention pool (Radford et al. 2021), but all tokens are kept, not only that of the mean.

    Args:
        channels: of the features.
        side: of the feature map that the positions are learned for; others are resized to (bicubic).
        heads: of the attention.
    """

    def __init__(self, channels: int, side: int, heads: int) -> None:
        super().__init__()
        self.side, self.heads = side, heads
        self.positions = nn.Parameter(torch.randn(channels, side * side + 1) / channels**0.5)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Maps (N, C, h, w) to (N, h w + 1, C); the first token is that of the mean."""
        tokens = features.flatten(2)
        tokens = torch.cat([tokens.mean(2, keepdim=True), tokens], 2) + self.positions_for(features.shape[-2], features.shape[-1])
        query, key, value = self.qkv(tokens).unflatten(1, (3, self.heads, -1)).transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)  # (N, heads, tokens, C / heads)
        found: Tensor = self.out(mixed.transpose(-1, -2).flatten(1, 2)).transpose(1, 2)
        return found

    def positions_for(self, height: int, width: int) -> Tensor:
        """The positions (C, h w + 1) of another size; that of the mean stays."""
        if (height, width) == (self.side, self.side):
            return self.positions
        places = self.positions[:, 1:].unflatten(1, (self.side, self.side))[None]
        resized = F.interpolate(places, (height, width), mode="bicubic", align_corners=False)[0].flatten(1)
        return torch.cat([self.positions[:, :1], resized], 1)


class CrossAttentionFusion(nn.Module):
    """A third attention in the blocks of one spatial transformer, between attention to the text and feed-forward.

    With h behind the attention to the text and f the pooled features, the block goes on from h + attention(norm(h), f). The
    block itself is diffusers': a hook in front of its last norm adds the attention to what the norm reads, and a hook behind its
    feed-forward adds it to what the block gives out.

    Args:
        transformer: diffusers' `Transformer2DModel`, whose width and heads the attention takes over.
        channels: of the features.
        side: of the feature map, see :class:`AttentionPool`.
        zero_start: begin with an output projection of zero, so that the network begins as one without features.
    """

    def __init__(self, transformer: Any, channels: int, side: int, zero_start: bool) -> None:
        super().__init__()
        heads, width = transformer.num_attention_heads, transformer.inner_dim
        self.pool = AttentionPool(channels, side, heads if channels % heads == 0 else 1)
        self.readers: Any = nn.ModuleList(
            _Reader(width, channels, heads, transformer.attention_head_dim, zero_start) for _ in transformer.transformer_blocks
        )
        for reader, block in zip(self.readers, transformer.transformer_blocks, strict=True):
            block.norm3.register_forward_pre_hook(reader.before_norm)
            block.ff.register_forward_hook(reader.behind_feed_forward)

    def condition(self, features: Tensor) -> None:
        """Gives the features (N, C, h, w) that the next forward pass reads."""
        tokens = self.pool(features)
        for reader in self.readers:
            reader.tokens = tokens


class _Reader(nn.Module):
    """The third attention of one block."""

    tokens: Tensor | None = None

    def __init__(self, width: int, channels: int, heads: int, head_width: int, zero_start: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention: Any = Attention(width, cross_attention_dim=channels, heads=heads, dim_head=head_width)
        self._added: Tensor | None = None
        if zero_start:
            nn.init.zeros_(self.attention.to_out[0].weight)
            nn.init.zeros_(self.attention.to_out[0].bias)

    def before_norm(self, module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = inputs
        self._added = self.attention(self.norm(hidden), encoder_hidden_states=self.tokens)
        return (hidden + self._added, *rest)

    def behind_feed_forward(self, module: Any, inputs: Any, output: Tensor) -> Tensor:
        added, self._added = self._added, None
        return output if added is None else output + added


class ConcatenationFusion(nn.Module):
    """The paper's ablation: features side by side with the network's own in front of the spatial transformer (table 4).

    How the doubled channels come back to their number is unpublished; here a 1x1 convolution does it, which begins as the
    identity of the network's own.

    Args:
        transformer: diffusers' `Transformer2DModel`.
        channels: of the features.
        side, zero_start: as of :class:`CrossAttentionFusion`; without ``zero_start`` the features' half begins at random.
    """

    _features: Tensor | None = None

    def __init__(self, transformer: Any, channels: int, side: int, zero_start: bool) -> None:
        super().__init__()
        own = transformer.in_channels
        self.mix = nn.Conv2d(own + channels, own, 1)
        with torch.no_grad():
            self.mix.bias.zero_()  # type: ignore[union-attr]
            self.mix.weight[:, :own] = torch.eye(own)[:, :, None, None]
            if zero_start:
                self.mix.weight[:, own:] = 0
        transformer.register_forward_pre_hook(self.before_transformer)

    def condition(self, features: Tensor) -> None:
        """Gives the features (N, C, h, w) that the next forward pass reads."""
        self._features = features

    def before_transformer(self, module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Mixes the features in, resized if another teacher's map is of another size."""
        hidden, *rest = inputs
        assert self._features is not None
        features = self._features
        if features.shape[-2:] != hidden.shape[-2:]:
            features = F.interpolate(features, hidden.shape[-2:], mode="bilinear")
        return (self.mix(torch.cat([hidden, features.to(hidden.dtype)], 1)), *rest)


FUSIONS: dict[Fusion, type[CrossAttentionFusion] | type[ConcatenationFusion]] = {
    "attention": CrossAttentionFusion,
    "concatenation": ConcatenationFusion,
}


def fuse(kind: Fusion, transformers: Sequence[Any], channels: Sequence[int], sides: Sequence[int], zero_start: bool) -> Any:
    """Makes the fusions of some spatial transformers, a `ModuleList`."""
    make = FUSIONS[kind]
    return nn.ModuleList(make(one, c, side, zero_start) for one, c, side in zip(transformers, channels, sides, strict=True))
