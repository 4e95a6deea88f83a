"""What each of Lightning's loggers is told of a fit: its name, what it was made of, pictures on the way, what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor

from ..data.names import slug
from .files import to_picture
from .writing import write_picture

NAME = "lightning_logs"  # of the folder that runs are numbered in
COMPARED = "compared"  # the folder of what HPARAMS reads, inside the run's
RESULTS = ("result/iou", "result/area", "result/seconds", "result/iterations")  # what HPARAMS compares runs by
Facts = dict[str, str | int | float | bool]


class Beside:
    """A logger of Lightning's that writes beside the results, wherever they are, unless the user names another place.

    Attributes:
        folder: of the results, once it is known; None before, and where the user named a place.
        placed: whether the user did.
    """

    folder: Path | None = None
    placed = False

    @property
    def log_dir(self) -> str:
        """The folder of the run."""
        return str(super().log_dir if self.folder is None else self.folder)  # type: ignore[misc]

    @property
    def root_dir(self) -> str:
        """The folder that it is in."""
        return str(super().root_dir if self.folder is None else self.folder.parent)  # type: ignore[misc]


class CSV(Beside, CSVLogger):
    """Writes ``metrics.csv`` and ``hparams.yaml`` beside the results of a fit.

    Args:
        save_dir, name, version: of another place, ``save_dir/name/version_N``; None for the folder of the results.
        flush_logs_every_n_steps: how often they are written.
    """

    def __init__(
        self,
        save_dir: str | Path | None = None,
        name: str | None = None,
        version: int | str | None = None,
        flush_logs_every_n_steps: int = 100,
    ) -> None:
        super().__init__(
            save_dir or ".", NAME if name is None else name, version, flush_logs_every_n_steps=flush_logs_every_n_steps
        )
        self.placed = (save_dir, name, version) != (None, None, None)


class TensorBoard(Beside, TensorBoardLogger):
    """Keeps the events of a fit in a folder of their own, whose name is the run's name in TensorBoard.

    ``lightning_logs/version_4/a-dog_beach`` says more in its list than ``lightning_logs/version_4``, where the results are.

    Args:
        save_dir, name, version: of another place, ``save_dir/name/version_N``; None for the folder of the results.
        run: name of the run; empty for one of prompt and image (see :func:`run_name`).
        rest: of TensorBoard's ``SummaryWriter``.
    """

    def __init__(
        self,
        save_dir: str | Path | None = None,
        name: str | None = None,
        version: int | str | None = None,
        run: str = "",
        **rest: Any,
    ) -> None:
        super().__init__(save_dir or ".", NAME if name is None else name, version, default_hp_metric=False, **rest)
        self.placed = (save_dir, name, version) != (None, None, None)
        self.run = run
        self.rest = {name: value for name, value in rest.items() if name not in ("log_graph", "prefix", "sub_dir")}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of events, made when it is first asked for."""
        if self._experiment is None:
            from torch.utils.tensorboard import SummaryWriter

            self._experiment = SummaryWriter(log_dir=str(Path(self.log_dir, self.run)), **self.rest)
        return self._experiment


def run_name(prompts: str | list[str] | None, image: str | None = None) -> str:
    """Names a run by what is sought, and in which image.

    >>> run_name("a red apple", "photos/table 1.jpg"), run_name(["a", "b", "c", "d", "e"], "zoo.png")
    ('a-red-apple_table-1', 'a_b_c_and-2-more_zoo')
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts or [])
    parts = [slug(text, 40) for text in texts[:3]]
    parts += [f"and-{len(texts) - 3}-more"] if len(texts) > 3 else []
    return "_".join([*parts, slug(Path(image).stem, 40)] if image else parts)


def settings(config: dict[str, Any], start: str = "") -> Facts:
    """Flattens the configuration of a part into names and plain values: ``alpha: Bilateral``, ``alpha.passes: 40``.

    What is None is left out, and so is the input, which :func:`describe_run` has in another form.

    >>> settings({"class_path": "a.B", "init_args": {"lr": 0.1, "alpha": {"class_path": "c.Raster", "init_args": {}}, "x": None}})
    {'lr': 0.1, 'alpha': 'Raster'}
    """
    found: Facts = {}
    for key, value in config.get("init_args", {}).items():
        name = start + key
        if name == "input":
            continue
        if isinstance(value, dict) and "class_path" in value:
            found[name] = str(value["class_path"]).rpartition(".")[2]
            found |= settings(value, f"{name}.")
        elif isinstance(value, bool | int | float | str):
            found[name] = value
        elif value is not None:
            found[name] = str(value)
    return found


def name_run(logger: Logger, name: str) -> None:
    """Gives a run its name, unless the user has given it one; before the logger's first word where that is too late."""
    if isinstance(logger, TensorBoard):
        logger.run = logger.run or name
    elif isinstance(logger, WandbLogger) and not logger._wandb_init.get("name"):
        logger._wandb_init["name"] = name
    elif isinstance(logger, MLFlowLogger) and logger._run_name is None:
        logger._run_name = name


