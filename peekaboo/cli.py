"""LightningCLI with Peekaboo's defaults, bare config names, and errors of one line."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def main(args: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 1 for a user's mistake that was explained."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", module="lightning|torch|jsonargparse")
    logging.getLogger("lightning.pytorch").addFilter(_NoTips())
    args = [find_config(a) for a in (sys.argv[1:] if args is None else args)]
    try:
        run(args)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 1
    return 0


def run(args: list[str]) -> Any:
    """Builds the LightningCLI from arguments and runs its subcommand."""
    from lightning import LightningModule
    from lightning.pytorch.cli import LightningCLI, SaveConfigCallback

    from .callbacks import MaskBoard, SaveResults

    class LoggedConfig(SaveConfigCallback):
        """Saves the merged config beside the results, and its values to the logger as hyper-parameters."""

        def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
            if trainer.logger is not None:
                trainer.logger.log_hyperparams(self.config.as_dict())

    return LightningCLI(
        LightningModule,
        subclass_mode_model=True,
        save_config_callback=LoggedConfig,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        trainer_defaults={"max_epochs": 1, "callbacks": [MaskBoard(), SaveResults()], "use_distributed_sampler": False},
        args=args,
    )


class _NoTips(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "litlogger" not in record.getMessage().lower() and "Tip:" not in record.getMessage()


def find_config(argument: str) -> str:
    """Looks a bare config name up in ``configs/``: ``depth_bilateral.yaml``, ``teachers/sd15.yaml``, ``--config=x.yaml``."""
    prefix, name = ("--config=", argument[9:]) if argument.startswith("--config=") else ("", argument)
    if name.endswith((".yaml", ".yml")) and not Path(name).exists() and (CONFIGS / name).exists():
        return prefix + str(CONFIGS / name)
    return argument


def explain(error: Exception) -> str | None:
    """Returns one line for what a user can mend, or None for what is our own mistake."""
    import torch

    from .guard import GradientError

    if isinstance(error, torch.OutOfMemoryError):
        return (
            "out of GPU memory: lower the number of prompts or `--data.batch_size`, use `--trainer.precision bf16-mixed`, "
            "or a smaller `resolution` of the teacher"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    if isinstance(error, ValueError | FileNotFoundError | GradientError):
        return " ".join(str(error).split())
    return None
