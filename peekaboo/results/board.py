"""What a fit shows in TensorBoard while it goes on. Nothing here changes a mask."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from ..functional.compositing import composite
from ..optimisation.segmenter import Segmenter
from .files import overlay
from .result import fixed_threshold

BACKDROPS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0), "green": (0.0, 0.7, 0.2)}


class MaskBoard(Callback):
    """Writes scalars and pictures of a fit to TensorBoard.

    Scalars, every ``trainer.log_every_n_steps``: ``loss/total``, ``loss/loss``, ``loss/penalty``, ``alpha/mean``,
    ``gradient_norm``, ``iterations_per_second``, ``skipped_steps``, and ``iou`` with a ground truth. Pictures: ``alpha``,
    ``mask``, ``overlay`` and ``composite/black|white|green``.

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
        if not isinstance(pl_module, Segmenter):
            return
        step = trainer.global_step
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and step % every == 0:
            self._scalars(trainer, pl_module, step)
        if self.pictures and step % max(pl_module.iterations // self.pictures, 1) == 0:
            self._pictures(trainer, pl_module, step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the end of the run, wherever it came: accumulated gradients and settled masks make it shorter."""
        if isinstance(pl_module, Segmenter) and trainer.global_step > 0:
            if self._mark[1] != trainer.global_step and trainer.log_every_n_steps:  # type: ignore[attr-defined]
                self._scalars(trainer, pl_module, trainer.global_step)
            if self.pictures and self._pictured != trainer.global_step:
                self._pictures(trainer, pl_module, trainer.global_step)

    @torch.no_grad()
    def _scalars(self, trainer: Trainer, module: Segmenter, step: int) -> None:
        now, (then, before) = time.perf_counter(), self._mark
        self._mark = (now, step)
        alpha = module.opacity()
        values = {f"loss/{name}": term.mean() for name, term in module.last_terms.items()}
        values["alpha/mean"] = alpha.mean()
        values["gradient_norm"] = module.guard.norm
        values["iterations_per_second"] = torch.tensor((step - before) / max(now - then, 1e-9))
        values["skipped_steps"] = module.guard.skipped.sum()
        truths = [pair.mask for pair in module.pairs]
        if truths[0] is not None:
            result = module.results(step)[0]
            values["iou"] = torch.tensor(result.iou)
        numbers = {name: float(value) for name, value in values.items()}
        if trainer.logger is not None:
            trainer.logger.log_metrics(numbers, step)
        shown = {"total": numbers["loss/total"], **({"iou": numbers["iou"]} if "iou" in numbers else {})}
        trainer.progress_bar_metrics.update(shown)

    @torch.no_grad()
    def _pictures(self, trainer: Trainer, module: Segmenter, step: int) -> None:
        self._pictured = step
        if not isinstance(trainer.logger, TensorBoardLogger):
            return
        alpha, image = module.opacity(), module.images
        board = trainer.logger.experiment
        board.add_images("alpha", alpha, step)
        board.add_images("mask", (alpha > fixed_threshold(module.threshold)).float(), step)
        board.add_images("overlay", overlay(image, alpha), step)
        for name, colour in BACKDROPS.items():
            backdrop = torch.tensor(colour, device=image.device)[:, None, None]
            board.add_images(f"composite/{name}", composite(image, backdrop, alpha), step)
