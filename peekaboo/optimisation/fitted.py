"""An optimisation as a LightningModule: what `fit` does, whatever it is that is optimised."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from ..evaluation.batching import InPrecision
from ..evaluation.runs import weights_digest
from ..functional.surroundings import Turns
from ..identity import Configured
from ..results.records import versions
from .checkpoint import PROGRESS, check_same, go_on_after
from .optimisation import MakeOptimizer, Optimisation, Settings
from .optimizers import describe_optimizer

LENGTH = ("iterations", "settled")  # settings that may change when a fit goes on


class Fitted(Configured, InPrecision):
    """Drives an :class:`Optimisation` by a trainer: one Lightning step an iteration, resumed, accumulated and on several devices.

    Subclasses set ``settings`` and ``make_optimizer`` in their constructor, and ``optimisation`` when they begin one.
    """

    strict_loading = False  # the frozen networks are in no checkpoint
    settings: Settings
    make_optimizer: MakeOptimizer
    optimisation: Optimisation | None = None
    _turns: Turns

    @property
    def iterations(self) -> int:
        """Steps of an optimisation, for progress."""
        return self.settings.iterations

    @abstractmethod
    def check_input(self) -> None:
        """Finds out what is wrong with what is to be fitted, before anything is begun or written.

        Raises:
            ValueError, FileNotFoundError: in one line.
        """

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What, beside the model, a fit must share with another to go on with its checkpoint: plain values."""

    @property
    def running(self) -> Optimisation:
        """The optimisation that was begun last.

        Raises:
            RuntimeError: before there is one.
        """
        if self.optimisation is None:
            raise RuntimeError("model: expected an optimisation that was begun, got none")
        return self.optimisation

    def configuration(self, decisive: bool = False) -> dict[str, Any]:
        """As of any part; the optimiser, which is an argument that makes one, is described by what it makes."""
        found = super().configuration(decisive)
        found["init_args"]["optimizer"] = describe_optimizer(self.make_optimizer)
        return found

    # ---- the trainer's loop --------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(self.iterations), batch_size=None)  # type: ignore[arg-type]  # the trainer counts, resumed or not

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(self.running.groups())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One step; its number goes on where a resumed run stopped, and is another for accumulated gradients."""
        return self.running.terms(batch_idx, self.global_rank, self.trainer.world_size)["total"].sum()

    def on_after_backward(self) -> None:
        self.running.after_backward()  # before a scaler sees it

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.running.before_step()

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """Steps, and takes back what a momentum did to skipped pairs before anybody looks at the alpha or saves it."""
        super().optimizer_step(*args, **options)
        if self.running.after_step():
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        self.running.guard.at_the_end()  # before anything is written

    # ---- what there is to see ------------------------------------------------------------------------------------------------

    def scalars(self) -> dict[str, float]:
        """Numbers of the last step, to be plotted."""
        return self.running.scalars()

    def results(self, iterations: int) -> list[Any]:
        """What there is now; see the optimisation's own ``results``."""
        return self.told(self.running.results(iterations))

    def told(self, results: Sequence[Any]) -> list[Any]:
        """Adds to the records of results what is needed to make them again."""
        precision = self.precision
        with suppress(RuntimeError):  # Lightning's word for: no trainer has it
            precision = str(self.trainer.precision)
        for result in results:
            result.record.update(precision=precision, configuration=self.configuration(decisive=True), versions=versions())
        return list(results)

    # ---- going on ------------------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the parameters that train, how far the run has come, and of what; frozen networks come from their sources."""
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}
        length = {name: getattr(self.settings, name) for name in LENGTH}
        checkpoint[PROGRESS] = {"of": self._set_up(), "length": length, "optimisation": self.running.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with a run's time-lapse, its clock, and the pairs that had settled; the trainer loads the parameters.

        Raises:
            ValueError: for a checkpoint of something else, or of a fit that is over and is to be no longer.
        """
        if self.optimisation is None:  # `test` and `predict` begin each alpha anew
            return
        if PROGRESS not in checkpoint:
            raise ValueError("ckpt_path: expected a checkpoint of a fit, got one of something else")
        progress = checkpoint[PROGRESS]
        check_same(progress["of"], self._set_up())
        done = checkpoint["global_step"] * self.trainer.accumulate_grad_batches
        longer = self.iterations > progress["length"]["iterations"] or self.settings.settled != progress["length"]["settled"]
        settled = all(at is not None for at in progress["optimisation"]["settling"]["settled_at"])
        if done >= self.iterations or (settled and not longer):
            raise ValueError(
                f"ckpt_path: expected a fit that is not over, got one after {done} iterations"
                f"{', whose masks have settled' if settled else ''}; `--model.iterations` with more than "
                f"{max(done, progress['length']['iterations'])} goes on"
            )
        go_on_after(checkpoint, done)
        self.optimisation.load_state_dict(progress["optimisation"], judge_anew=longer)

    def _set_up(self) -> dict[str, Any]:
        """What two fits must share so that one can go on where the other stopped."""
        model = self.configuration(decisive=True)["init_args"]
        fixed = {name: value for name, value in model.items() if name not in (*LENGTH, "finish")}  # what comes behind it
        return {**self.about(), "weights": weights_digest(self), "model": fixed}
