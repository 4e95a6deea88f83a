"""What a denoiser reads of its prompts, and the prompts that are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Generic, Protocol, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

#: Of all embeddings of prompts that stay on the device: 256 prompts of Stable Diffusion, 7 of Flux.
KEPT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Text:
    """The text conditioning of N prompts; its tensors can be joined, indexed and repeated together.

    Attributes:
        embeddings: (N, L, D), one vector a token.
        pooled: (N, P), one vector a prompt, where the model reads one.
        mask: (N, L) bool, which tokens count, where the model does not count all.
    """

    embeddings: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, index: slice | Tensor | list[int]) -> Text:
        """Returns the text of some prompts; one that is wanted twice is given twice."""
        return self._map(lambda x: x[index])

    @classmethod
    def cat(cls, texts: Sequence[Text]) -> Text:
        """Joins prompts. Those of fewer tokens are padded by zeros that the mask leaves out.

        Raises:
            ValueError: if lengths differ and there is no mask, or if not all have the same tensors.
        """
        if len({tuple(getattr(text, field.name) is None for field in fields(cls)) for text in texts}) != 1:
            raise ValueError(
                "text: expected all prompts to have the same tensors, some have a pooled vector or a mask and some not"
            )
        length = max(text.embeddings.shape[1] for text in texts)
        if texts[0].mask is None and any(text.embeddings.shape[1] != length for text in texts):
            raise ValueError(
                "text: expected one length without a mask, got " + ", ".join(str(t.embeddings.shape[1]) for t in texts)
            )
        masks = [F.pad(text.mask, (0, length - text.mask.shape[1])) for text in texts if text.mask is not None]
        pooled = [text.pooled for text in texts if text.pooled is not None]
        embeddings = [F.pad(text.embeddings, (0, 0, 0, length - text.embeddings.shape[1])) for text in texts]
        return cls(torch.cat(embeddings), torch.cat(pooled) if pooled else None, torch.cat(masks) if masks else None)

    def repeat_interleave(self, count: int) -> Text:
        """Returns each prompt's text ``count`` times in a row."""
        return self._map(lambda x: x.repeat_interleave(count, 0))

    def to(self, device: torch.device | str) -> Text:
        """Returns the same on a device."""
        return self._map(lambda x: x.to(device))

    def tensors(self) -> list[Tensor]:
        """Those that there are, in the order of the attributes."""
        return [x for x in (self.embeddings, self.pooled, self.mask) if x is not None]

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.tensors())

    def _map(self, change: Callable[[Tensor], Tensor]) -> Text:
        return Text(*(None if x is None else change(x) for x in (self.embeddings, self.pooled, self.mask)))  # type: ignore[arg-type]


class Kept(Protocol):
    """What a :class:`PromptCache` can keep: a tensor, or a :class:`Text`."""

    @property
    def nbytes(self) -> int: ...

    def to(self, device: torch.device) -> Self: ...


KeptT = TypeVar("KeptT", bound=Kept)


class PromptCache(Generic[KeptT]):
    """What an encoder made of prompts, so that each is encoded once; within a budget, the ones used last.

    Args:
        budget: in bytes. The prompts that are asked for together are all kept, whatever their size.
    """

    def __init__(self, budget: int = KEPT_BYTES) -> None:
        self.budget = budget
        self._kept: OrderedDict[str, KeptT] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, prompt: str) -> bool:
        return prompt in self._kept

    def get(self, prompts: list[str], encode: Callable[[list[str]], list[KeptT]], device: torch.device) -> list[KeptT]:
        """Returns what belongs to each prompt.

        Args:
            prompts: the same may be there several times.
            encode: is given the new ones, each once.
            device: where the result goes, and is kept.
        """
        wanted = list(dict.fromkeys(prompts))
        if new := [prompt for prompt in wanted if prompt not in self._kept]:
            self._kept.update(zip(new, encode(new), strict=True))
        for prompt in wanted:
            self._kept[prompt] = self._kept[prompt].to(device)
            self._kept.move_to_end(prompt)
        used = sum(value.nbytes for value in self._kept.values())
        while used > self.budget and len(self._kept) > len(wanted):
            used -= self._kept.popitem(last=False)[1].nbytes
        return [self._kept[prompt] for prompt in prompts]
