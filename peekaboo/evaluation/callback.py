"""The callback that makes `test` and `predict` of a data set: rows as samples finish, tables and files at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from ..data.base import Failure, Sample, SampleData
from ..functional.run_lengths import library
from ..identity import digest
from ..results.drawing import to_picture
from ..results.files import local_folder, to_16_bit
from ..results.interruption import Interrupted, Interruption, forward
from ..results.latest import link_latest
from ..results.ranks import once
from ..results.records import command, versions
from ..results.result import Result
from ..results.writing import write_json, write_text
from .batching import NO_TRUTH, SampleModule
from .continuing import finished, provenance
from .ending import nothing_found, say_the_end
from .exports import Exports
from .folder import RunFolder
from .frames import as_files, unbroken, write_flicker, write_overlays
from .metrics import MaskMetrics, Scores
from .objects import write_object_maps
from .progress import SampleBar
from .rows import failed_row, make_row
from .runs import command_config, identity_of
from .sheet import contact_sheet
from .tables import samples_csv, summarise, table


class Evaluation(Callback):
    """Keeps every finished sample at once, goes on where an earlier run of the same command stopped, and makes the table.

    The folder is ``<default_root_dir>/runs/<test|predict>/<name>-<data>-<digest>``, where the digest stands for the constructor
    arguments of model and data, the precision, and the weights of the frozen networks: the same run finds its own folder,
    whether the command line or Python made it, and a changed one starts another.

    Args:
        folder: another place; refused if it holds a run of another configuration.
        name: of the run in tables and of its folder; None for what the model is made of.
        save_masks: write ``masks/<id>.png`` (0 / 255); always in ``predict``.
        save_alphas: write ``alphas/<id>.png`` (16 bit).
        cutouts: write ``cutouts/<id>.png`` (RGBA, alpha as its opacity).
        coco_rle, coco_polygons: write ``coco_rle.json``, ``coco_polygons.json``: all masks as a COCO data set.
        yolo: write ``yolo/``, the masks as a YOLO segmentation data set.
        labelme: write ``labelme/<image>.json``.
        object_maps: write ``objects/<id>.png``, the prompts of one image file as one map, and the alphas that it is made of; see
            :mod:`.objects`.
        polygon_tolerance: pixels that the polygons of these may be off by, for fewer points; 0 for none.
        contact_sheet: how many of each of the best, the median and the worst samples ``contact_sheet.png`` shows
            (image, ground truth, alpha, overlay); in ``predict`` of the largest, the median and the smallest masks; 0 for none.

    Attributes:
        failures: why samples failed, by id, when a run is over.
        nothing_found: whether all masks of a `predict` that is over are empty.
    """

    config_yaml: str | None = None  # set by the command line, which knows more than model and data

    def __init__(
        self,
        folder: str | None = None,
        name: str | None = None,
        save_masks: bool = False,
        save_alphas: bool = False,
        cutouts: bool = False,
        coco_rle: bool = False,
        object_maps: bool = False,
        contact_sheet: int = 0,
        coco_polygons: bool = False,
        yolo: bool = False,
        labelme: bool = False,
        polygon_tolerance: float = 0.0,
    ) -> None:
        if polygon_tolerance < 0:
            raise ValueError(f"evaluation.polygon_tolerance: expected pixels, 0 or more, got {polygon_tolerance}")
        if contact_sheet < 0:
            raise ValueError(f"evaluation.contact_sheet: expected at least 0, got {contact_sheet}")
        if coco_rle:
            library()
        self.folder, self.name = folder, name
        self.save_masks, self.save_alphas, self.cutouts = save_masks, save_alphas, cutouts
        self.object_maps, self.contact_sheet, self.polygon_tolerance = object_maps, contact_sheet, polygon_tolerance
        asked = {"coco_rle": coco_rle, "coco_polygons": coco_polygons, "yolo": yolo, "labelme": labelme}
        self.exports = [name for name, wanted in asked.items() if wanted]
        self.failures: dict[str, str] = {}
        self.nothing_found = False
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
                f"data: expected a data set for `{self.stage}`, e.g. `--config data/scenes` or `--data.manifest FILE`"
            )
        if self.stage == "test" and not data.scored:
            raise ValueError(NO_TRUTH)
        if pl_module.frame_by_frame and trainer.world_size > 1:
            raise ValueError(f"start: expected one process where frames begin at the last one's, got {trainer.world_size}")
        if self.stage == "predict":
            trainer.predict_loop.return_predictions = False  # they are files; thousands would not fit the memory
        self.data, self.module, self.failures = data, pl_module, {}
        self.variant, self.precision = self.name or pl_module.variant, str(trainer.precision)
        self.versions = versions()
        identity = identity_of(self.stage, pl_module, data, self.precision)
        run = RunFolder(self._place(trainer, identity), identity)
        data.finished = once(trainer, lambda: self._open(trainer, run))
        if self.folder is None and trainer.is_global_zero:
            link_latest(local_folder(trainer.default_root_dir, "trainer.default_root_dir"), run.path)
        self._run = run
        ids = data.ids()
        if pl_module.frame_by_frame:
            data.finished, alphas = unbroken(run, ids, data.finished)
            pl_module.begin_frames(alphas)
        if data.finished:
            rank_zero_info(f"{len(data.finished)} of {len(ids)} samples are finished already; going on in {run.path}")
        self._bar = SampleBar(trainer, len(data.share(trainer.global_rank, trainer.world_size)), self.stage)
        self._shown = MaskMetrics(sync_on_compute=False)
        self._interruption = Interruption()
        pl_module.report = self._bar.report

    def _open(self, trainer: Trainer, run: RunFolder) -> frozenset[str]:
        """Takes the folder, on one rank for all, and finds out what is finished in it.

        Raises:
            ValueError: where the folder is another's.
        """
        try:
            run.open(self._about(trainer), self.config_yaml or command_config(self.module, self.data, self.precision))
            return finished(run, self.data, self._kinds(), self.versions)
        except BaseException:
            run.close()
            raise

    def _place(self, trainer: Trainer, identity: dict[str, Any]) -> Path:
        if self.folder is not None:
            return local_folder(self.folder, "evaluation.folder")
        data = re.sub(r"Data$", "", type(self.data).__name__)
        words = re.findall(r"[a-z0-9]+", f"{self.variant} {data}".lower())
        root = local_folder(trainer.default_root_dir, "trainer.default_root_dir")
        return root / "runs" / self.stage / "-".join([*words, digest(identity)])

    def _about(self, trainer: Trainer) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "model": type(self.module).__name__,
            "teacher": self.module.teacher_name,
            "data": type(self.data).__name__,
            "data_arguments": self.data.configuration(decisive=True)["init_args"],
            "own_threshold": self.module.threshold,
            "precision": self.precision,
            "accelerator": type(trainer.accelerator).__name__,
            "command": command(),
            "versions": self.versions,
        }

    def _kinds(self) -> list[str]:
        """Returns the kinds of pictures that every sample gets."""
        frames = self.module.frame_by_frame
        masks = self.save_masks or bool(self.exports) or self.stage == "predict" or frames
        alphas = self.save_alphas or self.object_maps or self.contact_sheet > 0 or frames
        wanted = {"masks": masks, "alphas": alphas, "cutouts": self.cutouts}
        return [kind for kind, needed in wanted.items() if needed]

    # ---- samples -------------------------------------------------------------------------------------------------------

    def _end_batch(self, outputs: list[tuple[Sample, Result] | Failure]) -> None:
        for item in outputs:
            if isinstance(item, Failure):
                self._folder.add(failed_row(item, self.data.group(item.id)))
                continue
            sample, result = item
            self._save(sample.id, result)
            made_with = {"precision": self.precision, "device": str(self.module.device), "versions": self.versions}
            row = make_row(sample, result, self.data.group(sample.id)) | made_with
            self._folder.add(row)  # last: a sample with a row is finished
            if row["scores"] is not None:
                self._shown.update(Scores.from_rows([row["scores"]]))
        shown = self._shown.compute()
        self._bar.end(f"mIoU {shown['mIoU']:.3f}" if shown else "")

    def _save(self, name: str, result: Result) -> None:
        make = {
            "masks": lambda: to_picture(result.mask),
            "alphas": lambda: to_16_bit(result.alpha),
            "cutouts": lambda: result.cutout,
        }
        for kind in self._kinds():
            self._folder.save_picture(kind, name, make[kind]())

    @property
    def _folder(self) -> RunFolder:
        assert self._run is not None
        return self._run

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._interruption.listen()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._interruption.listen()

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        self._bar.begin(len(batch), self.module.iterations)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self._end_batch(outputs)

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        self._bar.begin(len(batch), self.module.iterations)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self._end_batch(outputs)

    # ---- end -----------------------------------------------------------------------------------------------------------

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._run is None or stage not in ("test", "predict"):
            return
        try:
            self._bar.close()
            trainer.strategy.barrier("samples")
            if trainer.is_global_zero:
                self.failures = self._finish()  # the first rank's exit code speaks for all
        finally:
            self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._run is None:
            return
        self._bar.close()
        if isinstance(exception, Interrupted):
            forward(trainer, exception.number)
        if trainer.is_global_zero:
            done, path = len(self._run.good(self.data.ids())), self._run.path
            why = f" by {exception}" if isinstance(exception, Interrupted) else ""
            rank_zero_info(f"stopped{why}: {done} samples are finished in {path}; the same command goes on")
        self._give_back()

    def _give_back(self) -> None:
        """Leaves nothing of the run in objects that are the caller's, nor in the folder that others wait for."""
        self._folder.close()
        self._run = None
        self.data.finished, self.module.report = frozenset(), None

    def _finish(self) -> dict[str, str]:
        """Writes and prints what all ranks and all runs of the folder came to; returns the failures."""
        folder, ids = self._folder, self.data.ids()
        rows = folder.all(ids)
        about = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))
        about.pop("identity")
        write_text(folder.path / "samples.csv", samples_csv(rows))
        metrics = summarise(rows, len(ids), about | provenance(rows))
        if self.stage == "test":
            write_json(folder.path / "metrics.json", metrics)
            print(f"\n{table(metrics)}")
        if self.object_maps:
            maps = write_object_maps(folder, rows)
            print(f"{len(maps)} maps of objects in {folder.path / 'objects'}")
        if self.exports:
            Exports(folder, as_files(folder, rows), self.module.finish, self.polygon_tolerance).write(self.exports)
        for film in write_overlays(folder, rows, self.module.finish):
            print(f"overlay in {film}")
        if self.module.frame_by_frame:
            for prompt, value in write_flicker(folder, rows).items():
                print(f"{prompt}: flicker {'-' if value is None else f'{value:.3f}'} (1 - IoU of neighbouring masks)")
        if self.contact_sheet:
            contact_sheet(folder, self.data, rows, self.contact_sheet, self.module.threshold)
        if self.stage == "predict":
            self.nothing_found = nothing_found(rows)
        say_the_end(self.stage, folder, rows, metrics)
        return metrics["failed"]
