"""How far a fit is: a bar in iterations on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from .shown import Shown

FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} iterations, {remaining} left{postfix}"
EVERY = 10.0  # seconds between two lines where no bar can be drawn
#: What the bar shows of what the module logs for it, and how.
NOTES = {"area": "area {:.1%}", "iou": "IoU {:.3f}"}


class FitBar(ProgressBar):
    """Shows the iterations of a fit, the time left, the area of its masks and, with a ground truth, the IoU.

    A terminal gets one line that is redrawn and fits its width; a pipe or a file gets a line every ten seconds. All of it goes to
    standard error. A run that ends before its last iteration, because its masks have settled, ends with a full bar.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown = True
        self._bar: Any = None

    def disable(self) -> None:
        """Shows nothing, as on other ranks than the first."""
        self._shown = False

    def enable(self) -> None:
        """Shows it again."""
        self._shown = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self._shown or not isinstance(pl_module, Shown):
            return
        if self._bar is None:  # only now, so that what is said before the first iteration does not stand in the bar
            self._bar = (_Redrawn if sys.stderr.isatty() else _Lines)(pl_module.iterations, batch_idx)
        found = self.get_metrics(trainer, pl_module)
        notes = [text.format(found[name]) for name, text in NOTES.items() if isinstance(found.get(name), float)]
        self._bar.move(batch_idx + 1, ", ".join(notes))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(whole=not trainer.interrupted)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close(whole=False)

    def _close(self, whole: bool) -> None:
        if self._bar is not None:
            self._bar.close(whole)
        self._bar = None


class _Redrawn:
    """A bar of tqdm's."""

    def __init__(self, total: int, done: int) -> None:
        # All of a terminal's columns but the last: a line that fills them goes on to the next one in some.
        self._bar = tqdm(total=total, initial=done, bar_format=FORMAT, dynamic_ncols=True, mininterval=0.1, file=sys.stderr)

    def move(self, done: int, note: str) -> None:
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self, whole: bool) -> None:
        if whole:
            self._bar.total = self._bar.n
        self._bar.refresh()
        self._bar.close()


class _Lines:
    """A line every ten seconds, none of a short fit."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._first, self._start = total, done, time.monotonic()
        self._said = self._start

    def move(self, done: int, note: str) -> None:
        now = time.monotonic()
        if now - self._said < EVERY:
            return
        self._said = now
        left = (now - self._start) / max(done - self._first, 1) * (self._total - done)
        notes = f", {note}" if note else ""
        print(f"{done}/{self._total} iterations, {tqdm.format_interval(left)} left{notes}", file=sys.stderr, flush=True)

    def close(self, whole: bool) -> None:
        """There is nothing to end."""
