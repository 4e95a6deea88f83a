"""The callback that makes `test` and `predict` of a data set: rows as samples finish, tables and files at the end."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from ..data.base import Failure, Sample, SampleData
from ..results.files import to_picture
from ..results.records import command, versions
from ..results.result import Result
from .batching import SampleModule
from .coco import check_library, write_coco
from .folder import RunFolder, arguments_of, decisive, digest, plain_attributes, to_16_bit, weights_digest, write_text
from .metrics import MaskMetrics, Scores
from .progress import SampleBar
from .rows import failed_row, make_row
from .sheet import contact_sheet
from .tables import samples_csv, summarise, table


class Evaluation(Callback):
    """Keeps every finished sample at once, goes on where an earlier run of the same command stopped, and makes the table.

    The folder is ``<default_root_dir>/runs/<test|predict>/<name>-<data>-<digest>``, where the digest stands for model, data,
    precision and the weights of the frozen networks: the same command finds its own folder, a changed one starts another.

    Args:
        folder: another place; refused if it holds a run of another configuration.
        name: of the run in tables and of its folder; None for what the model is made of.
        save_masks: write ``masks/<id>.png`` (0 / 255); always in ``predict``.
        save_alphas: write ``alphas/<id>.png`` (16 bit).
        cutouts: write ``cutouts/<id>.png`` (RGBA, alpha as its opacity).
        coco_rle: write ``coco_rle.json``, all masks in COCO's run-length encoding.
        contact_sheet: how many of each of the best, the median and the worst samples ``contact_sheet.png`` shows
            (image, ground truth, alpha, overlay); 0 for none.
    """

    config: dict[str, Any] | None = None  # set by the command line; without it the objects' plain attributes stand for it
    config_yaml: str | None = None

    def __init__(
        self,
        folder: str | None = None,
        name: str | None = None,
        save_masks: bool = False,
        save_alphas: bool = False,
        cutouts: bool = False,
        coco_rle: bool = False,
        contact_sheet: int = 0,
    ) -> None:
        if contact_sheet < 0:
            raise ValueError(f"evaluation.contact_sheet: expected at least 0, got {contact_sheet}")
        if coco_rle:
            check_library()
        self.folder, self.name = folder, name
        self.save_masks, self.save_alphas, self.cutouts = save_masks, save_alphas, cutouts
        self.coco_rle, self.contact_sheet = coco_rle, contact_sheet
        self.failures: dict[str, str] = {}
        self._run: RunFolder | None = None

    # ---- beginning -----------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage not in ("test", "predict"):
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        self.stage = "test" if stage == "test" else "predict"  # it comes as an enumeration
        if not isinstance(pl_module, SampleModule):
            raise ValueError(
                f"model: expected one that makes masks of samples for `{self.stage}`, got {type(pl_module).__name__}"
            )
        if not isinstance(data, SampleData):
            raise ValueError(
                f"data: expected a data set for `{self.stage}`, e.g. `--config data/scenes.yaml` or `--data.manifest FILE`"
            )
        if self.stage == "predict":
            trainer.predict_loop.return_predictions = False  # they are files; thousands would not fit the memory
        self.data, self.failures = data, {}
        self.variant = self.name or pl_module.variant
        ids = data.ids()
        precision = str(trainer.precision)
        asked = plain_attributes(pl_module, data, precision) if self.config is None else decisive(self.config)
        identity = {"stage": self.stage, **asked, "weights": weights_digest(pl_module)}
        run = RunFolder(self._place(trainer, identity), identity)
        run.check()
        trainer.strategy.barrier("checked")
        if trainer.is_global_zero:
            run.open(self._about(trainer, pl_module), self.config_yaml)
            data.finished = run.finished(ids, self._needed())
        data.finished = trainer.strategy.broadcast(data.finished)
        if data.finished:
            rank_zero_info(f"{len(data.finished)} of {len(ids)} samples are finished already; going on in {run.path}")
        self._bar = SampleBar(trainer, len(data.share(trainer.global_rank, trainer.world_size)), self.stage)
        self._shown = MaskMetrics(sync_on_compute=False)
        pl_module.report = self._bar.report
        self._run = run

    def _place(self, trainer: Trainer, identity: dict[str, Any]) -> Path:
        if self.folder is not None:
            return Path(self.folder).expanduser()
        data = re.sub(r"Data$", "", type(self.data).__name__)
        words = re.findall(r"[a-z0-9]+", f"{self.variant} {data}".lower())
        return Path(trainer.default_root_dir) / "runs" / self.stage / "-".join([*words, digest(identity)])

    def _about(self, trainer: Trainer, module: SampleModule) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "model": type(module).__name__,
            "teacher": module.teacher_name,
            "data": type(self.data).__name__,
            "data_arguments": arguments_of(self.data) if self.config is None else decisive(self.config)["data"]["init_args"],
            "own_threshold": module.threshold,
            "precision": str(trainer.precision),
            "accelerator": type(trainer.accelerator).__name__,
            "command": command(),
            "versions": versions(),
        }

    def _needed(self) -> dict[str, str]:
        wanted = {"masks": self._masks, "alphas": self._alphas, "cutouts": self.cutouts}
        return {kind: ".png" for kind, needed in wanted.items() if needed}

    @property
    def _masks(self) -> bool:
        return self.save_masks or self.coco_rle or self.stage == "predict"

    @property
    def _alphas(self) -> bool:
        return self.save_alphas or self.contact_sheet > 0

    # ---- samples -------------------------------------------------------------------------------------------------------

    def _begin_batch(self, module: Any, batch: list[Sample | Failure]) -> None:
        self._bar.begin(len(batch), module.iterations)

    def _end_batch(self, outputs: list[tuple[Sample, Result] | Failure]) -> None:
        for item in outputs:
            if isinstance(item, Failure):
                self._folder.add(failed_row(item, self.data.group(item.id)))
                continue
            sample, result = item
            self._save(sample.id, result)
            row = make_row(sample, result, self.data.group(sample.id))
            self._folder.add(row)  # last: a sample with a row is finished
            if row["scores"] is not None:
                self._shown.update(Scores.from_rows([row["scores"]]))
        shown = self._shown.compute()
        self._bar.end(f"mIoU {shown['mIoU']:.3f}" if shown else "")

    def _save(self, name: str, result: Result) -> None:
        if self._masks:
            self._folder.save_picture("masks", name, to_picture(result.mask))
        if self._alphas:
            self._folder.save_picture("alphas", name, to_16_bit(result.alpha))
        if self.cutouts:
            import torch

            self._folder.save_picture("cutouts", name, to_picture(torch.cat([result.image, result.alpha[None]])))

    @property
    def _folder(self) -> RunFolder:
        assert self._run is not None
        return self._run

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        self._begin_batch(pl_module, batch)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self._end_batch(outputs)

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        self._begin_batch(pl_module, batch)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self._end_batch(outputs)

    # ---- end -----------------------------------------------------------------------------------------------------------

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._run is None or stage not in ("test", "predict"):
            return
        self._bar.close()
        trainer.strategy.barrier("samples")
        if trainer.is_global_zero:
            self.failures = self._finish()  # the first rank's exit code speaks for all
        self._run = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._run is None:
            return
        self._bar.close()
        if trainer.is_global_zero:
            done = len(self._run.finished(self.data.ids(), {}))
            rank_zero_info(f"stopped: {done} samples are finished in {self._run.path}; the same command goes on")

    def _finish(self) -> dict[str, str]:
        """Writes and prints what all ranks and all runs of the folder came to; returns the failures."""
        folder, ids = self._folder, self.data.ids()
        rows = folder.all(ids)
        about = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))
        about.pop("identity")
        write_text(folder.path / "samples.csv", samples_csv(rows))
        metrics = summarise(rows, len(ids), about)
        if self.stage == "test":
            write_text(folder.path / "metrics.json", json.dumps(metrics, indent=2) + "\n")
            print(f"\n{table(metrics)}")
        if self.coco_rle:
            write_coco(folder.path, rows)
        if self.contact_sheet:
            contact_sheet(folder, self.data, rows, self.contact_sheet)
        done = len(rows) - len(metrics["failed"])
        print(f"\n{done} of {len(ids)} samples in {metrics['seconds']:.1f} s; results in {folder.path}")
        for name, reason in metrics["failed"].items():
            print(f"failed: {name}: {reason}", file=sys.stderr)
        return metrics["failed"]
