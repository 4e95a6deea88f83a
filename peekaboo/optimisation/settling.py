"""Finds the pairs whose mask no longer changes, so that they need no further iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..functional.masks import iou

MOVES = 1e-3  # of an opacity between two looks, from which on it moves


class Settling:
    """Compares every pair's mask with its mask some iterations before.

    A pair has settled when the two agree at ``patience`` looks in a row. Each pair is judged by itself, so that a batch gives
    what its pairs give alone. Two empty masks agree only where no opacity rises towards the threshold, two full ones only where
    none falls: what has not appeared yet has not settled.

    Args:
        pairs: N.
        agreement: IoU of the two masks from which on they agree, in (0, 1]; None never settles.
        every: iterations between two looks, which wait for the device.
        patience: looks in a row.
        threshold: of alpha for the masks that are compared.
    """

    def __init__(self, pairs: int, agreement: float | None, every: int = 10, patience: int = 2, threshold: float = 0.5) -> None:
        self.agreement, self.every, self.patience, self.threshold = agreement, every, patience, threshold
        self.settled_at: list[int | None] = [None] * pairs
        self.agreements: list[float] | None = None  # IoU of each mask with its mask of the look before
        self._in_a_row = [0] * pairs
        self._before: Tensor | None = None
        self._extremes = torch.zeros(pairs, 2)
        self._skipped = [0] * pairs
        self._steps = 0

    def after_step(self, alpha: Callable[[], Tensor], skipped: Tensor) -> list[bool]:
        """Counts a step and, every so often, looks.

        Args:
            alpha: makes the (N, 1, H, W) alphas; only called for a look.
            skipped: (N,) steps that each pair has skipped: a mask that could not move has not settled.

        Returns:
            For each pair, whether it has settled.
        """
        self._steps += 1
        if self.agreement is not None and self._steps % self.every == 0:
            with torch.no_grad():
                now = alpha()[:, 0]
                mask = (now > self.threshold).cpu()  # not every device has the float64 of an IoU
                extremes = torch.stack([now.amax((1, 2)), -now.amin((1, 2))], 1).cpu()
            if self._before is not None:
                could_move = skipped.cpu() == torch.tensor(self._skipped)
                still = ~self._appears(mask, extremes)
                agreements = iou(mask, self._before.cpu())
                same = ((agreements >= self.agreement) & could_move & still).tolist()
                self.agreements = agreements.tolist()
                self._in_a_row = [k + 1 if s else 0 for k, s in zip(self._in_a_row, same, strict=True)]
                for i, k in enumerate(self._in_a_row):
                    if k >= self.patience and self.settled_at[i] is None:
                        self.settled_at[i] = self._steps
            self._before, self._skipped, self._extremes = mask, skipped.tolist(), extremes
        return self.settled()

    def _appears(self, mask: Tensor, extremes: Tensor) -> Tensor:
        """For each pair, whether its mask is empty and its opacity rises, or is full and its opacity falls."""
        moves = extremes > self._extremes + MOVES
        return (~mask.flatten(1).any(1) & moves[:, 0]) | (mask.flatten(1).all(1) & moves[:, 1])

    def settled(self) -> list[bool]:
        """For each pair, whether it has settled."""
        return [at is not None for at in self.settled_at]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to settle where it would have."""
        return {
            "settled_at": self.settled_at,
            "in_a_row": self._in_a_row,
            "before": self._before,
            "extremes": self._extremes,
            "skipped": self._skipped,
            "steps": self._steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state of :meth:`state_dict`."""
        self.settled_at, self._in_a_row = list(state["settled_at"]), list(state["in_a_row"])
        self._before, self._steps, self._extremes = state["before"], state["steps"], state["extremes"].cpu()
        self._skipped = list(state["skipped"])
