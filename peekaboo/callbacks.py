"""What a run shows while it goes on, and leaves when it ends. Nothing here changes a mask."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from .data.manifest import slug
from .export import overlay, save_result
from .functional.compositing import composite
from .results import Result, fixed_threshold
from .segmenter import Segmenter

BACKDROPS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0), "green": (0.0, 0.7, 0.2)}


def run_folder(trainer: Trainer) -> Path:
    """Returns the folder of this run: ``lightning_logs/version_N``, or the root without a logger."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def versions() -> dict[str, str]:
    """Returns the versions of what decides a result."""
    found = {}
    for name in ("peekaboo", "torch", "lightning", "diffusers", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[name] = "unknown"
    return found


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


class SaveResults(Callback):
    """Writes the files of every mask when a fit ends, and when it is interrupted a checkpoint to go on from too."""

    _written = True  # before a fit starts there is nothing to write

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._written, self._folder = False, run_folder(trainer)  # asked for here, because all processes must ask together
        if isinstance(pl_module, Segmenter) and trainer.is_global_zero:
            self._folder.mkdir(parents=True, exist_ok=True)  # find out now that it cannot be written

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if not isinstance(exception, KeyboardInterrupt) or not self._write(trainer, pl_module):
            return
        if trainer.checkpoint_callback is not None and trainer.world_size == 1:  # other processes need not come here
            place = self._folder / "checkpoints" / "last.ckpt"
            trainer.save_checkpoint(place)
            rank_zero_info(f"to go on, add --ckpt_path {place}")

    def _write(self, trainer: Trainer, module: LightningModule) -> bool:
        """Writes them once; returns whether it did."""
        if not isinstance(module, Segmenter) or not trainer.is_global_zero or not module.pairs or self._written:
            return False
        self._written = True
        folder, several = self._folder, len(module.pairs) > 1
        for i, result in enumerate(module.results(trainer.global_step)):
            result.record["versions"] = versions()
            result.record["interrupted"] = trainer.interrupted
            place = folder / f"{i}_{slug(result.prompt)}" if several else folder
            save_result(result, place)
            rank_zero_info(summary(result, place))
            if result.record["skipped_steps"]:
                rank_zero_warn(f"{result.record['skipped_steps']} steps were skipped: their gradient was NaN or infinite")
        return True


def summary(result: Result, folder: Path) -> str:
    """Returns the line that ends a run."""
    quality = "" if result.iou is None else f", IoU {result.iou:.3f}"
    record = result.record
    return (
        f"{result.prompt!r}: {record['iterations']} iterations in {record['seconds']:.1f} s, "
        f"mask covers {float(result.mask.float().mean()):.1%}{quality}; pictures in {folder}"
    )
