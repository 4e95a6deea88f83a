"""A trained network as a segmenter like any other: in `test`, `predict` and from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from ..baselines.base import Baseline, size_of
from ..data.base import Sample
from ..functional.framing import Framing, frame, unframe
from ..functional.random import Draws
from ..results.result import Threshold
from ..teachers.base import Frozen
from ..teachers.diffusion import Diffusion
from .conditions import Conditions, check_templates
from .folder import Description, check_teacher, load_network, read_description

Randomness = Literal["fixed", "published"]


class TrainedNetwork(Frozen):
    """The weights of a trained folder, which a run is known by.

    Args:
        folder: see :mod:`.folder`.
        description: what the folder says of them.
    """

    def __init__(self, folder: str, description: Description) -> None:
        super().__init__()
        self.network = load_network(folder, description)
        self.freeze()

    def forward(self, *inputs: Tensor | Sequence[Tensor] | None) -> Tensor:
        """Returns logits, see :class:`peekaboo.ldznet.network.SegmentationNetwork`."""
        logits: Tensor = self.network(*inputs)
        return logits


class Trained(Baseline):
    """The sigmoid of a trained RGBNet's, ZNet's or LD-ZNet's logits.

    The same image and phrase give the same mask: the posterior's mean, one timestep, one noise and one template are taken.
    Published inference draws all four anew each time.

    Args:
        folder: that a training wrote.
        teacher: of the training; None for the one that the folder names. Another folder or hub name of the same weights will do.
        randomness: ``fixed``, or ``published``: a sample of the posterior, t, noise and template drawn for each sample and draw.
        draws: how many passes are averaged, each with noise of its own.
        timestep: where features are read with ``fixed``; None for the middle of the training's.
        template: of the prompts with ``fixed``; None for the training's.
        framing: see :class:`peekaboo.optimisation.segmenter.Segmenter`; published is ``stretch``.
        threshold, seed: see :class:`peekaboo.baselines.base.Baseline`.

    Raises:
        FileNotFoundError, ValueError: for a folder of something else, or another teacher than the training's.
    """

    def __init__(
        self,
        folder: str,
        teacher: Diffusion | None = None,
        randomness: Randomness = "fixed",
        draws: int = 1,
        timestep: int | None = None,
        template: str | None = None,
        framing: Framing = "stretch",
        threshold: Threshold = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(threshold, seed)
        if randomness not in get_args(Randomness):
            raise ValueError(f"randomness: expected one of {', '.join(get_args(Randomness))}, got {randomness!r}")
        if draws < 1:
            raise ValueError(f"draws: expected at least 1, got {draws}")
        if randomness == "published" and (timestep is not None or template is not None):
            raise ValueError("timestep, template: expected none with randomness `published`, which draws them")
        self.description = about = read_description(folder)
        first, last = about.timesteps
        self.timestep = (first + last + 1) // 2 if timestep is None else timestep
        if not 0 <= self.timestep <= 999:
            raise ValueError(f"timestep: expected one of 0..999, got {timestep}")
        self.template = check_templates([about.template if template is None else template], "template")[0]
        self.teacher = Diffusion(about.teacher["path"], resolution=about.teacher["resolution"]) if teacher is None else teacher
        check_teacher(about.teacher, self.teacher, "teacher")
        self.conditions = Conditions(self.teacher, about.latent, about.blocks)
        self.trained = TrainedNetwork(folder, about)
        self.folder, self.randomness, self.draws, self.framing = folder, randomness, draws, framing
        self.iterations = draws

    @property
    def variant(self) -> str:
        return self.description.kind if self.draws == 1 else f"{self.description.kind} ({self.draws} draws)"

    @property
    def teacher_name(self) -> str:
        return self.teacher.name

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        side = self.teacher.resolution
        images = torch.stack([frame(sample.image.to(self.device), side, self.framing) for sample in samples])
        total = torch.zeros(len(samples), side, side, device=self.device)
        for number in range(self.draws):
            total += self.alphas(images, samples, number)
            if self.report is not None:
                self.report(number + 1)
        return [unframe(own, size_of(s), self.framing) for own, s in zip(total / self.draws, samples, strict=True)]

    def alphas(self, images: Tensor, samples: list[Sample], number: int) -> Tensor:
        """Returns (N, side, side) of one draw.

        Args:
            images: (N, 3, side, side) in [0, 1].
            samples: whose prompts and ids count.
            number: of the draw.
        """
        drawn = self.randomness == "published"
        seeds = [self.sample_seed(sample.id) if drawn else self.seed for sample in samples]
        draws = Draws(seeds, step=number, device=self.device, purpose="ldznet")
        if drawn:
            t = draws.of("timestep").integers(*self.description.timesteps)
            chosen = draws.of("template").integers(0, len(self.description.templates) - 1).tolist()
            templates = [self.description.templates[i] for i in chosen]
        else:
            t = torch.full((len(samples),), self.timestep, dtype=torch.int64, device=self.device)
            templates = [self.template] * len(samples)
        prompts = [template.format(sample.prompt) for template, sample in zip(templates, samples, strict=True)]
        inputs = self.conditions(images, prompts, draws, t, posterior=drawn)
        return self.trained(*inputs.arguments())[:, 0].float().sigmoid()


def load_trained(folder: str | Path, device: str = "cpu") -> Trained:
    """Loads a trained folder by one call.

    Example:
        >>> model = load_trained("lightning_logs/ldznet/ldznet")  # doctest: +SKIP
        >>> peekaboo.segment("dog.jpg", "a dog", model).mask  # doctest: +SKIP
    """
    return Trained(str(folder)).to(device)