def describe_run(logger: Logger, facts: Facts, title: str) -> None:
    """Tells a logger what is about to run, as hyper-parameters and, where it shows text, as a table.

    Args:
        logger: any.
        facts: by name.
        title: line above the table: the command, say.
    """
    if not isinstance(logger, TensorBoardLogger):
        logger.log_hyperparams(facts)
        return
    logger.hparams.update(facts)  # for hparams.yaml
    _compare(logger, facts)
    rows = [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    logger.experiment.add_text("run", "\n".join([f"`{title}`", "", "| setting | value |", "|---|---|", *rows]), 0)


def _compare(logger: TensorBoardLogger, facts: dict[str, Any], measures: dict[str, float] | None = None) -> None:
    """Adds the run to TensorBoard's HPARAMS, by its settings alone, or by what came of it.

    It is done by hand. The logger's own way writes a measure of -1 at the start. PyTorch's way declares what there is to
    compare, and TensorBoard then takes the first run's word for all runs; without it, it finds out itself what differs between
    them, and shows that first. The measures are in a folder of their own, or all curves would count as some.

    Args:
        logger: of the run.
        facts: its settings.
        measures: what it is compared by, at its end; None at its start.
    """
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    _, start, end = hparams(facts, {})
    with SummaryWriter(str(Path(logger.experiment.get_logdir(), COMPARED))) as writer:
        for name, value in (measures or {}).items():
            writer.add_scalar(name, value)
        writer._get_file_writer().add_summary(start if measures is None else end)


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")


def show_pictures(logger: Logger, name: str, pictures: Tensor, step: int) -> None:
    """Shows pictures wherever a logger shows some; files in the folder ``pictures`` where it keeps only numbers.

    Args:
        logger: any; one of a kind that is not known here gets none.
        name: of what they show: ``alpha``.
        pictures: (N, 1 or 3, H, W) in [0, 1].
        step: of the fit.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_images(name, pictures, step)
        if name.split("/")[0] == "alpha":
            logger.experiment.add_histogram(f"opacity{name.removeprefix('alpha')}", pictures, step)
        return
    drawn = [to_picture(picture[0] if len(picture) == 1 else picture) for picture in pictures]
    if isinstance(logger, WandbLogger):
        logger.log_image(name, drawn, step=step)
    elif isinstance(logger, MLFlowLogger):
        for number, picture in enumerate(drawn):
            key = f"{name}_{number}" if len(drawn) > 1 else name
            logger.experiment.log_image(logger.run_id, picture, key=key, step=step)
    elif isinstance(logger, CSVLogger):
        for number, picture in enumerate(drawn):
            folder = Path(logger.log_dir, "pictures", f"{name}_{number}" if len(drawn) > 1 else name)
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(folder / f"{step:05}.png", picture)


def tell_results(loggers: Iterable[Logger], results: Sequence[Any], step: int) -> None:
    """Tells loggers what came of a fit: the measures by which its runs are compared, and a table with a row a prompt.

    Args:
        loggers: any.
        results: of the prompts.
        step: the last.
    """
    rows = [_measures(result) for result in results]
    known = {name: [row[name] for row in rows if name in row] for name in RESULTS}
    means = {name: sum(values) / len(values) for name, values in known.items() if values}
    columns = [name for name in RESULTS if known[name]]
    lines = [
        "| " + " | ".join([_cell(result.prompt), *(_cell(row.get(name, "")) for name in columns)]) + " |"
        for result, row in zip(results, rows, strict=True)
    ]
    head = ["prompt", *(name.removeprefix("result/") for name in columns)]
    table = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines]
    for logger in loggers:
        logger.log_metrics(means, step)
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("result", "\n".join(table), step)
            _compare(logger, dict(logger.hparams), means)  # type: ignore[call-overload, arg-type]


def _measures(result: Any) -> dict[str, float]:
    found = {f"result/{name}": float(result.record[name]) for name in ("seconds", "iterations") if name in result.record}
    if getattr(result, "iou", None) is not None:
        found["result/iou"] = result.iou
    return {**found, "result/area": result.area}
