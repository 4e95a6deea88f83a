"""Keeps a NaN or infinite gradient from ruining a mask, or its neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..data.base import SampleError


class GradientError(SampleError):
    """Too many steps in a row had no finite gradient."""


class GradientGuard:
    """Skips the step of every pair whose gradient is not finite, and counts the skips, without waiting for the device.

    Call :meth:`clean` behind each ``backward``, :meth:`before_step` before ``optimizer.step`` and :meth:`after_step` behind it.
    Behind each, because gradients may be accumulated, and a scaler of half precision would skip the step of all pairs for the
    sake of one. A parameter whose first dimension is the number of pairs is guarded pair by pair, any other as a whole.

    Args:
        parameters: of the alpha.
        pairs: N.
        limit: steps in a row without a finite gradient that raise.
        check_every: steps between two looks at the counter, which wait for the device.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], pairs: int, limit: int = 20, check_every: int = 10) -> None:
        self.parameters = list(parameters)
        self.limit, self.check_every = limit, check_every
        device = self.parameters[0].device
        self.skipped = torch.zeros(pairs, dtype=torch.int64, device=device)
        self.in_a_row = torch.zeros_like(self.skipped)
        self._held_pairs = [False] * pairs
        self.held = torch.zeros(pairs, dtype=torch.bool, device=device)
        self._bad = torch.zeros_like(self.held)
        self._steps = 0

    def hold(self, pairs: list[bool]) -> None:
        """Leaves some pairs as they are from here on; that is no skip. A shared parameter moves until all are held."""
        if pairs != self._held_pairs:  # a copy to the device only where something changed
            self._held_pairs, self.held = pairs, torch.tensor(pairs, device=self.held.device)

    @property
    def norm(self) -> Tensor:
        """Norm of the gradient as it is now, without what was taken out."""
        squares = [p.grad.square().sum() for p in self.parameters if p.grad is not None]
        return sum(squares, torch.zeros((), device=self.skipped.device)).sqrt()

    def clean(self) -> None:
        """Takes the gradient of pairs out where it is not finite; their next step is skipped."""
        pairs = len(self.skipped)
        present = [(p, p.grad) for p in self.parameters if p.grad is not None]
        # One sum says it of all of a pair's numbers, and is the norm as well; it is infinite beyond 1e19, too.
        squares = [_squares(gradient, pairs) for _, gradient in present]
        bad = ~sum(squares, torch.zeros(pairs, device=self.skipped.device)).isfinite()
        for p, gradient in present:
            p.grad = torch.where(_spread(bad, p, pairs), 0, gradient)
        self._bad = self._bad | bad

    def before_step(self) -> None:
        """Counts the pairs whose gradient was not finite, and keeps what their step must not move."""
        self._before = [p.detach().clone() for p in self.parameters]
        self.skipped += self._bad
        self.in_a_row = torch.where(self._bad, self.in_a_row + 1, 0)

    def after_step(self) -> None:
        """Puts back the parameters of the pairs that were skipped, which a momentum may have moved.

        Raises:
            GradientError: after ``limit`` skips in a row, at every tenth step (``check_every``).
        """
        with torch.no_grad():
            for p, before in zip(self.parameters, self._before, strict=True):
                pairs = len(self.skipped)
                held = _spread(self.held, p, pairs) if _is_per_pair(p, pairs) else self.held.all()
                p.copy_(torch.where(_spread(self._bad, p, pairs) | held, before, p))
        self._bad = torch.zeros_like(self._bad)
        self._steps += 1
        if self._steps % self.check_every == 0:
            self.check(self.limit)

    def at_the_end(self) -> None:
        """Looks a last time, also after a run too short for a look.

        Raises:
            GradientError: after ``limit`` skips in a row, or where a pair has never had a finite gradient.
        """
        if self._steps:
            self.check(min(self.limit, self._steps))

    def check(self, limit: int) -> None:
        """Raises :class:`GradientError` where ``limit`` or more steps in a row, up to now, had no finite gradient."""
        worst = int(self.in_a_row.max())
        if worst >= limit:
            raise GradientError(
                f"{worst} steps in a row had a NaN or infinite gradient; "
                "use `--trainer.precision 32-true`, a vae_dtype of float32, or a lower guidance"
            )

    def state_dict(self) -> dict[str, Any]:
        """The counts of steps and of skipped ones, for a resumed run."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the counts of :meth:`state_dict`."""
        self._steps = state.get("steps", 0)  # checkpoints of before do not have them
        device = self.skipped.device
        self.skipped, self.in_a_row = state["skipped"].to(device), state["in_a_row"].to(device)


def _is_per_pair(p: Tensor, pairs: int) -> bool:
    return p.ndim > 1 and p.shape[0] == pairs


def _squares(gradient: Tensor, pairs: int) -> Tensor:
    """The sum of its squares, for each pair where each has its own: (N,) or ()."""
    return gradient.flatten(1).square().sum(1) if _is_per_pair(gradient, pairs) else gradient.square().sum()


def _spread(bad: Tensor, p: Tensor, pairs: int) -> Tensor:
    return bad.view(-1, *[1] * (p.ndim - 1)) if _is_per_pair(p, pairs) else bad.any()
