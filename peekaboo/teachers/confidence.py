"""Is what a prompt names there at all? What a mask found, judged by how much the prompt helps to predict noise on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..functional.compositing import composite
from ..functional.diffusion import add_noise
from ..functional.random import Draws
from ..identity import Configured
from .base import Teacher
from .text import Text

#: What of a mask is judged, in the order of gains and weights.
PARTS = ("cut_out", "complement", "whole")
GROUND = 0.5  # the grey that cut-out and complement are laid over


@dataclass(frozen=True)
class Judgement:
    """What was found of N masks.

    Attributes:
        confidence: (N,) in [0, 1], that what the prompt names is where the mask is.
        gains: (N, 3), of each of the :data:`PARTS`; see :func:`prompt_gains`.
    """

    confidence: Tensor
    gains: Tensor


class Confidence(Configured):
    """Judges finished masks, with no training: sigmoid(weights . gains + bias), and 0 for a mask that is empty at .5.

    The gains say how much better the teacher predicts noise with the prompt than without, on the cut-out, on its complement
    and on the whole image. Weights and bias are the logistic regression of ``benchmarks/confidence.py``, of present words
    against absent ones on tuning scenes; they are the embedded teacher's. With another teacher the order of two confidences
    still means something and the value does not: that command prints weights for it.

    Args:
        timesteps: of 1000, at which noise is predicted.
        repeats: draws of noise at each of them; all images share them.
        weights: of the gains of the cut-out, of its complement and of the whole image.
        bias: what is added to their weighted sum.
        teacher: the name of the teacher that weights and bias are for, as a config gives it.
    """

    def __init__(
        self,
        timesteps: list[int] | None = None,
        repeats: int = 1,
        weights: tuple[float, float, float] = (7.07, -0.08, 7.83),
        bias: float = -0.11,
        teacher: str = "embedded",
    ) -> None:
        timesteps = [100, 200, 500, 700] if timesteps is None else timesteps
        if not timesteps or min(timesteps) < 0 or max(timesteps) > 999 or repeats < 1:
            raise ValueError(
                f"confidence.timesteps, repeats: expected timesteps in 0..999 and at least one draw, got {timesteps}, {repeats}"
            )
        self.timesteps, self.repeats, self.weights, self.bias = list(timesteps), repeats, tuple(weights), bias
        self.teacher = teacher

    def calibrated_for(self, teacher: Teacher) -> bool:
        """Whether weights and bias were found for a teacher."""
        return teacher.name == self.teacher

    def __call__(self, teacher: Teacher, images: Tensor, alphas: Tensor, prompts: list[str]) -> Judgement:
        """Judges N masks.

        Args:
            teacher: frozen; see :func:`can_judge`.
            images: (N, 3, H, W) in [0, 1], framed.
            alphas: (N, 1, H, W) in [0, 1].
            prompts: one for each.
        """
        gains = prompt_gains(teacher, images, alphas, prompts, self.timesteps, self.repeats)
        weights = torch.tensor(self.weights, device=gains.device)
        sure = (gains @ weights + self.bias).sigmoid()
        shown = (alphas > 0.5).flatten(1).any(1)  # an empty mask shows nothing, whatever the prompt makes of plain grey
        return Judgement(torch.where(shown, sure, 0.0), gains)


def can_judge(teacher: Teacher | None) -> bool:
    """Whether there is a teacher that predicts noise with a prompt and without one, which some distilled models do not."""
    if teacher is None:
        return False
    try:
        teacher.check_guidance(0.0)
    except ValueError:
        return False
    return True


@torch.no_grad()
def prompt_gains(
    teacher: Teacher, images: Tensor, alphas: Tensor, prompts: list[str], timesteps: Sequence[int], repeats: int = 1
) -> Tensor:
    """How much better the teacher predicts noise with the prompt than without, as a share of both errors: (N, 3) in [-1, 1].

    With z = E(part), z_t = a z + b eps and sums over the latent, the gain of a part is the mean over all draws of
    (|eps_uncond - eps|² - |eps_text - eps|²) / (|eps_uncond - eps|² + |eps_text - eps|²). The parts (:data:`PARTS`) are the
    image times alpha over grey, the image times 1 - alpha over grey, and the image. All parts of all images have the same
    draws, which depend on nothing but timestep and repeat: what is compared differs by what is seen alone.

    Args:
        teacher, images, alphas, prompts: see :class:`Confidence`.
        timesteps: of 1000; of a few-step student, the nearest ones that it knows.
        repeats: draws at each of them.
    """
    ground = torch.full_like(images, GROUND)
    text = Text.cat([teacher.embed([""] * len(prompts)), teacher.embed(prompts)])
    seen = (composite(images, ground, alphas), composite(images, ground, 1 - alphas), images)
    # One part after the other: no more memory than a step of the optimisation.
    return torch.stack([_gain(teacher, teacher.encode(part), text, timesteps, repeats) for part in seen], 1)


def _gain(teacher: Teacher, z: Tensor, text: Text, timesteps: Sequence[int], repeats: int) -> Tensor:
    """The gain of N latents, (N,), of which ``text`` holds the unconditional and then the conditional embeddings."""
    total = torch.zeros(len(z), device=z.device)
    for asked in timesteps:
        step = asked if teacher.timesteps is None else min(teacher.timesteps, key=lambda known: abs(known - asked))
        t = torch.full((len(z),), step, dtype=torch.int64, device=z.device)
        for repeat in range(repeats):
            draws = Draws([0], repeat, device=z.device, purpose=f"confidence/{asked}")
            eps = draws.normal(*z.shape[1:]).expand_as(z)
            z_t = add_noise(z, eps, *teacher.signal_noise(t))
            without, given = teacher.predict_noise(torch.cat([z_t, z_t]), torch.cat([t, t]), text).chunk(2)
            error, error_given = ((eps_hat - eps).float().square().sum((1, 2, 3)) for eps_hat in (without, given))
            total += (error - error_given) / (error + error_given)
    return total / (len(timesteps) * repeats)
