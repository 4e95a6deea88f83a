"""How sure the teacher is of finished masks, and what becomes of those that it is not sure of."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from ..alphas.base import finished
from ..results.result import Result
from ..teachers.base import Teacher
from ..teachers.confidence import PARTS, Confidence, can_judge
from .optimisation import Optimisation


@torch.no_grad()
def judged(results: list[Result], optimisation: Optimisation, confidence: Confidence, least: float | None) -> list[Result]:
    """Adds to results how sure the teacher is of them; below ``least`` a mask is empty.

    The record gets ``confidence``, the ``confidence_gains`` that it comes from, whether its calibration is this teacher's
    (``confidence_calibrated``), ``confidence_seconds``, and with a ``min_confidence`` whether the mask was ``rejected``.
    A rejected result has the alpha 0 everywhere; its time-lapse shows what there was.

    Args:
        results: of all pairs of an optimisation, in order.
        optimisation: that they came from, whose loss has a diffusion model.
        confidence: judges.
        least: confidence; None to reject nothing.
    """
    teacher = optimisation.objective.loss.diffusion
    if teacher is None or not can_judge(teacher):
        return results
    started = time.perf_counter()
    with finished(optimisation.alpha):
        alphas = optimisation.opacity()
    with optimisation.precision():
        found = confidence(teacher, optimisation.images, alphas, optimisation.prompts)
    sure, gains = found.confidence.tolist(), found.gains.tolist()
    seconds = time.perf_counter() - started
    out = []
    for result, own, parts in zip(results, sure, gains, strict=True):
        record = result.record | {
            "confidence": round(own, 4),
            "confidence_gains": {name: round(gain, 4) for name, gain in zip(PARTS, parts, strict=True)},
            "confidence_calibrated": confidence.calibrated_for(teacher),
            "confidence_seconds": round(seconds, 4),
        }
        rejected = least is not None and own < least
        if least is not None:
            record |= {"min_confidence": least, "rejected": rejected}
        alpha = torch.zeros_like(result.alpha) if rejected else result.alpha
        out.append(replace(result, alpha=alpha, record=record))
    return out


def check_confidence(least: float | None, confidence: Confidence | None, teacher: Teacher | None) -> None:
    """Makes sure that a least confidence can be asked for.

    Raises:
        ValueError: if it is outside [0, 1], or nothing here could judge a mask.
    """
    if least is None:
        return
    if not 0 <= least <= 1:
        raise ValueError(f"min_confidence: expected a number in [0, 1] or null, got {least}")
    if confidence is None:
        raise ValueError(f"min_confidence: expected null with `confidence: false`, got {least}")
    if not can_judge(teacher):
        raise ValueError(
            f"min_confidence: expected a loss with a diffusion model that predicts noise with a prompt and without, got {least} "
            "beside one that has none"
        )
