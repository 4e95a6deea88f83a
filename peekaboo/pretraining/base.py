"""What the trainings of the embedded models share: optimiser, schedule, averaging, export."""

from __future__ import annotations

import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..optimisation.checkpoint import PROGRESS
from ..results.interruption import Interruption


class Pretraining(LightningModule):
    """Trains one network of the embedded teacher and writes it in its library's own layout.

    The learning rate warms up linearly, stays, and falls linearly to zero over the last half. Its position follows the steps
    or the minutes, whichever is further, so that a training fits a given time on a machine that others use too.

    Args:
        network: what is trained; an exponential moving average of it is what is kept.
        output: folder that the result is written to at the end, and every ``export_every`` steps.
        learning_rate: peak of the schedule.
        warmup: steps of linear warm-up.
        minutes: time budget in minutes, counted over resumptions; None for no budget but ``trainer.max_steps``.
        ema: decay of the average.
        export_every: steps between two exports; 0 for only the last.
    """

    network: Any  # a network of diffusers or transformers, which carry no types
    average: Any

    def __init__(
        self,
        network: nn.Module,
        output: str,
        learning_rate: float = 1e-3,
        warmup: int = 100,
        minutes: float | None = None,
        ema: float = 0.998,
        export_every: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True)
        self.average.requires_grad_(False)
        self.output = Path(output)
        self.learning_rate, self.warmup, self.minutes, self.export_every = learning_rate, warmup, minutes, export_every
        self.seconds = 0.0
        self._clock = 0.0
        self._interruption = Interruption(patient=True)  # a step is short

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Writes the averaged network as its library's ``save_pretrained`` does."""

    def progress(self) -> float:
        """Returns the share of the training that is done, by steps or by time, in [0, 1]."""
        by_steps = self.global_step / self.trainer.max_steps if self.trainer.max_steps > 0 else 0.0
        by_time = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(max(by_steps, by_time), 1.0)

    def configure_optimizers(self) -> Any:
        # All of them, frozen or not (those have no gradient and stay as they are): what a checkpoint's groups must match.
        decay = [p for p in self.network.parameters() if p.ndim > 1]
        rest = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.99))

        def factor(step: int) -> float:
            return min((step + 1) / self.warmup, 1.0) * min(2 * (1 - self.progress()), 1.0)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        self._clock = time.perf_counter()
        self._interruption.listen()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.average.update_parameters(self.network)
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        self.log("progress", self.progress(), prog_bar=True)
        if self.export_every and self.global_step % self.export_every == 0:
            self.export(self.output)
        if self.progress() >= 1:
            self.trainer.should_stop = True
        if self._interruption.asked:
            self._keep()
            self._interruption.check()

    def _keep(self) -> None:
        """Writes a checkpoint where the trainer's own are, and says how to go on."""
        keeper = self.trainer.checkpoint_callback
        folder = getattr(keeper, "dirpath", None) or self.trainer.default_root_dir
        file = Path(folder) / "last.ckpt"
        self.trainer.save_checkpoint(file)
        print(f"stopped after step {self.global_step}; go on with --ckpt_path {file}", flush=True)

    def on_train_end(self) -> None:
        if self.trainer.is_global_zero:
            self.export(self.output)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[PROGRESS] = {"pretraining": type(self).__name__, "seconds": self.seconds}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with a training.

        Raises:
            ValueError: for a checkpoint of something else.
        """
        progress = checkpoint.get(PROGRESS, {})
        if progress.get("pretraining") != type(self).__name__:
            raise ValueError(f"ckpt_path: expected a checkpoint of a {type(self).__name__}, got one of something else")
        self.seconds = progress["seconds"]

    def show(self, tag: str, images: Tensor) -> None:
        """Writes a row of (N, 3, H, W) images in [0, 1] to TensorBoard, where the logger is one."""
        board = getattr(self.logger, "experiment", None)
        if board is not None and hasattr(board, "add_images"):
            board.add_images(tag, images.float().clamp(0, 1), self.global_step)
