"""What the page's buttons and sliders do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..functional.optional import extra
from ..results.drawing import all_of, to_picture
from ..results.finish import Cutout
from ..results.result import Result
from . import views
from .jobs import Jobs
from .sessions import Sessions
from .wishes import Limits, Wish, wish

with extra("web", "peekaboo web"):
    import gradio as gr

log = logging.getLogger(__name__)
DOWNLOADS = {"mask": "Mask", "cutout": "Cut-out", "timelapse": "Time-lapse", "all": "All files (.zip)"}


@dataclass(frozen=True)
class Done:
    """A job that is over, as a page keeps it."""

    results: list[Result]
    asked: Wish


class Actions:
    """The handlers of events.

    Args:
        jobs: run what is asked for.
        limits: of what may be asked for.
        sessions: keep what belongs to an open page.
        examples: pictures with prompts, one a line.
    """

    def __init__(self, jobs: Jobs, limits: Limits, sessions: Sessions, examples: list[views.Example]) -> None:
        self.jobs, self.limits, self.sessions, self.examples = jobs, limits, sessions, examples

    # ---- before a job --------------------------------------------------------------------------------------------------------

    def length(self, variant: str, teacher: str) -> int:
        """Returns the iterations that a variant has with a teacher, as far as they are allowed."""
        return min(self.jobs.offer.iterations(variant, teacher), self.limits.max_iterations)

    def example(self, number: int) -> tuple[str, str]:
        """Returns picture and prompts of an example."""
        file, words = self.examples[number]
        return str(file), words

    # ---- a job ---------------------------------------------------------------------------------------------------------------

    def begin(self, request: gr.Request) -> tuple[Any, ...]:
        """Clears all that is shown, in the order of the page's parts, before a job waits for its turn."""
        self.sessions.begin(_name(request))
        buttons = (gr.update(interactive=False), gr.update(interactive=True))
        downloads = (gr.update(interactive=False) for _ in DOWNLOADS)
        choice = gr.update(choices=[], visible=False)
        return None, views.note("waiting for its turn ..."), *buttons, choice, None, None, None, None, "", *downloads

    def segment(
        self, image: str | None, words: str, variant: str, teacher: str, iterations: float, seed: float, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Runs a job; yields what there is to see: done, status, overlay, choice of prompts."""
        name = _name(request)
        stop = self.sessions.stop(name)
        try:
            self.sessions.uses(name, image)
            asked = wish(image, words, variant, teacher, iterations, seed, self.jobs.offer, self.limits)
            for moment in self.jobs.run(asked, stop):
                if moment.results is None:
                    yield gr.skip(), views.progress(moment), views.picture_of(moment, asked.prompts), gr.skip()
                    continue
                choice = gr.update(choices=asked.prompts, value=asked.prompts[0], visible=len(asked.prompts) > 1)
                yield Done(moment.results, asked), gr.skip(), gr.skip(), choice
        except Exception as error:
            yield None, views.note(self._explained(error), "wrong"), None, gr.skip()

    def _explained(self, error: Exception) -> str:
        line = self.jobs.offer.explain(error)
        if line is None:
            log.exception("peekaboo web")
            return f"a mistake of the program, {type(error).__name__}; the server's terminal says where"
        return line

    def end(self, done: Done | None) -> tuple[Any, ...]:
        """Lets go of the buttons: run, stop, downloads."""
        downloads = (gr.update(interactive=done is not None) for _ in DOWNLOADS)
        return gr.update(interactive=True), gr.update(interactive=False), *downloads

    def halt(self, request: gr.Request) -> Any:
        """Ends the job of a page; its masks are what they are then."""
        self.sessions.stop(_name(request)).set()
        return gr.update(interactive=False)

    def leave(self, request: gr.Request) -> None:
        """Ends a page that was closed."""
        self.sessions.end(_name(request))

    # ---- behind a job, without another ---------------------------------------------------------------------------------------

    def masks(self, done: Done | None, chosen: int | None, *refine: Any) -> tuple[Any, ...]:
        """Draws the masks as they were asked to be cleaned up: status, overlay, mask, figures."""
        if done is None:
            return (gr.skip(),) * 4
        results = views.refined(done.results, *refine)
        mask = to_picture(results[chosen or 0].mask)
        return views.told(results, done.asked), all_of(results), mask, views.figures(results)

    def cutout(self, done: Done | None, chosen: int | None, *refine: Any) -> Any:
        """Draws the cut-out of the prompt that was chosen."""
        return gr.skip() if done is None else views.refined([done.results[chosen or 0]], *refine)[0].cutout

    def lapse(self, done: Done | None, chosen: int | None, request: gr.Request) -> Any:
        """Writes the time-lapse of the prompt that was chosen."""
        if done is None:
            return gr.skip()
        return str(views.save("timelapse", done.results, chosen or 0, self.sessions.folder(_name(request))))

    def writer(self, kind: str) -> Callable[..., Any]:
        """Returns what writes a file that is to be downloaded; see :func:`peekaboo.web.views.save`."""

        def write(
            done: Done | None,
            chosen: int | None,
            threshold: float,
            cutout: Cutout,
            largest: bool,
            holes: bool,
            specks: float,
            request: gr.Request,
        ) -> Any:
            if done is None:
                return gr.skip()
            results = views.refined(done.results, threshold, cutout, largest, holes, specks)
            return str(views.save(kind, results, chosen or 0, self.sessions.folder(_name(request))))

        return write


def _name(request: gr.Request) -> str:
    """The name that the browser gave its page."""
    return str(request.session_hash)
