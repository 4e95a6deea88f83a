"""What a fit tells its loggers while it goes on. Nothing here changes a mask."""

from __future__ import annotations

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from .loggers import show_pictures
from .shown import Shown

ON_THE_BAR = {"mask/area": "area", "iou": "iou"}  # what :class:`peekaboo.results.bar.FitBar` shows


class MaskBoard(Callback):
    """Writes scalars and pictures of a fit to all loggers: TensorBoard, CSV, Weights & Biases, MLflow.

    Scalars, every ``trainer.log_every_n_steps``: ``loss/total``, ``loss/loss``, ``loss/penalty``, ``alpha/mean``, ``mask/area``,
    ``gradient_norm``, ``iterations_per_second``, ``skipped_steps``, ``iou`` with a ground truth, and ``mask/agreement``, the
    IoU with the mask of ten iterations before, which decides whether it has settled. Pictures: ``alpha``, ``mask``, ``overlay``,
    and ``composite/black|white|green``. Several prompts have curves and pictures of their own: ``alpha/0_a-tiger``.

    Args:
        pictures: how often in a run the pictures are written; 0 for none.
    """

    def __init__(self, pictures: int = 8) -> None:
        if pictures < 0:
            raise ValueError(f"pictures: expected 0 or more, got {pictures}")
        self.pictures = pictures

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark = (time.perf_counter(), trainer.global_step)
        self._pictured = -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if not isinstance(pl_module, Shown):
            return
        step = trainer.global_step
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and step % every == 0:
            numbers = self._scalars(trainer, pl_module, step)
            for name in ON_THE_BAR.keys() & numbers.keys():
                pl_module.log(ON_THE_BAR[name], numbers[name], prog_bar=True, logger=False, rank_zero_only=True)
        if self.pictures and step % max(pl_module.iterations // self.pictures, 1) == 0:
            self._pictures(trainer, pl_module, step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the end of the run, wherever it came: accumulated gradients and settled masks make it shorter."""
        if isinstance(pl_module, Shown) and trainer.global_step > 0:
            if self._mark[1] != trainer.global_step and trainer.log_every_n_steps:  # type: ignore[attr-defined]
                self._scalars(trainer, pl_module, trainer.global_step)
            if self.pictures and self._pictured != trainer.global_step:
                self._pictures(trainer, pl_module, trainer.global_step)

    def _scalars(self, trainer: Trainer, module: Shown, step: int) -> dict[str, float]:
        now, (then, before) = time.perf_counter(), self._mark
        self._mark = (now, step)
        numbers = {**module.scalars(), "iterations_per_second": (step - before) / max(now - then, 1e-9)}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step)
        return numbers

    def _pictures(self, trainer: Trainer, module: Shown, step: int) -> None:
        self._pictured = step
        if trainer.loggers and trainer.is_global_zero:
            for name, pictures in module.pictures().items():
                for logger in trainer.loggers:
                    show_pictures(logger, name, pictures, step)
