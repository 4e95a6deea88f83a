"""How far a run over a data set is, and how long it still takes."""

from __future__ import annotations

import sys
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

FORMAT = "{desc} {percentage:3.0f}%|{bar:20}| {n:.1f}/{total} samples [{elapsed}<{remaining}{postfix}]"


class SampleBar:
    """A bar over samples that moves with the iterations of a batch; Lightning's own, over batches, makes room for it.

    Args:
        trainer: whose bar is replaced; nothing is shown where it has none, or on other ranks than the first.
        total: samples of this rank.
        what: the caption.
    """

    def __init__(self, trainer: Trainer, total: int, what: str) -> None:
        self._theirs = trainer.progress_bar_callback
        shown = isinstance(self._theirs, ProgressBar) and trainer.is_global_zero
        if isinstance(self._theirs, ProgressBar):
            self._theirs.disable()
        every = 0.2 if sys.stderr.isatty() else 10.0
        self.bar: Any = tqdm(total=total, desc=what, disable=not shown, bar_format=FORMAT, mininterval=every, dynamic_ncols=True)
        self.done, self.batch, self.iterations = 0, 0, 1

    def begin(self, samples: int, iterations: int) -> None:
        """A batch starts."""
        self.batch, self.iterations = samples, max(iterations, 1)

    def report(self, step: int) -> None:
        """A step of the batch is finished."""
        self.bar.set_postfix_str(f"iteration {step}/{self.iterations}", refresh=False)
        self._move(self.done + self.batch * step / self.iterations)

    def end(self, note: str) -> None:
        """The batch is finished."""
        self.done += self.batch
        self.bar.set_postfix_str(note, refresh=False)
        self._move(self.done)

    def _move(self, position: float) -> None:
        self.bar.update(position - self.bar.n)

    def close(self) -> None:
        """Leaves the bar as it is, and the trainer its own."""
        self.bar.close()
        if isinstance(self._theirs, ProgressBar):
            self._theirs.enable()
