"""Image and prompt to alpha: the LightningModule whose only trainable parameters are its alpha masks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.utils.data import DataLoader

from ..alphas.base import Alpha
from ..backgrounds import Background
from ..data.base import Sample
from ..data.images import read_image, read_mask
from ..data.manifest import require_foreground
from ..evaluation.batching import SampleModule
from ..functional.framing import Framing, frame, resize, unframe
from ..functional.random import Draws
from ..guides.base import Guide
from ..losses.base import Loss
from ..results.records import describe, peak_memory_mb
from ..results.result import Result, Threshold, fixed_threshold, make_result
from .guard import GradientGuard
from .objective import Objective
from .settling import Settling

FRAMES, FRAME_SIDE = 40, 128  # of a time-lapse, and at most in a checkpoint


class Segmenter(SampleModule):
    """Optimises one alpha for every (image, prompt) pair against a frozen teacher (Peekaboo, algorithm 1).

    ``fit`` runs the pairs of ``image`` and ``prompt``, one Lightning step an iteration; ``test`` and ``predict`` run batches
    of a data set; :meth:`segment` runs pairs from Python. All three take the same step.

    Args:
        alpha: the parametrization.
        loss: judges the composites.
        background: what the composites are laid over.
        optimizer: of the alpha's parameters.
        image: file to segment in ``fit``.
        prompt: what to segment in it; several give several masks in one run.
        mask: file with the ground truth of the (first) prompt, only to report IoU.
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
    """

    def __init__(
        self,
        alpha: Alpha,
        loss: Loss,
        background: Background,
        optimizer: OptimizerCallable,
        image: str | None = None,
        prompt: str | list[str] | None = None,
        mask: str | None = None,
        penalty: float = 0.05,
        normalise_gradient: bool = False,
        iterations: int = 200,
        resolution: int = 128,
        framing: Framing = "stretch",
        threshold: Threshold = 0.5,
        seed: int = 0,
        max_skipped: int = 20,
        settled: float | None = None,
    ) -> None:
        super().__init__(seed)
        for argument, value, least in (
            ("iterations", iterations, 1),
            ("resolution", resolution, 8),
            ("max_skipped", max_skipped, 1),
        ):
            if value < least:
                raise ValueError(f"{argument}: expected at least {least}, got {value}")
        if framing not in get_args(Framing):
            raise ValueError(f"framing: expected one of {', '.join(get_args(Framing))}, got {framing!r}")
        if threshold != "otsu" and not 0 <= float(threshold) <= 1:
            raise ValueError(f"threshold: expected `otsu` or a number in [0, 1], got {threshold!r}")
        if settled is not None and not 0 < settled <= 1:
            raise ValueError(f"settled: expected a number in (0, 1] or null, got {settled}")
        self.alpha = alpha
        self.objective = Objective(loss, background, penalty, normalise_gradient)
        self.make_optimizer = optimizer
        self.image_path, self.prompt, self.mask_path = image, prompt, mask
        self.iterations, self.resolution, self.framing = iterations, resolution, framing
        self.threshold, self.max_skipped = threshold, max_skipped
        self.settled = settled
        self.pairs: list[Sample] = []
        for part in alpha.modules():
            if isinstance(part, Guide):
                part.framing = framing

    # ---- one optimisation -------------------------------------------------------------------------------------------

    def begin(self, pairs: list[Sample], seeds: list[int]) -> None:
        """Starts the alphas of N pairs.

        Args:
            pairs: images of any size, with their prompts.
            seeds: one for each.
        """
        self.pairs, self.seeds = pairs, seeds
        self.frames: list[Tensor] = []
        framed = [frame(pair.image.to(self.device), self.resolution, self.framing) for pair in pairs]
        self.images = torch.stack(framed)
        self.alpha.to(self.device)
        with self._full_precision():
            self.alpha.reset(self.images, seeds)
        self.guard = GradientGuard(self.trainable(), len(pairs), self.max_skipped)
        self.settling = Settling(len(pairs), self.settled, threshold=fixed_threshold(self.threshold))
        self._started = time.perf_counter()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def opacity(self) -> Tensor:
        """The N alphas as they are now, (N, 1, H, W) in [0, 1] and float32."""
        with self._full_precision():
            return self.alpha()

    def _full_precision(self) -> AbstractContextManager[Any]:
        """Keeps the trainer's half precision, which is for the teacher, away from the alpha."""
        return torch.autocast(self.device.type, enabled=False)

    def trainable(self) -> Iterator[torch.nn.Parameter]:
        """The alpha's own parameters: everything that trains."""
        return (p for p in self.alpha.parameters() if p.requires_grad)

    def terms(self, step: int) -> dict[str, Tensor]:
        """Judges the alphas at one step: the terms of the objective, each (N,)."""
        fitting = self._trainer is not None and self._trainer.training
        rank, ranks = (self.global_rank, self.trainer.world_size) if fitting else (0, 1)
        draws = Draws(self.seeds, step, self.iterations, rank, self.device)
        alpha = self.opacity()
        if step % max(self.iterations // FRAMES, 1) == 0:
            self.frames.append(alpha.detach())
        return self.objective(alpha, self.images, [pair.prompt for pair in self.pairs], draws, ranks)

    def segment(self, pairs: list[Sample], seeds: list[int], report: Callable[[int], None] | None = None) -> list[Result]:
        """Optimises N pairs side by side and returns their masks.

        Args:
            pairs, seeds: as in :meth:`begin`.
            report: is told the number of each finished step.
        """
        with torch.inference_mode(False), torch.enable_grad():  # the trainer's test loop runs without gradients
            self.begin([_plain(pair) for pair in pairs], seeds)
            optimizer = self.make_optimizer(self.trainable())
            for step in range(self.iterations):
                with self._precision():
                    total = self.terms(step)["total"].sum()
                with self._full_precision():  # the trainer's test loop has autocast on, which no backward pass may see
                    total.backward()
                self.guard.before_step()
                optimizer.step()
                all_settled = self.after_step()
                optimizer.zero_grad()
                if report is not None:
                    report(step + 1)
                if all_settled:
                    break
            self.guard.at_the_end()
        return self.results(step + 1)

    def after_step(self) -> bool:
        """Ends a step behind the optimiser's: takes back what must not have moved.

        Returns:
            Whether all pairs have settled.
        """
        self.guard.after_step()
        settled = self.settling.after_step(self.opacity, self.guard.skipped)
        if any(settled):
            self.guard.hold(settled)
        return all(settled)

    def _precision(self) -> AbstractContextManager[Any]:
        if self._trainer is None:
            return nullcontext()
        return self.trainer.precision_plugin.forward_context()

    @torch.no_grad()
    def results(self, iterations: int) -> list[Result]:
        """Returns the masks as they are now, at their images' own sizes.

        Args:
            iterations: that were done, for the record.
        """
        seconds = time.perf_counter() - self._started
        alphas = self.opacity()
        frames = torch.stack([*self.frames, alphas])[:, :, 0].cpu()
        record = {
            "variant": describe(self.alpha),
            "teacher": self.objective.loss.teacher_name,
            "loss": describe(self.objective.loss),
            "seconds": round(seconds, 3),
            "seconds_per_iteration": round(seconds / max(iterations, 1), 5),
            "peak_memory_mb": peak_memory_mb(self.device),
            "resolution": self.resolution,
            "device": str(self.device),
        }
        skipped = self.guard.skipped.tolist()
        out = []
        for i, pair in enumerate(self.pairs):
            height, width = pair.image.shape[-2:]
            own = {
                "image": pair.source,
                **record,
                "iterations": self.settling.settled_at[i] or iterations,
                "seed": self.seeds[i],
                "skipped_steps": skipped[i],
                "pairs_in_batch": len(self.pairs),
            }
            alpha = unframe(alphas[i, 0], (height, width), self.framing).cpu()
            rest = {"target": pair.mask, "ignore": pair.ignore, "frames": frames[:, i], "record": own}
            out.append(make_result(pair.image.cpu(), pair.prompt, alpha, self.threshold, **rest))
        return out

    # ---- fit: the pairs of one image ----------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage != "fit" and any(isinstance(part, Alpha) and part.coupled for part in self.alpha.modules()):
            raise ValueError(
                "alpha: expected maps that do not depend on one another where pairs are shared out over batches, "
                f"got {describe(self.alpha)}; use `fit` with several prompts, or peekaboo.segment"
            )
        if stage == "fit":
            pairs = self.pairs_of_image()
            self.to(self.trainer.strategy.root_device)  # the trainer moves the module only after this hook
            self.begin(pairs, [self.seed + i for i in range(len(pairs))])

    def pairs_of_image(self) -> list[Sample]:
        """Reads what ``fit`` segments.

        Raises:
            ValueError, FileNotFoundError: for an image, a mask or a prompt that is wrong or missing.
        """
        if self.image_path is None or self.prompt is None:
            raise ValueError("image, prompt: expected both for `fit`, e.g. `--model.image dog.jpg --model.prompt 'a dog'`")
        prompts = [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)
        if not prompts or any(not prompt.strip() for prompt in prompts):
            raise ValueError(f"prompt: expected some words, got {self.prompt!r}")
        image = read_image(_bundled(self.image_path))
        mask = None
        if self.mask_path is not None:
            mask = read_mask(_bundled(self.mask_path), (image.shape[1], image.shape[2]))
            require_foreground(mask, f"mask {self.mask_path!r}")
        truths = [mask] + [None] * (len(prompts) - 1)
        pairs = enumerate(zip(prompts, truths, strict=True))
        return [Sample(str(i), image, prompt, truth, source=self.image_path) for i, (prompt, truth) in pairs]

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(self.iterations), batch_size=None)  # type: ignore[arg-type]  # the trainer counts, resumed or not

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(self.trainable())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.last_terms = self.terms(batch_idx)  # goes on where a resumed run stopped; other noise for accumulated gradients
        return self.last_terms["total"].sum()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.guard.before_step()

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """Steps, and takes back what a momentum did to skipped pairs before anybody looks at the alpha or saves it."""
        super().optimizer_step(*args, **options)
        if self.after_step():
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        self.guard.at_the_end()  # before anything is written

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the alpha's parameters, and how far the run has come; the frozen networks come from where they came from."""
        side = min(self.resolution, FRAME_SIDE)
        trained = {f"alpha.{name}" for name, p in self.alpha.named_parameters() if p.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}
        checkpoint["progress"] = {
            "frames": [(resize(frame, (side, side)) * 255).round().byte() for frame in self.frames],
            "seconds": time.perf_counter() - self._started,
            "guard": self.guard.state_dict(),
            "settling": self.settling.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with a run's time-lapse, its clock, and the pairs that had settled; the trainer loads the parameters.

        Raises:
            ValueError: for a checkpoint of something else.
        """
        if not self.pairs:  # `test` and `predict` begin each alpha anew
            return
        state = {k.removeprefix("alpha."): tuple(v.shape) for k, v in checkpoint["state_dict"].items() if k.startswith("alpha.")}
        own = {name: tuple(p.shape) for name, p in self.alpha.named_parameters() if p.requires_grad}
        if state != own or "progress" not in checkpoint:
            raise ValueError(f"ckpt_path: expected a fit's checkpoint with the parameters {own}, got {state}")
        progress = checkpoint["progress"]
        own_size = (self.resolution, self.resolution)
        self.frames = [resize(frame.to(self.device) / 255, own_size) for frame in progress["frames"]]
        self._started = time.perf_counter() - progress["seconds"]
        self.guard.load_state_dict(progress["guard"])
        self.settling.load_state_dict(progress["settling"])
        self.guard.hold(self.settling.settled())

    # ---- test and predict: data sets -----------------------------------------------------------------------------------

    @property
    def variant(self) -> str:
        loss = type(self.objective.loss).__name__
        return describe(self.alpha) + ("" if loss == "ScoreDistillation" else f" {loss}")

    @property
    def teacher_name(self) -> str | None:
        return self.objective.loss.teacher_name

    def masks_of(self, samples: list[Sample]) -> list[Result]:
        """Segments samples of a data set."""
        return self.segment(samples, [self.sample_seed(sample.id) for sample in samples], self.report)


def _bundled(path: str) -> Path:
    """Finds the examples of the configs also where the project is not the working directory."""
    root = Path(__file__).resolve().parents[2]
    return root / path if path.startswith("peekaboo/assets/") and not Path(path).exists() else Path(path)


def _plain(pair: Sample) -> Sample:
    """Copies tensors that were made in inference mode, which no gradient may pass."""
    if not pair.image.is_inference():
        return pair
    return replace(pair, image=pair.image.clone())
