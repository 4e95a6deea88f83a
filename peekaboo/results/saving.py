"""What a fit leaves when it ends, and when it is interrupted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from ..data.names import labels
from .drawing import all_of
from .files import local_folder
from .interruption import Interrupted, Interruption, stops
from .latest import link_latest
from .lock import RunLock
from .loggers import CSV, NAME, Beside, TensorBoard, tell_results
from .ranks import once
from .result import Result
from .shown import Checked, Shown
from .writing import write_picture

OWN_FILES = ("mask.png", "alpha.png", "cutout.png", "overlay.png", "config.yaml")
LARGE = 4_000_000  # pixels of results whose writing is worth a word
AGREE_EVERY = 10  # steps of several processes between two questions whether one of them is to stop


def run_folder(trainer: Trainer) -> Path:
    """Returns the folder of this fit, ``lightning_logs/version_N``; also without a logger, or with one that has no folder a run.

    All processes must ask together.

    Raises:
        ValueError: if it is not on this machine.
    """
    if isinstance(trainer.logger, TensorBoardLogger | CSVLogger):
        return local_folder(str(trainer.log_dir), "trainer.logger")
    root = local_folder(trainer.default_root_dir, "trainer.default_root_dir")
    return Path(trainer.strategy.broadcast(CSVLogger(root).log_dir))


@rank_zero_only
def claim_folder(trainer: Trainer, saving: SaveResults, own: bool) -> None:
    """Makes the folder of a fit: the one that was asked for, or else the next number's, which no other fit takes meanwhile.

    Loggers write into it, too, but those that the user named another place for.

    Args:
        trainer: of the fit.
        saving: where it says which folder was asked for.
        own: whether the trainer's loggers are its own choice, and no config's.

    Raises:
        ValueError: for a name that another run has, or a folder with files of others.
    """
    root = local_folder(trainer.default_root_dir, "trainer.default_root_dir")
    if saving.name is not None:
        saving.output = root / NAME / saving.name
        if saving.output.exists():
            raise ValueError(f"name: expected a new one, got {saving.name!r}, which {str(saving.output)!r} has already")
    if saving.output is not None:
        saving.output = local_folder(saving.output, "output")
        _check_ours(saving.output)
    if own:
        trainer.loggers = [_ours(logger) for logger in trainer.loggers]
    beside = [logger for logger in trainer.loggers if isinstance(logger, Beside) and not logger.placed]
    folder = _next_folder(root) if beside and saving.output is None else saving.output
    for logger in beside:
        logger.folder = folder


def _check_ours(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output: expected a folder, got the file {str(folder)!r}")
    theirs = [name for name in OWN_FILES if (folder / name).exists()]
    ours = (folder / "result.json").is_file() or any(folder.glob("[0-9]*_*/result.json"))  # of several prompts each has a folder
    if theirs and not ours:
        raise ValueError(f"output: expected a folder without files of others, got {str(folder)!r} with {', '.join(theirs)}")


def _ours(logger: Any) -> Any:
    if isinstance(logger, TensorBoardLogger):
        return TensorBoard()
    return CSV() if isinstance(logger, CSVLogger) else logger


def _next_folder(root: Path) -> Path:
    """Makes the folder of the next number; of the one behind where another fit has just taken it."""
    while True:
        folder = Path(CSVLogger(root, name=NAME).log_dir)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # since it was counted
            continue
        return folder


class SaveResults(Callback):
    """Writes the files of every mask or image when a fit ends or is interrupted, and a checkpoint to go on from while it lasts.

    ``checkpoints/last.ckpt`` is written when a signal ends the fit (see :mod:`.interruption`), and from time to time before
    that, since nothing can be written when a process is killed or its machine is lost.

    Its last lines on standard output say what was found, how good it is, and which file to open.

    Args:
        checkpoint_every: seconds between two checkpoints; None for none but the interrupted fit's.

    Attributes:
        output: folder of the fit, in the place of ``lightning_logs/version_N``; None for that.
        name: of a folder in ``lightning_logs``; None for a number.
        nothing_found: whether all masks of the fit that ended are empty.
    """

    def __init__(self, checkpoint_every: float | None = 60.0) -> None:
        if checkpoint_every is not None and checkpoint_every < 0:
            raise ValueError(f"checkpoint_every: expected seconds, 0 or more, or null, got {checkpoint_every}")
        self.checkpoint_every = checkpoint_every
        self.folder: Path | None = None
        self.nothing_found = False
        self.output: str | Path | None = None
        self.name: str | None = None
        self._lock: RunLock | None = None
        self._written = True  # before a fit starts there is nothing to write

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit" or not isinstance(pl_module, Shown):
            return
        self.folder = folder = run_folder(trainer) if self.output is None else local_folder(self.output, "output")
        once(trainer, lambda: self._take(folder))
        if (self.output is None or self.name is not None) and trainer.is_global_zero:
            link_latest(local_folder(trainer.default_root_dir, "trainer.default_root_dir"), folder)
        checkpoints = trainer.checkpoint_callback
        if isinstance(checkpoints, ModelCheckpoint) and checkpoints.dirpath is None:
            checkpoints.dirpath = str(folder / "checkpoints")  # a trainer without a logger would take the working directory's

    def _take(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)  # find out now that it cannot be written
        lock = RunLock(folder, "trainer.logger")
        lock.acquire()
        self._lock = lock

    # ---- while it lasts --------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._interruption = Interruption(patient=trainer.world_size > 1)
        self._interruption.listen()
        self._saved_at = time.monotonic()
        self._written = False

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self._interruption.begin_whole()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        late = self.checkpoint_every is not None and time.monotonic() - self._saved_at >= self.checkpoint_every
        due = late and self._keeps(pl_module)
        asked = self._interruption.asked
        if trainer.world_size > 1:
            if trainer.global_step % AGREE_EVERY:
                return
            both = torch.tensor([asked, int(due)], dtype=torch.float32, device=trainer.strategy.root_device)
            all_of_them: Any = trainer.strategy.reduce(both, reduce_op="max")
            asked, due = int(all_of_them[0]), bool(all_of_them[1])
        if due and not asked:
            self._checkpoint(trainer)
        self._interruption.end_whole()
        self._interruption.check(asked)

    def _keeps(self, module: LightningModule) -> bool:
        return isinstance(module, Shown) and self.folder is not None

    def _checkpoint(self, trainer: Trainer) -> Path | None:
        """Writes ``checkpoints/last.ckpt``, where the trainer is to keep checkpoints at all; all ranks must call it together."""
        self._saved_at = time.monotonic()
        if trainer.checkpoint_callback is None or self.folder is None:
            return None
        place = self.folder / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(place, weights_only=False)
        return place

    # ---- the end -----------------------------------------------------------------------------------------------------------

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._interruption.begin_whole()  # what is done will be written, whoever wants the process to end
        self._write(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if stops(exception) and not self._is_written(trainer) and self._keeps(pl_module):
            if isinstance(exception, Interrupted):
                rank_zero_info(f"stopped by {exception} after {trainer.global_step} iterations")
            self._write(trainer, pl_module)
            together = isinstance(exception, Interrupted) or trainer.world_size == 1  # Ctrl-C may have come to one process alone
            if together and (place := self._checkpoint(trainer)) is not None:
                rank_zero_info(f"to go on, add --ckpt_path {place}")
        self._release()

    def _is_written(self, trainer: Trainer) -> bool:
        return self._written and trainer.is_global_zero

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
        self._lock, self.folder = None, None

    def _write(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes the files of every result, once."""
        if not isinstance(module, Shown) or not trainer.is_global_zero or self._written or self.folder is None:
            return
        self._written = True
        results = module.results(trainer.global_step)
        masks = [result for result in results if isinstance(result, Result)]
        if masks and (pixels := sum(result.alpha.numel() for result in masks)) > LARGE:
            rank_zero_info(f"writing pictures of {pixels / 1e6:.0f} megapixels")  # takes seconds, behind a bar that has ended
        if len(masks) > 1 and all(torch.equal(result.image, masks[0].image) for result in masks):
            write_picture(self.folder / "all.png", all_of(masks))
        names = labels([result.prompt for result in results])
        places = [self.folder] if len(results) == 1 else [self.folder / name for name in names]
        for result, place in zip(results, places, strict=True):
            result.record["interrupted"] = trainer.interrupted
            result.save(place)
            if result.record["skipped_steps"]:
                rank_zero_warn(f"{result.record['skipped_steps']} steps were skipped: their gradient was NaN or infinite")
        tell_results(trainer.loggers, results, trainer.global_step)
        if isinstance(module, Checked):
            return  # a training: what it shows are examples
        self.nothing_found = bool(results) and all(result.empty for result in results)
        for result, place in zip(results, places, strict=True):
            print("\n".join(result.summary(place, module.iterations)), flush=True)
