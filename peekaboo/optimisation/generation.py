"""Peekaboo's algorithm 2: images learned together with their alphas, by the step of algorithm 1."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from ..alphas.base import Alpha, finished
from ..data.base import Sample
from ..functional.random import Draws
from ..images.base import Image
from ..results.generated import Generated
from ..results.records import describe
from .objective import Objective
from .optimisation import Optimisation, Settings

RGBA_FRAME_SIDE = 64  # of a frame of four channels in a checkpoint: forty of them stay under a megabyte


class Generation(Optimisation):
    """An image and its alpha for each of N prompts (Peekaboo, section 5, algorithm 2).

    The images are one more parameter beside the alphas; the loop, the step, the guard and what is kept are those of
    :class:`Optimisation`. With a ``ground`` the background is learned, too, by a second prompt for all of it (appendix E).

    Args:
        image: the parametrization of the images; started anew.
        alpha: that of their opacity; it is started over a blank image.
        objective, settings: as of :class:`Optimisation`.
        prompts: N of them.
        seeds: one for each.
        device: where all of it happens.
        image_lr: learning rate of the images; None for the optimiser's own.
        ground: the parametrization of the learned backgrounds, or None.
        scenes: N prompts of the images over their learned backgrounds; none without ``ground``.
        precision: context of the frozen networks.
    """

    frame_side = RGBA_FRAME_SIDE

    def __init__(
        self,
        image: Image,
        alpha: Alpha,
        objective: Objective,
        settings: Settings,
        prompts: list[str],
        seeds: list[int],
        device: torch.device,
        image_lr: float | None = None,
        ground: Image | None = None,
        scenes: list[str] | None = None,
        precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        side = settings.resolution
        self.image, self.ground = image.to(device), None if ground is None else ground.to(device)
        self.image_lr, self.scenes = image_lr, scenes
        teacher = objective.loss.diffusion
        draws = Draws(seeds, device=device, purpose="image")
        with torch.autocast(device.type, enabled=False):
            self.image.reset(draws, (side, side), teacher)
            if self.ground is not None:
                self.ground.reset(draws.of("ground"), (side, side), teacher)
        blank = torch.zeros(3, side, side)
        pairs = [Sample(str(i), blank, prompt) for i, prompt in enumerate(prompts)]
        super().__init__(alpha, objective, settings, pairs, seeds, device, precision=precision)

    # ---- the step ----------------------------------------------------------------------------------------------------------

    def judged(self, alpha: Tensor, draws: Draws, ranks: int) -> dict[str, Tensor]:
        ground = None if self.ground is None else self.ground()
        return self.objective(alpha, self.image(), self.prompts, draws, ranks, ground, self.scenes)

    def parameters(self) -> list[nn.Parameter]:
        """Everything that trains: images, backgrounds where they are learned, and alphas."""
        return [*self._of_images(), *super().parameters()]

    def groups(self) -> ParamsT:
        if self.image_lr is None:
            return self.parameters()
        own: list[dict[str, Any]] = [{"params": self._of_images(), "lr": self.image_lr}]
        alphas = super().parameters()
        return [*own, {"params": alphas}] if alphas else own

    def _of_images(self) -> list[nn.Parameter]:
        images = [self.image] if self.ground is None else [self.image, self.ground]
        return [p for image in images for p in image.parameters() if p.requires_grad]

    # ---- what there is to see ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def looks(self) -> tuple[Tensor, Tensor | None]:
        """The images as they are now, (N, 3, H, W) in [0, 1], and the learned backgrounds, or None."""
        with self.precision():
            return self.image().float(), None if self.ground is None else self.ground().float()

    def moment(self, alpha: Tensor) -> Tensor:
        return torch.cat([self.looks()[0], alpha], 1)

    @torch.no_grad()
    def results(self, iterations: int) -> list[Generated]:
        """Returns the images as they are now.

        Args:
            iterations: that were done, for the record.
        """
        with finished(self.alpha):
            alphas = self.opacity()
        images, grounds = self.looks()
        frames = torch.stack([*self.frames, self.moment(alphas)]).cpu()
        out = []
        for i, record in enumerate(self.records(iterations, alphas)):
            rest: dict[str, Any] = {"record": {**record, "image": describe(self.image)}}
            if grounds is not None and self.scenes is not None:
                rest |= {"ground": grounds[i].cpu(), "scene": self.scenes[i]}
            out.append(Generated(images[i].cpu(), alphas[i, 0].cpu(), self.prompts[i], frames[:, i], **rest))
        return out
