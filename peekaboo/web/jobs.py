"""The one optimisation that runs at a time, with its alphas on their way, and a stop that keeps them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.base import Sample
from ..functional.framing import unframe
from ..functional.random import pair_seeds
from ..functional.surroundings import float32_by_default
from ..optimisation.segmenter import Segmenter
from ..results.result import Result
from .wishes import Offer, Wish, shrunk

PREVIEW = 320  # pixels that a picture of a moment has at most
EVERY = 0.25  # seconds between two moments
PATIENCE = 30.0  # seconds for which nobody asks how far a job is, before it ends


@dataclass(frozen=True)
class Moment:
    """A job on its way.

    Attributes:
        iteration: that was done last; 0 while networks are loaded.
        iterations: at most.
        seconds: since the first iteration began.
        image: (3, h, w), small.
        alphas: (N, h, w) in [0, 1], of each prompt; None before the first iteration.
        results: of each prompt, when it is over.
    """

    iteration: int
    iterations: int
    seconds: float
    image: Tensor
    alphas: Tensor | None = None
    results: list[Result] | None = None


class Jobs:
    """Runs one optimisation at a time, whoever asks; the others wait. The networks that were used last stay loaded.

    Args:
        offer: what there is to choose from.
        patience: see ``PATIENCE``.
    """

    def __init__(self, offer: Offer, patience: float = PATIENCE) -> None:
        self.offer, self.patience = offer, patience
        self._turn = threading.Lock()
        self._loaded: tuple[str, str] | None = None
        self._segmenter: Segmenter | None = None

    def run(self, asked: Wish, stop: threading.Event) -> Iterator[Moment]:
        """Yields moments of a job, the last one with its results.

        Args:
            asked: what to do.
            stop: ends the optimisation when it is set; the masks are what they are then. So does who no longer asks for moments.

        Raises:
            ValueError, FileNotFoundError: for what the networks refuse.
        """
        listener = _Listener(stop, self.patience)
        threading.Thread(target=self._work, args=(asked, listener), daemon=True, name="peekaboo job").start()
        try:
            while True:
                said = listener.hear()
                if isinstance(said, Exception):
                    raise said
                if said is not None:
                    yield said
                    if said.results is not None:
                        return
        finally:
            listener.leave()

    def _work(self, asked: Wish, listener: _Listener) -> None:
        try:
            with self._turn, float32_by_default():
                if listener.gone:  # while it waited
                    raise TimeoutError("nobody asked for this job any more")
                listener.tell(self._optimised(asked, listener))
        except Exception as error:
            listener.tell(error)

    def _optimised(self, asked: Wish, listener: _Listener) -> Moment:
        small = shrunk(asked.image, PREVIEW)
        listener.tell(Moment(0, asked.iterations, 0.0, small))
        segmenter = self._load(asked.variant, asked.teacher).lasting(asked.iterations)
        pairs = [Sample(str(i), asked.image, prompt) for i, prompt in enumerate(asked.prompts)]
        started = time.monotonic()
        done = 0

        def report(step: int) -> bool:
            nonlocal done
            done = step
            if listener.waits():
                alphas = _alphas(segmenter, small)
                listener.tell(Moment(step, asked.iterations, time.monotonic() - started, small, alphas))
            return listener.stops

        results = segmenter.segment(pairs, pair_seeds(asked.seed, len(pairs)), report=report)
        for result in results:
            result.record["interrupted"] = listener.stops and done < asked.iterations
        return Moment(done, asked.iterations, time.monotonic() - started, small, _alphas(segmenter, small), results)

    def _load(self, variant: str, teacher: str) -> Segmenter:
        if self._segmenter is None or self._loaded != (variant, teacher):
            self._segmenter = None  # its memory is the next one's
            self._segmenter, self._loaded = self.offer.load(variant, teacher), (variant, teacher)
        return self._segmenter


class _Listener:
    """Between the thread that optimises and the one that shows it."""

    def __init__(self, stop: threading.Event, patience: float) -> None:
        self._stop, self._patience = stop, patience
        self._said: queue.SimpleQueue[Moment | Exception] = queue.SimpleQueue()
        self._heard = self._told = time.monotonic()
        self._left = False

    # ---- the one that shows ------------------------------------------------------------------------------------------------

    def hear(self) -> Moment | Exception | None:
        """Returns what was said next; None if it takes long."""
        self._heard = time.monotonic()
        try:
            return self._said.get(timeout=min(0.5, self._patience / 4))
        except queue.Empty:
            return None

    def leave(self) -> None:
        """Asks for nothing more."""
        self._left = True

    # ---- the one that optimises --------------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether nobody asks any more."""
        return self._left or time.monotonic() - self._heard > self._patience

    @property
    def stops(self) -> bool:
        """Whether the optimisation is to end."""
        return self._stop.is_set() or self.gone

    def waits(self) -> bool:
        """Whether it is time for another moment."""
        return self._said.empty() and time.monotonic() - self._told >= EVERY

    def tell(self, what: Moment | Exception) -> None:
        self._told = time.monotonic()
        self._said.put(what)


def _alphas(segmenter: Segmenter, small: Tensor) -> Tensor:
    """The alphas as they are now, (N, h, w), as a small picture has them."""
    alphas = segmenter.running.opacity().detach().cpu()[:, 0]
    size = (small.shape[-2], small.shape[-1])
    return torch.stack([unframe(alpha, size, segmenter.settings.framing) for alpha in alphas])
