"""LightningCLI with this project's callbacks: logging for `fit`, an evaluation for `test` and `predict`."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ..evaluation import Evaluation
from ..evaluation.batching import check_precision
from ..optimisation.segmenter import Segmenter
from ..results.board import MaskBoard
from ..results.saving import SaveResults
from .configs import ConfigFile, named_configs, read_config

#: Data classes that an argument alone stands for, where neither `--data` nor a config names one.
DATA_OF = {
    "--data.manifest": "peekaboo.data.manifest.ManifestData",
    "--data.images": "peekaboo.data.image_folder.ImageFolderData",
}


def with_data_class(args: list[str]) -> list[str]:
    """Lets ``--data.images FOLDER`` and ``--data.manifest FILE`` do without naming a data class.

    >>> with_data_class(["predict", "--data.images", "photos"])
    ['predict', '--data', 'peekaboo.data.image_folder.ImageFolderData', '--data.images', 'photos']
    """
    flags = [a.split("=")[0] for a in args]
    standing = [(place, flag) for place, flag in enumerate(flags) if flag in DATA_OF]
    if not standing or "--data" in flags or any("data" in read_config(config) for config in named_configs(args)):
        return args
    place, flag = standing[0]
    return [*args[:place], "--data", DATA_OF[flag], *args[place:]]


class LoggedConfig(SaveConfigCallback):
    """Saves the merged config of a fit beside its results, and its values to the logger as hyper-parameters."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # an evaluation keeps its own
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.logger is not None:
            trainer.logger.log_hyperparams(self.config.as_dict())


class CommandLine(LightningCLI):
    """`fit`, `test` and `predict`, with `--evaluation.*` beside `--model.*`, `--data.*` and `--trainer.*`."""

    def __init__(self, args: list[str]) -> None:
        self._asked = args[0] if args else None
        super().__init__(
            LightningModule,
            parser_kwargs={"exit_on_error": False, **{name: {"exit_on_error": False} for name in self.subcommands()}},
            subclass_mode_model=True,
            save_config_callback=LoggedConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            trainer_defaults={"max_epochs": 1, "callbacks": [MaskBoard(), SaveResults()], "use_distributed_sampler": False},
            args=with_data_class(args),
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Lightning's own, with our way of laying configs over one another."""
        parser = LightningArgumentParser(**kwargs)
        parser.add_argument("-c", "--config", action=ConfigFile, help="Path to a configuration file in YAML.")
        return parser

    def subcommands(self) -> dict[str, set[str]]:
        """Only what was asked for, since each costs the time of a parser; all of ours where that is none of them."""
        ours = {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "validate"}
        return {self._asked: ours[self._asked]} if self._asked in ours else ours

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(Evaluation, "evaluation")

    @property
    def evaluation(self) -> Evaluation:
        """The run's evaluation, which has nothing to do in a fit."""
        return self._get(self.config_init, "evaluation")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Says in this project's way what Lightning says about wrong arguments of its trainer.

        Raises:
            ValueError: for a device that is not there, say.
        """
        asked = self.config[str(self.subcommand)].trainer
        if self.subcommand == "fit" and asked.logger is False and asked.default_root_dir is None:
            kwargs["default_root_dir"] = CSVLogger("").log_dir  # the next version_N; else the results would lie in the way
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, TypeError) as error:
            raise ValueError(f"trainer: {error}") from error

    def before_instantiate_classes(self) -> None:
        config = self.config[str(self.subcommand)]
        if self.subcommand in ("test", "predict") and config.trainer.logger is None:
            config.trainer.logger = False  # the evaluation's folder is the record

    def instantiate_classes(self) -> None:
        """Builds everything, and from then on lets garbage be collected: `peekaboo.command_line.entry.script` had not."""
        super().instantiate_classes()
        gc.enable()

    def before_fit(self) -> None:
        """Finds out what is wrong with the input before the run has a folder.

        Raises:
            ValueError, FileNotFoundError: for an image, a mask, a prompt or a checkpoint that is wrong or missing.
        """
        checkpoint = self.config.fit.ckpt_path
        if checkpoint is not None and not Path(checkpoint).is_file():  # nor an address: a checkpoint is not downloaded
            raise FileNotFoundError(f"ckpt_path: expected a checkpoint file, got {checkpoint!r}, which does not exist")
        if isinstance(self.model, Segmenter):
            check_precision(self.trainer.precision)
            self.model.input.pairs()

    def before_test(self) -> None:
        """Tells the evaluation what was asked for, so that it knows its own folder again.

        Raises:
            ValueError: for a checkpoint, which has one image's alpha.
        """
        if self.config[str(self.subcommand)].ckpt_path is not None:
            raise ValueError(
                f"ckpt_path: expected none for `{self.subcommand}`, which begins every alpha anew; the same command goes on "
                "where it was stopped"
            )
        self.evaluation.config_yaml = self._parser(self.subcommand).dump(self.config[str(self.subcommand)], skip_none=False)
        loaded: dict[str, Any] = yaml.safe_load(self.evaluation.config_yaml)
        self.evaluation.config = loaded

    before_predict = before_test
