"""LightningCLI with this project's callbacks: logging for `fit`, an evaluation for `test` and `predict`."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, set_dumper
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ..data.base import SampleData
from ..evaluation import Evaluation
from ..evaluation.batching import SampleModule, best_device, check_precision, usable_precision
from ..optimisation.checkpoint import find_checkpoint
from ..optimisation.fitted import Fitted
from ..results.bar import FitBar
from ..results.board import MaskBoard
from ..results.files import local_folder
from ..results.loggers import Facts, describe_run, name_run, run_name, settings
from ..results.records import command
from ..results.saving import SaveResults, claim_folder, run_folder
from ..results.shown import Checked, Shown
from ..results.writing import write_text
from .arguments import arrange
from .configs import ConfigFile
from .messages import one_line, suggestion
from .short import NAMED, OF_DATA, OF_FIT, SHORT


class _Dumper(yaml.SafeDumper):
    """Quotes texts that the parser's loader, which knows more ways to write a number than PyYAML, would read as one: 1e5."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9_.]+[eE][-+]?[0-9]+"), list("-+.0123456789"))


def dump(content: Any) -> str:
    """Writes YAML out of which the parser reads just that.

    >>> dump({"prompt": "1e5", "rate": 1e-05})
    "prompt: '1e5'\\nrate: 1.0e-05\\n"
    """
    return yaml.dump(content, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


set_dumper("yaml", dump)


class LoggedConfig(SaveConfigCallback):
    """Saves the merged config of a fit beside its results, and its values to the logger as hyper-parameters."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # an evaluation keeps its own
            callbacks = trainer.callbacks  # type: ignore[attr-defined]
            folders = [callback.folder for callback in callbacks if isinstance(callback, SaveResults)]
            self._folder = next(iter(folders), None) or run_folder(trainer)
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._folder / "config.yaml", self.parser.dump(self.config, skip_none=False))
        config = self.config.as_dict()
        model, source = config.get("model") or {}, getattr(pl_module, "input", None)
        prompts, image = getattr(source, "prompt", None), getattr(source, "image", None)
        facts: Facts = {"prompt": ", ".join([prompts] if isinstance(prompts, str) else prompts)} if prompts else {}
        facts |= {"image": Path(image).name} if image else {}
        facts |= {**settings(model), "precision": str(trainer.precision)}
        for logger in trainer.loggers:
            describe_run(logger, facts, command())


class CommandLine(LightningCLI):
    """`fit`, `test` and `predict`, with `--evaluation.*` beside `--model.*`, `--data.*` and `--trainer.*`."""

    def __init__(self, args: list[str], verbose: bool = False) -> None:
        self._asked = args[0] if args else None
        self._saving = SaveResults()
        own = {"callbacks": [MaskBoard(), self._saving], "enable_model_summary": verbose}
        super().__init__(
            LightningModule,
            parser_kwargs={"exit_on_error": False, **{name: {"exit_on_error": False} for name in self.subcommands()}},
            subclass_mode_model=True,
            save_config_callback=LoggedConfig,
            save_config_kwargs={"save_to_log_dir": False},
            seed_everything_default=False,
            auto_configure_optimizers=False,
            trainer_defaults={"max_epochs": 1, "use_distributed_sampler": False, **own},
            args=arrange(args),
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Lightning's own, with our way of laying configs over one another."""
        parser = LightningArgumentParser(**kwargs)
        parser.add_argument("-c", "--config", action=ConfigFile, help="Path to a configuration file in YAML.")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and reads a fit's checkpoint before Lightning does, which would say what PyTorch says.

        Raises:
            ValueError, FileNotFoundError: for a checkpoint that is wrong or missing.
        """
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            raise ArgumentError(None, one_line(str(error)) + suggestion(str(error), self._options())) from error
        self._take_place()
        config = self.config.get("fit")
        if config is not None and config.ckpt_path is not None:
            config.ckpt_path = str(find_checkpoint(config.ckpt_path))
            config.weights_only = True  # nothing that could run

    def _options(self) -> list[str]:
        """Of the subcommand that was asked for, and short ones."""
        parsers = self._subcommand_parsers.get(self._asked or "", None)
        ours = [] if parsers is None else [option for action in parsers._actions for option in action.option_strings]
        return [*ours, *SHORT, *OF_FIT, *NAMED] if self._asked == "fit" else [*ours, *SHORT, *OF_DATA, *NAMED]

    def _take_place(self) -> None:
        """Takes ``--output`` and ``--name`` out of the configuration: they are of one run, and not of those that repeat it.

        Raises:
            ValueError: for both, or for a name that is a path.
        """
        command = str(self.config.subcommand)  # not an attribute yet
        config = self.config[command]
        output, name = config.pop("output"), config.pop("name")
        if output is not None and name is not None:
            raise ValueError("output, name: expected one of them, got both")
        if name is not None and (not name.strip() or Path(name).name != name):
            raise ValueError(f"name: expected the name of a folder, got {name!r}; --output takes a path")
        if command == "fit":
            self._saving.output, self._saving.name = output, name
        elif output is not None:
            config.evaluation.folder = output
        elif name is not None:
            root = local_folder(config.trainer.default_root_dir or ".", "trainer.default_root_dir")
            config.evaluation.folder = str(root / "runs" / command / name)

    def subcommands(self) -> dict[str, set[str]]:
        """Only what was asked for, since each costs the time of a parser; all of ours where that is none of them."""
        ours = {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "validate"}
        return {self._asked: ours[self._asked]} if self._asked in ours else ours

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--output", type=str | None, default=None, help="Folder for the results.")
        parser.add_argument("--name", type=str | None, default=None, help="Name of their folder, in the usual place.")
        if self._asked != "fit":  # which evaluates nothing, so that its arguments would be ignored
            parser.add_lightning_class_args(Evaluation, "evaluation")

    @property
    def evaluation(self) -> Evaluation | None:
        """The run's evaluation; None in a fit."""
        return None if self.subcommand == "fit" else self.config_init[str(self.subcommand)].evaluation

    @property
    def nothing_found(self) -> bool:
        """Whether all masks that were made are empty."""
        return self._saving.nothing_found if self.evaluation is None else self.evaluation.nothing_found

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Says in this project's way what Lightning says about wrong arguments of its trainer.

        Raises:
            ValueError: for a device that is not there, say.
        """
        asked = self.config[str(self.subcommand)].trainer
        if asked.default_root_dir is not None:
            kwargs["default_root_dir"] = str(local_folder(asked.default_root_dir, "trainer.default_root_dir"))
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, TypeError) as error:
            raise ValueError(f"trainer: {error}") from error
        except RuntimeError as error:
            if "SLURM" not in str(error) and "--ntasks" not in str(error):
                raise
            raise ValueError(f"trainer: {error}") from error
        for kind in (MaskBoard, SaveResults):  # a user's own, with other arguments, stand before ours
            callbacks = trainer.callbacks  # type: ignore[attr-defined]
            for double in [callback for callback in callbacks if isinstance(callback, kind)][1:]:
                callbacks.remove(double)
        self._saving = next(callback for callback in callbacks if isinstance(callback, SaveResults))
        self._show_iterations(trainer)
        return trainer

    def _show_iterations(self, trainer: Trainer) -> None:
        """Puts the bar of a fit in the place of Lightning's, which counts epochs, and before what writes the results."""
        theirs = trainer.progress_bar_callback
        asked = self.config_init[str(self.subcommand)].trainer.callbacks or []
        asked = asked if isinstance(asked, list) else [asked]
        if theirs is None or theirs in asked or not isinstance(self.model, Shown) or self.subcommand != "fit":
            return
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        callbacks.remove(theirs)
        callbacks.insert(0, FitBar())

    def before_instantiate_classes(self) -> None:
        config = self.config[str(self.subcommand)]
        if self.subcommand in ("test", "predict") and config.trainer.logger is None:
            config.trainer.logger = False  # the evaluation's folder is the record
        if config.trainer.precision is not None:
            place = best_device() if config.trainer.accelerator in ("auto", "gpu") else config.trainer.accelerator
            config.trainer.precision = usable_precision(config.trainer.precision, place)
        _link_seed(config)

    def instantiate_classes(self) -> None:
        """Builds everything, and from then on lets garbage be collected: `peekaboo.command_line.entry.script` had not."""
        super().instantiate_classes()
        gc.enable()

    def before_fit(self) -> None:
        """Finds out what is wrong with the input before the run has a folder.

        Raises:
            ValueError, FileNotFoundError: for an image, a mask, a prompt or a checkpoint that is wrong or missing.
        """
        if isinstance(self.datamodule, SampleData) and not isinstance(self.model, Checked):  # which says so itself
            raise ValueError(
                "data: expected none for `fit`, which segments the one image of `--model.image`; `predict` segments a data set"
            )
        if isinstance(self.model, Fitted):
            check_precision(self.trainer.precision)
            if self.trainer.max_epochs != 1:
                raise ValueError(
                    f"trainer.max_epochs: expected 1, got {self.trainer.max_epochs}; model.iterations is how long a fit is"
                )
            self.model.check_input()
        elif isinstance(self.model, Checked):
            self.model.check_fit(self.datamodule, self.trainer)
        claim_folder(self.trainer, self._saving, self.config.fit.trainer.logger in (None, True))
        source = getattr(self.model, "input", None)
        for logger in self.trainer.loggers:
            name_run(logger, run_name(getattr(source, "prompt", None), getattr(source, "image", None)))

    def before_test(self) -> None:
        """Gives the evaluation the configuration that repeats the run.

        Raises:
            ValueError: for a model that makes no masks of samples, or a checkpoint, which has one image's alpha.
        """
        if isinstance(self.model, Fitted) and not isinstance(self.model, SampleModule):
            raise ValueError(
                f"model: expected a segmenter or a baseline for `{self.subcommand}`, got {type(self.model).__name__}; "
                "`fit` runs it"
            )
        if self.config[str(self.subcommand)].ckpt_path is not None:
            raise ValueError(
                f"ckpt_path: expected none for `{self.subcommand}`, which begins every alpha anew; the same command goes on "
                "where it was stopped"
            )
        asked = yaml.safe_load(self.parser.dump(self.config, skip_none=False))[str(self.subcommand)]
        assert self.evaluation is not None
        self.evaluation.config_yaml = dump(asked)

    before_predict = before_test


def _link_seed(config: Any) -> None:
    """Makes ``seed_everything`` and the seed of a model that has one of its own the same.

    Raises:
        ValueError: if both are given, and differ.
    """
    arguments = config.model.get("init_args")
    if arguments is None or "seed" not in arguments:
        return
    seed = config.seed_everything
    if seed and not isinstance(seed, bool):
        if arguments.seed not in (0, seed):
            raise ValueError(f"seed_everything: expected none beside model.seed {arguments.seed}, got {seed}")
        arguments.seed = seed
    seed_everything(arguments.seed, verbose=False)  # for classes of the user's own
