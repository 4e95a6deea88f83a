"""Image and prompt to alpha: the LightningModule whose only trainable parameters are its alpha masks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.utils.data import DataLoader

from ..alphas.base import Alpha
from ..backgrounds.base import Background
from ..data.base import Sample
from ..data.input import Input
from ..evaluation.batching import SampleModule
from ..evaluation.runs import weights_digest
from ..functional.framing import Framing
from ..functional.random import pair_seeds
from ..functional.surroundings import Turns
from ..identity import describe as describe_value
from ..losses.base import Loss
from ..results.files import mask_pictures
from ..results.records import describe, versions
from ..results.result import Result, Threshold, fixed_threshold
from ..starts.base import Start
from ..teachers.confidence import Confidence
from .checkpoint import PROGRESS, check_same, go_on_after
from .judging import check_confidence, judged
from .objective import Objective
from .optimisation import Optimisation, Settings
from .optimizers import describe_optimizer

LENGTH = ("iterations", "settled")  # settings that may change when a fit goes on


class Segmenter(SampleModule):
    """Drives an :class:`Optimisation` of one alpha for every (image, prompt) pair (Peekaboo, algorithm 1).

    ``fit`` runs the pairs of ``input``, one Lightning step an iteration; ``test`` and ``predict`` run batches of a data set;
    :meth:`segment` runs pairs from Python. All three take the same step.

    Args:
        alpha: the parametrization.
        loss: judges the composites.
        background: what the composites are laid over.
        optimizer: of the alpha's parameters.
        input: what ``fit`` segments: ``image``, ``prompt`` and, if there is one, the ground truth ``mask``.
        start: gives each pair a map to begin at; None for the alpha's own random values, as published.
        penalty: lambda of the alpha penalty, in the published unit (see :class:`Objective`).
        normalise_gradient: see :class:`Objective`.
        iterations: steps of the optimisation.
        resolution: side in pixels of the alpha and of the composite.
        framing: ``stretch`` the image to the square, or ``crop`` its centre.
        threshold: of alpha for the mask, or ``otsu``.
        seed: of everything random in the masks; the same seed gives the same mask alone or in a batch.
        max_skipped: steps in a row with a NaN or infinite gradient that stop the run.
        settled: stop a pair before all ``iterations`` when its mask has, twice in a row, at least this IoU with its mask ten
            iterations before; None for all iterations. See :class:`peekaboo.optimisation.settling.Settling`.
        confidence: how sure the teacher is that there is what a mask shows, for the records; True for the calibration of the
            embedded teacher, False for none. Not in ``test``, unless there is a ``min_confidence``.
        min_confidence: in [0, 1]; a mask whose confidence is below it is empty. None for all masks as they are.
    """

    indifferent = frozenset({"input", "max_skipped"})

    def __init__(
        self,
        alpha: Alpha,
        loss: Loss,
        background: Background,
        optimizer: OptimizerCallable,
        input: Input | None = None,
        start: Start | None = None,
        penalty: float = 0.05,
        normalise_gradient: bool = False,
        iterations: int = 200,
        resolution: int = 128,
        framing: Framing = "stretch",
        threshold: Threshold = 0.5,
        seed: int = 0,
        max_skipped: int = 20,
        settled: float | None = None,
        confidence: Confidence | bool = True,
        min_confidence: float | None = None,
    ) -> None:
        super().__init__(seed)
        self.settings = Settings(iterations, resolution, framing, threshold, max_skipped, settled)
        self.alpha = alpha
        self.objective = Objective(loss, background, penalty, normalise_gradient)
        self.start = start
        self.make_optimizer = optimizer
        self.input = input or Input()
        self.optimisation: Optimisation | None = None
        self.precision = "32-true"
        self._turns = Turns()
        self.confidence = (Confidence() if confidence else None) if isinstance(confidence, bool) else confidence
        self.min_confidence = min_confidence
        check_confidence(min_confidence, self.confidence, loss.diffusion)

    @property
    def iterations(self) -> int:  # type: ignore[override]
        """Steps of an optimisation, for progress."""
        return self.settings.iterations

    @property
    def threshold(self) -> Threshold:  # type: ignore[override]
        """That makes a mask of an alpha."""
        return self.settings.threshold

    @property
    def variant(self) -> str:
        loss = type(self.objective.loss).__name__
        return describe(self.alpha) + ("" if loss == "ScoreDistillation" else f" {loss}")

    @property
    def teacher_name(self) -> str | None:
        return self.objective.loss.teacher_name

    def configuration(self, decisive: bool = False) -> dict[str, Any]:
        """As of any part; the optimiser, which is an argument that makes one, is described by what it makes."""
        found = super().configuration(decisive)
        found["init_args"]["optimizer"] = describe_optimizer(self.make_optimizer)
        return found

    # ---- from Python, and data sets ----------------------------------------------------------------------------------------

    def begin(self, pairs: list[Sample], seeds: list[int], start: Start | None = None, timelapse: bool = True) -> Optimisation:
        """Starts the alphas of N pairs; see :class:`Optimisation`."""
        parts = (self.alpha, self.objective, self.settings)
        context = self._forward_context
        self.optimisation = Optimisation(*parts, pairs, seeds, self.device, start or self.start, context, timelapse)
        return self.optimisation

    def segment(
        self,
        pairs: list[Sample],
        seeds: list[int],
        report: Callable[[int], None] | None = None,
        start: Start | None = None,
        timelapse: bool = True,
    ) -> list[Result]:
        """Optimises N pairs side by side and returns their masks; threads that share a segmenter take turns.

        Args:
            pairs: images of any size, with their prompts.
            seeds: one for each.
            report: is told the number of each finished step.
            start: in the place of the segmenter's own.
            timelapse: keep the alphas of some forty steps.
        """
        with self._turns, torch.inference_mode(False), torch.enable_grad():  # the trainer's test loop runs without gradients
            found = self.begin(pairs, seeds, start, timelapse).run(self.make_optimizer, report)
            return self._told(found)

    def masks_of(self, samples: list[Sample]) -> list[Result]:
        """Segments samples of a data set."""
        return self.segment(samples, [self.sample_seed(sample.id) for sample in samples], self.report, timelapse=False)

    def _forward_context(self) -> AbstractContextManager[Any]:
        with suppress(RuntimeError):  # Lightning's word for: no trainer has it
            return self.trainer.precision_plugin.forward_context()
        half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.precision)
        return torch.autocast(self.device.type, half, enabled=half is not None)

    # ---- fit: the pairs of one image -----------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage != "fit" and any(isinstance(part, Alpha) and part.coupled for part in self.alpha.modules()):
            raise ValueError(
                "alpha: expected maps that do not depend on one another where pairs are shared out over batches, "
                f"got {describe(self.alpha)}; use `fit` with several prompts, or peekaboo.segment"
            )
        if stage == "fit":
            pairs = self.input.pairs()
            self.to(self.trainer.strategy.root_device)  # the trainer moves the module only after this hook
            self.begin(pairs, pair_seeds(self.seed, len(pairs)))

    @property
    def running(self) -> Optimisation:
        """The optimisation that was begun last.

        Raises:
            RuntimeError: before there is one.
        """
        if self.optimisation is None:
            raise RuntimeError("segmenter: expected an optimisation that was begun, got none")
        return self.optimisation

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(self.iterations), batch_size=None)  # type: ignore[arg-type]  # the trainer counts, resumed or not

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(self.running.parameters())

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

    def scalars(self) -> dict[str, float]:
        """Numbers of the last step, to be plotted."""
        return self.running.scalars()

    def pictures(self) -> dict[str, Tensor]:
        """What there is to see now: each (N, 1 or 3, H, W) in [0, 1]."""
        return mask_pictures(self.running.images, self.running.opacity().detach(), fixed_threshold(self.threshold))

    def results(self, iterations: int) -> list[Result]:
        """The masks as they are now; see :meth:`Optimisation.results`."""
        return self._told(self.running.results(iterations))

    def _told(self, results: list[Result]) -> list[Result]:
        """Adds to their records how sure the teacher is, and what is needed to make them again."""
        if self.confidence is not None and (self.min_confidence is not None or not self._tests()):
            results = judged(results, self.running, self.confidence, self.min_confidence)
        precision = self.precision
        with suppress(RuntimeError):  # as above
            precision = str(self.trainer.precision)
        for result in results:
            result.record.update(precision=precision, configuration=self.configuration(decisive=True), versions=versions())
        return results

    def _tests(self) -> bool:
        with suppress(RuntimeError):  # as above
            return bool(self.trainer.testing)
        return False

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the alpha's parameters, how far the run has come, and of what; frozen networks come from where they came from."""
        trained = {f"alpha.{name}" for name, p in self.alpha.named_parameters() if p.requires_grad}
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
        """What two fits must share so that one can go on with the other's masks."""
        model = self.configuration(decisive=True)["init_args"]
        image = describe_value(self.running.images[0])["digest"]  # a fit has one, however many prompts
        fixed = {name: value for name, value in model.items() if name not in LENGTH}
        return {"image": image, "prompt": self.running.prompts, "weights": weights_digest(self), "model": fixed}
