"""How far a training has come, as numbers that a checkpoint keeps."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

SUMS = ("loss", "batches", "intersection", "union", "examples", "empty", "skipped")


class Progress:
    """Sums over the steps since the last look, and over the epoch so far.

    Attributes:
        seen: examples on this rank, in all.
        empty: of them without a pixel of foreground.
        skipped: samples that could not be used.
    """

    def __init__(self) -> None:
        self.seen = self.empty = self.skipped = 0
        self._recent = dict.fromkeys(SUMS, 0.0)
        self._epoch = (0.0, 0)
        self._before, self._started = 0.0, time.perf_counter()

    def start(self) -> None:
        """The clock starts."""
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds of training, those before a resumption included."""
        return self._before + time.perf_counter() - self._started

    def add(self, loss: Tensor, found: Tensor, target: Tensor, counts: Tensor, skipped: int) -> None:
        """Adds a step of N examples.

        Args:
            loss: the mean.
            found, target, counts: (N, 1, H, W) bool.
            skipped: samples that could not be used.
        """
        inside, either = (found & target & counts).sum(), ((found | target) & counts).sum()
        empty = (~(target & counts).flatten(1).any(1)).sum()
        value, i, u, e = torch.stack([loss.double(), inside.double(), either.double(), empty.double()]).tolist()
        for name, one in zip(SUMS, (value, 1, i, u, len(found), e, skipped), strict=True):
            self._recent[name] += one
        self._epoch = self._epoch[0] + value, self._epoch[1] + 1
        self.seen, self.empty, self.skipped = self.seen + len(found), self.empty + int(e), self.skipped + skipped

    def epoch_loss(self) -> float:
        """The mean loss of the epoch so far."""
        return self._epoch[0] / max(self._epoch[1], 1)

    def end_epoch(self) -> None:
        """The next step is the first of an epoch."""
        self._epoch = (0.0, 0)

    def recent(self) -> dict[str, float]:
        """The numbers since the last call: mean loss, IoU_FG at 0.5 over all pixels, and how many examples said little."""
        sums, self._recent = self._recent, dict.fromkeys(SUMS, 0.0)
        return {
            "train/loss": sums["loss"] / max(sums["batches"], 1),
            "train/IoU_FG": sums["intersection"] / max(sums["union"], 1),
            "train/share_without_foreground": sums["empty"] / max(sums["examples"], 1),
            "train/skipped_samples": float(self.skipped),
        }

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training goes on with."""
        counts = {"seen": self.seen, "empty": self.empty, "skipped": self.skipped, "seconds": self.seconds()}
        return counts | {"recent": dict(self._recent), "epoch": list(self._epoch)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.seen, self.empty, self.skipped = state["seen"], state["empty"], state["skipped"]
        self._before, self._recent = state["seconds"], dict(state["recent"])
        self._epoch = state["epoch"][0], state["epoch"][1]
        self.start()
