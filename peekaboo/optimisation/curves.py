"""The numbers of an optimisation that are plotted: of all pairs together, and of each by its prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..data.names import labels
from ..functional.framing import unframe
from ..results.result import fixed_threshold, make_result

if TYPE_CHECKING:  # an optimisation asks for its own
    from .optimisation import Optimisation


@torch.no_grad()
def scalars(run: Optimisation) -> dict[str, float]:
    """Returns the numbers of the last step.

    Losses, opacity and area are means over the pairs. With several, each has curves of its own, too: ``mask/area/1_a-tiger``.

    Args:
        run: to look at.
    """
    alpha = run.opacity()
    mask = alpha > fixed_threshold(run.settings.threshold)
    each: dict[str, Tensor] = {f"loss/{name}": term for name, term in run.last_terms.items()}
    each |= {"alpha/mean": alpha.mean((1, 2, 3)), "mask/area": mask.float().mean((1, 2, 3))}
    found = {name: [float(value) for value in values] for name, values in each.items()}
    if run.settling.agreements is not None:
        found["mask/agreement"] = run.settling.agreements
    out = {name: sum(values) / len(values) for name, values in found.items()}
    out |= {"gradient_norm": float(run.guard.norm), "skipped_steps": float(run.guard.skipped.sum())}
    ious = {i: _iou(run, i, alpha) for i, pair in enumerate(run.pairs) if pair.mask is not None}
    if ious:
        out["iou"] = sum(ious.values()) / len(ious)
    if len(run.pairs) > 1:
        names = labels(run.prompts)
        out |= {f"{name}/{label}": value for name, values in found.items() for label, value in zip(names, values, strict=True)}
        out |= {f"iou/{names[i]}": value for i, value in ious.items()}
    return out


def _iou(run: Optimisation, i: int, alpha: Tensor) -> float:
    """Of a pair that has a ground truth, at its image's own size."""
    pair = run.pairs[i]
    now = unframe(alpha[i, 0], (pair.image.shape[-2], pair.image.shape[-1]), run.settings.framing).cpu()
    found = make_result(pair.image, pair.prompt, now, run.settings.threshold, target=pair.mask, ignore=pair.ignore).iou
    assert found is not None
    return found
