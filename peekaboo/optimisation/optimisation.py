"""Peekaboo's algorithm 1 for N (image, prompt) pairs side by side: what `fit`, `test`, `predict` and Python drive alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ..alphas.base import Alpha, finished
from ..data.base import Sample
from ..functional.framing import Framing, frame, resize, unframe
from ..functional.random import Draws
from ..guides.base import Guide
from ..results.finish import Finish
from ..results.records import record_of
from ..results.result import Result, Threshold, fixed_threshold, make_result
from ..starts.base import Start
from .course import Course
from .curves import scalars
from .guard import GradientGuard
from .objective import Objective
from .settling import Settling

FRAMES, FRAME_SIDE = 40, 128  # of a time-lapse, and at most in a checkpoint
MakeOptimizer = Callable[[ParamsT], Optimizer]
Report = Callable[[int], bool | None]  # is told the number of each finished step; True ends the optimisation there


@dataclass(frozen=True)
class Settings:
    """How long and at what size alphas are optimised; see :class:`peekaboo.optimisation.segmenter.Segmenter` for each.

    Raises:
        ValueError: for a value that means nothing.
    """

    iterations: int = 200
    resolution: int = 128
    framing: Framing = "stretch"
    threshold: Threshold = 0.5
    max_skipped: int = 20
    settled: float | None = None
    finish: Finish = field(default_factory=Finish)

    def __post_init__(self) -> None:
        for argument, least in (("iterations", 1), ("resolution", 8), ("max_skipped", 1)):
            if getattr(self, argument) < least:
                raise ValueError(f"{argument}: expected at least {least}, got {getattr(self, argument)}")
        if self.framing not in get_args(Framing):
            raise ValueError(f"framing: expected one of {', '.join(get_args(Framing))}, got {self.framing!r}")
        if self.threshold != "otsu" and not 0 <= float(self.threshold) <= 1:
            raise ValueError(f"threshold: expected `otsu` or a number in [0, 1], got {self.threshold!r}")
        if self.settled is not None and not 0 < self.settled <= 1:
            raise ValueError(f"settled: expected a number in (0, 1] or null, got {self.settled}")


class Optimisation:
    """One alpha for each of N pairs, optimised against a frozen teacher (Peekaboo, algorithm 1).

    :meth:`run` is the whole algorithm. A trainer that has a loop of its own calls :meth:`terms` for the loss of a step,
    :meth:`after_backward` behind each backward pass, and :meth:`before_step` and :meth:`after_step` around the optimiser's step.

    Args:
        alpha: the parametrization; it is started anew.
        objective: judges a step.
        settings: see there.
        pairs: images of any size, with their prompts.
        seeds: one for each.
        device: where all of it happens.
        start: gives maps to begin at; None for the alpha's own random values.
        precision: context of the teacher's forward passes.
        timelapse: keep the alphas of some forty steps for the results.

    Attributes:
        frame_side: in pixels, that a frame of the time-lapse has at most in a checkpoint.
    """

    frame_side = FRAME_SIDE

    def __init__(
        self,
        alpha: Alpha,
        objective: Objective,
        settings: Settings,
        pairs: list[Sample],
        seeds: list[int],
        device: torch.device,
        start: Start | None = None,
        precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
        timelapse: bool = True,
    ) -> None:
        self.alpha, self.objective, self.settings, self.device = alpha.to(device), objective, settings, device
        self.precision = precision
        self.pairs, self.seeds, self.timelapse = [_plain(pair) for pair in pairs], seeds, timelapse
        self.prompts = [pair.prompt for pair in pairs]
        framed = [frame(pair.image.to(device), settings.resolution, settings.framing) for pair in self.pairs]
        self.images = torch.stack(framed)
        for part in alpha.modules():
            if isinstance(part, Guide):
                part.begin(settings.framing)
        with self.full_precision():
            alpha.reset(self.images, seeds)
        if start is not None:
            self._begin_at(start)
        self.guard = GradientGuard(self.parameters(), len(pairs), settings.max_skipped)
        self.settling = Settling(len(pairs), settings.settled, threshold=fixed_threshold(settings.threshold))
        self.frames: list[Tensor] = []
        self.course = Course()
        self.last_terms: dict[str, Tensor] = {}
        self._started = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _begin_at(self, start: Start) -> None:
        draws = Draws(self.seeds, device=self.device, purpose="start map")  # of no rank: processes that share a fit begin alike
        with self.precision():
            logits = start(self.images, self.pairs, self.settings.framing, draws, self.objective.loss.diffusion)
        with self.full_precision():
            self.alpha.begin_at(logits)

    # ---- the algorithm ---------------------------------------------------------------------------------------------------

    def run(self, make_optimizer: MakeOptimizer, report: Report | None = None) -> list[Any]:
        """Optimises the alphas until the iterations are done, or all masks have settled.

        Args:
            make_optimizer: builds the optimiser of the alpha's parameters.
            report: is told the number of each finished step; where it returns True, the optimisation ends.
        """
        optimizer = make_optimizer(self.groups())
        for step in range(self.settings.iterations):
            with self.precision():
                total = self.terms(step)["total"].sum()
            with self.full_precision():  # a trainer's test loop has autocast on, which no backward pass may see
                total.backward()
            self.after_backward()
            self.before_step()
            optimizer.step()
            all_settled = self.after_step()
            optimizer.zero_grad()
            asked_to_stop = report is not None and report(step + 1)
            if all_settled or asked_to_stop:
                break
        self.guard.at_the_end()
        return self.results(step + 1)

    def terms(self, step: int, rank: int = 0, ranks: int = 1) -> dict[str, Tensor]:
        """Judges the alphas at one step: the terms of the objective, each (N,).

        Args:
            step: number of the iteration, from 0.
            rank, ranks: of processes that judge the same alphas by draws of their own.
        """
        draws = Draws(self.seeds, step, self.settings.iterations, rank, self.device, "step")
        alpha = self.opacity()
        self.course.note(step, self.settings.iterations, alpha.detach())
        if self.timelapse and step % max(self.settings.iterations // FRAMES, 1) == 0:
            self.frames.append(self.moment(alpha.detach()))
        self.last_terms = self.judged(alpha, draws, ranks)
        return self.last_terms

    def judged(self, alpha: Tensor, draws: Draws, ranks: int) -> dict[str, Tensor]:
        """The terms of the objective, each (N,), for alphas (N, 1, H, W)."""
        return self.objective(alpha, self.images, self.prompts, draws, ranks)

    def after_backward(self) -> None:
        """Takes gradients that are not finite out, pair by pair."""
        self.guard.clean()

    def before_step(self) -> None:
        """Notes what must not move."""
        self.guard.before_step()

    def after_step(self) -> bool:
        """Takes back what must not have moved.

        Returns:
            Whether all pairs have settled.
        """
        self.guard.after_step()
        settled = self.settling.after_step(self.opacity, self.guard.skipped)
        if any(settled):
            self.guard.hold(settled)
        return all(settled)

    def moment(self, alpha: Tensor) -> Tensor:
        """What a time-lapse keeps of a moment, (N, C, H, W) in [0, 1]: the alphas (N, 1, H, W)."""
        return alpha

    def opacity(self) -> Tensor:
        """The N alphas as they are now, (N, 1, H, W) in [0, 1] and float32."""
        with self.full_precision():
            return self.alpha()

    def parameters(self) -> list[nn.Parameter]:
        """Everything that trains: the alpha's own parameters."""
        return [p for p in self.alpha.parameters() if p.requires_grad]

    def groups(self) -> ParamsT:
        """The same as an optimiser takes them."""
        return self.parameters()

    def full_precision(self) -> AbstractContextManager[Any]:
        """Keeps a half precision, which is for the teacher, away from the alpha."""
        return torch.autocast(self.device.type, enabled=False)

    # ---- what comes of it ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def results(self, iterations: int) -> list[Result]:
        """Returns the masks as they are now, at their images' own sizes.

        Args:
            iterations: that were done, for the record.
        """
        with finished(self.alpha):
            alphas = self.opacity()
        frames = torch.stack([*self.frames, alphas])[:, :, 0].cpu() if self.timelapse else None
        out = []
        for i, (pair, record) in enumerate(zip(self.pairs, self.records(iterations, alphas), strict=True)):
            alpha = unframe(alphas[i, 0], (pair.image.shape[-2], pair.image.shape[-1]), self.settings.framing).cpu()
            lapse = None if frames is None else frames[:, i]
            rest: dict[str, Any] = {
                "target": pair.mask,
                "ignore": pair.ignore,
                "frames": lapse,
                "record": {"image": pair.source, **record},
            }
            rest["finish"] = self.settings.finish
            out.append(make_result(pair.image.cpu(), pair.prompt, alpha, self.settings.threshold, **rest))
        return out

    def records(self, iterations: int, alphas: Tensor) -> list[dict[str, Any]]:
        """What is known of each pair's run after some iterations, for ``result.json``.

        Args:
            iterations: that were done.
            alphas: (N, 1, H, W) that came of them.
        """
        courses = self.course.of(iterations, alphas)
        seconds = time.perf_counter() - self._started
        shared = {**record_of(self.alpha, self.objective.loss, self.device, seconds, iterations), **self._set_up()}
        skipped = self.guard.skipped.tolist()
        return [
            {
                **shared,
                "iterations": self.settling.settled_at[i] or iterations,
                "seed": seed,
                "skipped_steps": skipped[i],
                "pairs_in_batch": len(self.pairs),
                "course": courses[i],
            }
            for i, seed in enumerate(self.seeds)
        ]

    def _set_up(self) -> dict[str, Any]:
        own = {"resolution": self.settings.resolution, "framing": self.settings.framing, "penalty": self.objective.penalty}
        guidance = getattr(self.objective.loss, "guidance", None)
        return own if guidance is None else {**own, "guidance": guidance}

    def scalars(self) -> dict[str, float]:
        """Numbers of the last step, to be plotted."""
        return scalars(self)

    # ---- going on ----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """How far it has come, beside the alpha's parameters: plain values and tensors."""
        side = min(self.settings.resolution, self.frame_side)
        return {
            "frames": [(resize(frame, (side, side)) * 255).round().byte() for frame in self.frames],
            "seconds": time.perf_counter() - self._started,
            "guard": self.guard.state_dict(),
            "settling": self.settling.state_dict(),
            "course": self.course.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], judge_anew: bool = False) -> None:
        """Goes on with a time-lapse, a clock, and the pairs that had settled.

        Args:
            state: of :meth:`state_dict`.
            judge_anew: let pairs that had settled move again, because they are to go on for longer.
        """
        size = (self.settings.resolution, self.settings.resolution)
        self.frames = [resize(frame.to(self.device) / 255, size) for frame in state["frames"]]
        self._started = time.perf_counter() - state["seconds"]
        self.guard.load_state_dict(state["guard"])
        self.course.load_state_dict(state["course"], self.device)
        if not judge_anew:
            self.settling.load_state_dict(state["settling"])
            self.guard.hold(self.settling.settled())


def _plain(pair: Sample) -> Sample:
    """Copies tensors that were made in inference mode, which no gradient may pass."""
    return replace(pair, image=pair.image.clone()) if pair.image.is_inference() else pair
