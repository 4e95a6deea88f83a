"""Prompt to image with transparency: the LightningModule whose trainable parameters are images and their alphas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from ..alphas.base import Alpha
from ..backgrounds.base import Background
from ..data.input import Input
from ..evaluation.batching import check_precision
from ..functional.surroundings import Turns
from ..images.base import Image
from ..images.channel import Channel
from ..losses.base import Loss
from ..results.generated import Generated, generation_pictures
from .fitted import Fitted
from .generation import Generation
from .objective import Objective
from .optimisation import Settings


class Generator(Fitted):
    """Drives a :class:`Generation` of one image and alpha for every prompt and seed (Peekaboo, section 5 and appendix E).

    ``fit`` runs the prompts of ``input``; :meth:`generate` runs prompts from Python. Both take the same step.

    Args:
        image: the parametrization of the images.
        loss: judges the composites.
        background: what the composites are laid over.
        optimizer: of everything that is learned.
        alpha: the parametrization of the opacity; null for an image that has one of its own.
        ground: the parametrization of backgrounds that are learned with the images, judged by the ``scene`` of the input; null
            for none.
        input: ``prompt``, one or several, and with a ground ``scene``.
        seeds: images of each prompt: with the seeds ``seed``, ``seed + 1``, ...
        image_lr: learning rate of images and grounds; null for the optimiser's own.
        penalty: lambda of the alpha penalty, in the published unit (see :class:`Objective`).
        normalise_gradient: see :class:`Objective`.
        iterations: steps of the optimisation.
        resolution: side of the images in pixels.
        seed: of everything random; the same prompt and seed give the same image alone or beside others.
        max_skipped: steps in a row with a NaN or infinite gradient that stop the run.
    """

    indifferent = frozenset({"input", "max_skipped", "seeds"})

    def __init__(
        self,
        image: Image,
        loss: Loss,
        background: Background,
        optimizer: OptimizerCallable,
        alpha: Alpha | None = None,
        ground: Image | None = None,
        input: Input | None = None,
        seeds: int = 1,
        image_lr: float | None = None,
        penalty: float = 0.0,
        normalise_gradient: bool = False,
        iterations: int = 200,
        resolution: int = 128,
        seed: int = 0,
        max_skipped: int = 20,
    ) -> None:
        super().__init__()
        for argument, value, least in (("seed", seed, 0), ("seeds", seeds, 1)):
            if value < least:
                raise ValueError(f"{argument}: expected {least} or more, got {value}")
        if image_lr is not None and not 0 < image_lr < float("inf"):
            raise ValueError(f"image_lr: expected a number above 0 or null, got {image_lr}")
        if any(isinstance(part, Alpha) and part.coupled for part in ([] if alpha is None else alpha.modules())):
            raise ValueError(f"alpha: expected maps that do not depend on one another, got {type(alpha).__name__}")
        self.settings = Settings(iterations, resolution, max_skipped=max_skipped)
        self.image, self.ground = image, ground
        self.alpha = Channel(image) if alpha is None else alpha
        self.objective = Objective(loss, background, penalty, normalise_gradient)
        self.make_optimizer, self.image_lr = optimizer, image_lr
        self.input, self.seed, self.seeds = input or Input(), seed, seeds
        self._turns = Turns()

    # ---- from Python ---------------------------------------------------------------------------------------------------------

    def begin(self, prompts: list[str], seeds: list[int], scenes: list[str] | None = None) -> Generation:
        """Starts the images of N prompts; see :class:`Generation`.

        Raises:
            ValueError: for scenes without a ground, or a ground without scenes.
        """
        self._check_scenes(scenes)
        parts = (self.image, self.alpha, self.objective, self.settings, prompts, seeds, self.device)
        found = Generation(*parts, self.image_lr, self.ground, scenes, self.forward_context)
        self.optimisation = found
        return found

    def generate(
        self,
        prompts: list[str],
        seeds: list[int],
        scenes: list[str] | None = None,
        report: Callable[[int], None] | None = None,
    ) -> list[Generated]:
        """Learns N images side by side and returns them; threads that share a generator take turns.

        Args:
            prompts: N of them.
            seeds: one for each.
            scenes: of the images over their learned backgrounds, where there are any.
            report: is told the number of each finished step.
        """
        with self._turns, torch.inference_mode(False), torch.enable_grad():
            found = self.begin(prompts, seeds, scenes).run(self.make_optimizer, report)
        return self.told(found)

    # ---- fit -----------------------------------------------------------------------------------------------------------------

    def check_input(self) -> None:
        self._check_scenes(self.input.wishes()[1])

    def setup(self, stage: str) -> None:
        check_precision(self.trainer.precision)
        self.to(self.trainer.strategy.root_device)  # the trainer moves the module only after this hook
        self.begin(*members(*self.input.wishes(), self.seed, self.seeds))

    @property
    def running(self) -> Generation:
        found = super().running
        assert isinstance(found, Generation)
        return found

    def pictures(self) -> dict[str, Tensor]:
        """What there is to see now: each (N, 1 or 3, H, W) in [0, 1]."""
        image, ground = self.running.looks()
        return generation_pictures(image, self.running.opacity().detach(), ground)

    def about(self) -> dict[str, Any]:
        return {"prompt": self.running.prompts, "seeds": self.running.seeds, "scene": self.running.scenes}

    def _check_scenes(self, scenes: list[str] | None) -> None:
        if self.ground is None and scenes is not None:
            raise ValueError("scene: expected none without a learned background (`--config scene` has one), got one")
        if self.ground is not None and scenes is None:
            raise ValueError(
                "scene: expected a prompt of the whole picture, e.g. `--model.scene 'a rocket on a beach'`, got none"
            )


def members(prompts: list[str], scenes: list[str] | None, seed: int, seeds: int) -> tuple[list[str], list[int], list[str] | None]:
    """Returns prompts, seeds and scenes of a batch: all seeds of the first prompt, then those of the next.

    >>> members(["a dog", "a cat"], None, 3, 2)
    (['a dog', 'a dog', 'a cat', 'a cat'], [3, 4, 3, 4], None)
    """
    of_each = range(seed, seed + seeds)
    doubled = None if scenes is None else [scene for scene in scenes for _ in of_each]
    return [prompt for prompt in prompts for _ in of_each], [*of_each] * len(prompts), doubled
