"""Where a denoiser looks when it reads the words of a prompt: DAAM for U-Nets, image-to-text attention for transformers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .diffusion import Diffusion
from .text import Text

Words = Literal["content", "last", "all", "end"]
#: Words that name nothing.
ARTICLES, RELATIONS = (
    ("a", "an", "the", "and", "or", "is", "are"),
    ("of", "on", "in", "at", "to", "by", "with", "next", "behind", "front"),
)
FUNCTION_WORDS = frozenset({*ARTICLES, *RELATIONS, "left", "right", "above", "below", "under", "over"})


class AttentionError(ValueError):
    """A teacher or a setting by which no attention can be read."""


class _Listener(TorchFunctionMode):
    """Hears the queries and keys of every attention while ``layer`` is set, behind their norms and rotations."""

    def __init__(self) -> None:
        super().__init__()
        self.layer: int | None = None
        self.heard: dict[int, tuple[Tensor, Tensor, dict[str, Any]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and self.layer is not None:
            names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            self.heard[self.layer] = given["query"], given["key"], given
        return func(*args, **kwargs)


@contextmanager
def _listening(layers: Sequence[nn.Module]) -> Iterator[_Listener]:
    with ExitStack() as stack:
        listener = stack.enter_context(_Listener())
        for number, layer in enumerate(layers):

            def enter(*_: Any, number: int = number) -> None:
                listener.layer = number

            def leave(*_: Any) -> None:
                listener.layer = None

            stack.callback(layer.register_forward_pre_hook(enter).remove)
            stack.callback(layer.register_forward_hook(leave).remove)
        yield listener


def attention_maps(teacher: Diffusion, z_t: Tensor, t: Tensor, text: Text, blocks: Sequence[int] | None = None) -> list[Tensor]:
    """Asks the denoiser once and returns how much each place of the image attends to each token of the text.

    In cross-attention, of U-Nets, PixArt and Sana, these are the probabilities of the layer. In joint attention, where the image
    attends to itself, too, they are the part of them that the text gets.

    Args:
        teacher: compiled or not; this pass is not.
        z_t, t, text: as :meth:`Teacher.predict_noise` takes them.
        blocks: numbers of attention layers; None for all of a U-Net (DAAM, Tang et al., arXiv 2210.04885), and for the one in the
            middle of a transformer.

    Returns:
        (N, h, w, tokens) float32 each, averaged over heads, in the size that the layer works at.

    Raises:
        AttentionError: for a block that there is not.
    """
    family, every = teacher.family, teacher.family.attention_layers()
    if blocks is None:
        blocks = range(len(every)) if family.part == "unet" else [len(every) // 2]
    if not blocks or min(blocks) < 0 or max(blocks) >= len(every):
        raise AttentionError(
            f"blocks: expected some of the {len(every)} attention layers 0..{len(every) - 1}, got {list(blocks)}"
        )
    with teacher.open(), _listening([every[number] for number in blocks]) as listener:
        teacher.predict_noise(z_t, t, text)
    shape = z_t.shape[-2:]
    return [_image_to_text(family, text, shape, *heard) for _, heard in sorted(listener.heard.items())]


@torch.no_grad()
def _image_to_text(family: Any, text: Text, shape: Sequence[int], query: Tensor, key: Tensor, given: dict[str, Any]) -> Tensor:
    scale = given.get("scale") or query.shape[-1] ** -0.5
    bias = _as_bias(given.get("attn_mask"), query, key)
    if key.shape[1] != query.shape[1]:  # fewer heads of keys than of queries
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    maps = []
    for sample in range(len(query)):
        rows, columns = slice(None), slice(None)
        if family.joint is not None:
            columns, rows = family.joint_places(text, sample)
        total: Tensor | float = 0.0
        for head in range(query.shape[1]):  # one at a time: all of them at once would take gigabytes
            logits = scale * query[sample, head, rows].float() @ key[sample, head].float().T
            if bias is not None:
                logits = logits + bias[sample, min(head, bias.shape[1] - 1), rows if bias.shape[2] > 1 else slice(None)]
            total = total + logits.softmax(-1)[:, columns]
        assert isinstance(total, Tensor)
        maps.append(total / query.shape[1])
    width = max(own.shape[1] for own in maps)
    padded = torch.stack([F.pad(own, (0, width - own.shape[1])) for own in maps])
    height, width = shape
    factor = (height * width / padded.shape[1]) ** 0.5
    return padded.unflatten(1, (round(height / factor), round(width / factor)))


def _as_bias(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
    """The mask of an attention as what is added to its logits, (N, heads or 1, rows or 1, keys)."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf)
    mask = mask.float()
    while mask.ndim < 4:
        mask = mask[None]
    return mask.expand(len(query), -1, -1, len(key[0, 0]))


def word_tokens(teacher: Diffusion, prompt: str, words: Words = "content") -> list[int]:
    """Returns the places of the tokens that count, among those of the denoiser's text.

    Args:
        teacher: whose text it is.
        prompt: that it reads.
        words: ``content`` leaves function words out, ``last`` takes the last content word, ``all``; where none is left all count.
            ``end``: what stands for the whole prompt: the end token, and CLIP's padding behind it.
    """
    tokens = teacher.family.tokens(prompt)
    if words == "end":
        return tokens.ends
    every = list(re.finditer(r"[^\W_]+", prompt))
    content = [word for word in every if word[0].lower() not in FUNCTION_WORDS]
    wanted = {"all": every, "content": content, "last": content[-1:]}[words] or every
    places = [
        place
        for place, span in enumerate(tokens.spans)
        if span is not None and any(span[0] < word.end() and span[1] > word.start() for word in wanted)
    ]
    return places or tokens.ends[:1]


def prompt_map(
    teacher: Diffusion,
    z_t: Tensor,
    t: Tensor,
    prompts: list[str],
    words: Words = "content",
    blocks: Sequence[int] | None = None,
    finest: float = 1.0,
) -> Tensor:
    """Returns how much each place of the latent attends to the words of its prompt, (N, h, w), summed over layers.

    Args:
        teacher, z_t, t, blocks: see :func:`attention_maps`.
        prompts: one for each latent.
        words: see :func:`word_tokens`.
        finest: side of the finest maps that are used, as a fraction of the latent's; 1 for all.

    Raises:
        AttentionError: if ``finest`` leaves no map, or see :func:`attention_maps`.
    """
    if words not in get_args(Words):
        raise AttentionError(f"words: expected one of {', '.join(get_args(Words))}, got {words!r}")
    tokens = [word_tokens(teacher, prompt, words) for prompt in prompts]
    size = (z_t.shape[-2], z_t.shape[-1])
    maps = [m for m in attention_maps(teacher, z_t, t, teacher.embed(prompts), blocks) if m.shape[1] <= finest * size[0]]
    if not maps:
        raise AttentionError(f"finest: expected to leave some of the attention maps, got {finest}, which leaves none")
    total = torch.zeros(len(z_t), *size, device=z_t.device)
    for attention in maps:
        own = torch.stack([one[..., chosen].mean(-1) for one, chosen in zip(attention, tokens, strict=True)])
        total += F.interpolate(own[:, None], size, mode="bilinear")[:, 0]
    return total
