"""How alphas changed while they were optimised, in a few numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..functional.maps import pixel_variance, total_variation

LOOKS = 40  # about as many as a time-lapse has frames


class Course:
    """Notes of each of N alphas, at some forty steps, its mean, its pixel variance and its total variation.

    Nothing waits for the device until the course is asked for.
    """

    NAMES = ("mean_alpha", "pixel_variance", "total_variation")

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._notes: list[Tensor] = []

    def note(self, step: int, total: int, alpha: Tensor) -> None:
        """Looks at alphas before a step, if it is one of those that are looked at.

        Args:
            step: number of the iteration, from 0.
            total: iterations in all.
            alpha: (N, 1, H, W) in [0, 1].
        """
        if step % max(total // LOOKS, 1) == 0 and (not self.steps or step > self.steps[-1]):
            self.steps.append(step)
            self._notes.append(_numbers(alpha))

    def of(self, iterations: int, alpha: Tensor) -> list[dict[str, list[float]]]:
        """Returns the course of each alpha, ended by what it is now: lists of equal length, by ``iteration`` and :attr:`NAMES`.

        Args:
            iterations: that are done.
            alpha: (N, 1, H, W) in [0, 1].
        """
        steps = [*self.steps, iterations]
        notes = torch.stack([*self._notes, _numbers(alpha)], 1).cpu()  # (N, T, 3)
        found = []
        for own in notes:
            values = {name: [round(value, 6) for value in own[:, i].tolist()] for i, name in enumerate(self.NAMES)}
            found.append({"iteration": [float(step) for step in steps], **values})
        return found

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on with it."""
        return {"steps": list(self.steps), "notes": [note.cpu() for note in self._notes]}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Takes up a state of :meth:`state_dict`."""
        self.steps, self._notes = list(state["steps"]), [note.to(device) for note in state["notes"]]


@torch.no_grad()
def _numbers(alpha: Tensor) -> Tensor:
    return torch.stack([alpha.mean((1, 2, 3)), pixel_variance(alpha), total_variation(alpha)], 1)
