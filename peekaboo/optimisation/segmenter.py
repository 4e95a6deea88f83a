"""Image and prompt to alpha: the LightningModule whose only trainable parameters are its alpha masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from ..alphas.base import Alpha
from ..backgrounds.base import Background
from ..data.base import Sample
from ..data.film import frame_of
from ..data.input import Input
from ..data.names import labels
from ..evaluation.batching import SampleModule
from ..functional.framing import Framing
from ..functional.random import pair_seeds
from ..functional.surroundings import Turns
from ..identity import describe as describe_value
from ..losses.base import Loss
from ..results.files import mask_pictures
from ..results.finish import Finish
from ..results.records import describe
from ..results.result import Result, Threshold, fixed_threshold
from ..starts import Previous, Start
from ..teachers.confidence import Confidence
from ..teachers.familiarity import unfamiliar
from .fitted import Fitted
from .judging import check_confidence, judged
from .objective import Objective
from .optimisation import Optimisation, Report, Settings

log = logging.getLogger(__name__)


class Segmenter(Fitted, SampleModule):
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
        finish: how alphas become cut-outs and exports; None for :class:`peekaboo.results.finish.Finish` as it is.
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
        finish: Finish | None = None,
    ) -> None:
        super().__init__(seed)
        self.settings = Settings(iterations, resolution, framing, threshold, max_skipped, settled, finish or Finish())
        self.alpha = alpha
        self.objective = Objective(loss, background, penalty, normalise_gradient)
        self.start = start
        self.make_optimizer = optimizer
        self.input = input or Input()
        self._turns = Turns()
        self._unfamiliar: list[dict[str, Any]] = []
        self._said_photograph = False
        self.confidence = (Confidence() if confidence else None) if isinstance(confidence, bool) else confidence
        self.min_confidence = min_confidence
        check_confidence(min_confidence, self.confidence, loss.diffusion)

    @property
    def threshold(self) -> Threshold:  # type: ignore[override]
        """That makes a mask of an alpha."""
        return self.settings.threshold

    @property
    def finish(self) -> Finish:  # type: ignore[override]
        """That makes cut-outs and exports."""
        return self.settings.finish

    @property
    def variant(self) -> str:
        loss = type(self.objective.loss).__name__
        return describe(self.alpha) + ("" if loss == "ScoreDistillation" else f" {loss}")

    @property
    def teacher_name(self) -> str | None:
        return self.objective.loss.teacher_name

    def lasting(self, iterations: int) -> Segmenter:
        """Returns this segmenter with another number of iterations; they share networks and alphas, and take turns.

        Raises:
            ValueError: for fewer than one.
        """
        other = self._made_with(iterations=iterations)
        other.settings, other.optimisation = replace(self.settings, iterations=iterations), None
        return other

    # ---- from Python, and data sets ----------------------------------------------------------------------------------------

    def begin(self, pairs: list[Sample], seeds: list[int], start: Start | None = None, timelapse: bool = True) -> Optimisation:
        """Starts the alphas of N pairs; see :class:`Optimisation`."""
        parts = (self.alpha, self.objective, self.settings)
        context = self.forward_context
        self.optimisation = Optimisation(*parts, pairs, seeds, self.device, start or self.start, context, timelapse)
        self._unfamiliar = self._what_is_unfamiliar(pairs)
        return self.optimisation

    def _what_is_unfamiliar(self, pairs: list[Sample]) -> list[dict[str, Any]]:
        """Finds out what the embedded models do not know, and says it of photographs before anything is optimised.

        Of a data set it says the first; the evaluation counts them.
        """
        known = getattr(self.objective.loss.diffusion, "known_words", lambda: None)()
        if known is None and self.teacher_name != "embedded":
            return [{} for _ in pairs]
        found = unfamiliar([pair.image for pair in pairs], [pair.prompt for pair in pairs], known)
        named = [Path(pair.source or "").name or "this" for pair, own in zip(pairs, found, strict=True) if "photograph" in own]
        if named and not self._said_photograph and not self._tests():  # a benchmark's scenes are what they are
            log.warning(
                "image: %s looks like a photograph, and the %s teacher knows drawings alone; add `--teacher sd15`",
                named[0],
                self.teacher_name,
            )
            self._said_photograph = self.report is not None  # by a data set
        return found

    def segment(
        self,
        pairs: list[Sample],
        seeds: list[int],
        start: Start | None = None,
        report: Report | None = None,
        timelapse: bool = True,
    ) -> list[Result]:
        """Optimises N pairs side by side and returns their masks; threads that share a segmenter take turns.

        Args:
            pairs: images of any size, with their prompts.
            seeds: one for each.
            start: in the place of the segmenter's own.
            report: is told the number of each finished step; where it returns True, the optimisation ends.
            timelapse: keep the alphas of some forty steps.
        """
        with self._turns, torch.inference_mode(False), torch.enable_grad():  # the trainer's test loop runs without gradients
            found = self.begin(pairs, seeds, start, timelapse).run(self.make_optimizer, report)
            return self.told(found)

    def masks_of(self, samples: list[Sample]) -> list[Result]:
        """Segments samples of a data set; frames of a film one after the other, each prompt's by the same random numbers."""
        if not isinstance(self.start, Previous):
            return self.segment(samples, [self.sample_seed(sample.id) for sample in samples], report=self.report, timelapse=False)
        found: list[Result] = []
        for _, frame in groupby(samples, key=lambda sample: sample.source or sample.id):
            pairs = list(frame)
            if (place := frame_of(pairs[0].source)) is not None and not place[1]:
                self.start.begin({})  # another film's last frame is none before this one's first
            results = self.segment(pairs, [self.sample_seed(pair.prompt) for pair in pairs], report=self.report, timelapse=False)
            for pair, result in zip(pairs, results, strict=True):
                self.start.remember(pair.prompt, result.alpha)
            found += results
        return found

    @property
    def frame_by_frame(self) -> bool:
        return isinstance(self.start, Previous)

    def begin_frames(self, alphas: dict[str, Tensor]) -> None:
        if isinstance(self.start, Previous):
            self.start.begin(alphas)

    # ---- fit: the pairs of one image -----------------------------------------------------------------------------------------

    def check_input(self) -> None:
        self.input.pairs()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self._said_photograph = False
        if stage != "fit" and any(isinstance(part, Alpha) and part.coupled for part in self.alpha.modules()):
            raise ValueError(
                "alpha: expected maps that do not depend on one another where pairs are shared out over batches, "
                f"got {describe(self.alpha)}; use `fit` with several prompts, or peekaboo.segment"
            )
        if stage == "fit":
            pairs = self.input.pairs()
            self.to(self.trainer.strategy.root_device)  # the trainer moves the module only after this hook
            self.begin(pairs, pair_seeds(self.seed, len(pairs)))

    def pictures(self) -> dict[str, Tensor]:
        """What there is to see now, each (1, 1 or 3, H, W) in [0, 1]; of several prompts by name: ``alpha/0_a-tiger``."""
        found = mask_pictures(self.running.images, self.running.opacity().detach(), fixed_threshold(self.threshold))
        if len(self.running.prompts) == 1:
            return found
        names = enumerate(labels(self.running.prompts))
        return {f"{name}/{label}": pictures[i : i + 1] for i, label in names for name, pictures in found.items()}

    def told(self, results: Sequence[Any]) -> list[Any]:
        """Adds to their records what is not known of them, and how sure the teacher is, too."""
        for result, unfamiliar_of_it in zip(results, self._unfamiliar, strict=True):
            result.record.update(unfamiliar_of_it)
        if self.confidence is not None and (self.min_confidence is not None or not self._tests()):
            results = judged(list(results), self.running, self.confidence, self.min_confidence)
        return super().told(results)

    def _tests(self) -> bool:
        with suppress(RuntimeError):  # Lightning's word for: no trainer has it
            return bool(self.trainer.testing)
        return False

    def about(self) -> dict[str, Any]:
        image = describe_value(self.running.images[0])["digest"]  # a fit has one, however many prompts
        return {"image": image, "prompt": self.running.prompts}
