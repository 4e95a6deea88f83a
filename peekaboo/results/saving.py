"""What a fit leaves when it ends, and when it is interrupted."""

from __future__ import annotations

from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ..data.names import slug
from .files import save_result
from .records import versions
from .result import Result
from .shown import Shown


def run_folder(trainer: Trainer) -> Path:
    """Returns the folder of this run: ``lightning_logs/version_N``, or the root without a logger."""
    return Path(trainer.log_dir or trainer.default_root_dir)


class SaveResults(Callback):
    """Writes the files of every mask when a fit ends, and when it is interrupted a checkpoint to go on from too."""

    _written = True  # before a fit starts there is nothing to write

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._written, self._folder = False, run_folder(trainer)  # asked for here, because all processes must ask together
        if isinstance(pl_module, Shown) and trainer.is_global_zero:
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
        if not isinstance(module, Shown) or not trainer.is_global_zero or self._written:
            return False
        self._written = True
        folder, results = self._folder, module.results(trainer.global_step)
        for i, result in enumerate(results):
            result.record["versions"] = versions()
            result.record["interrupted"] = trainer.interrupted
            place = folder / f"{i}_{slug(result.prompt)}" if len(results) > 1 else folder
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
