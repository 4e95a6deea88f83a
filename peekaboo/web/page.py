"""How the page looks, and which of its parts does what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from ..functional.optional import extra
from ..results.finish import SPECK, Cutout
from . import views
from .actions import DOWNLOADS, Actions

with extra("web", "peekaboo web"):
    import gradio as gr

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
#: Clicks the link to the file that was just made: whoever asked for the file cannot have known its name.
FETCH = "() => { const link = document.querySelector('#fetch'); (link.querySelector('a, button') ?? link).click(); }"
AGE = 3600  # seconds after which results and files of a page that nobody closed are deleted
OWN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
PICTURE: dict[str, Any] = {
    "interactive": False,
    "height": 460,
    "show_label": False,
    "buttons": ["fullscreen"],
    "format": "png",
}


def _file_of(upload: Any) -> str | None:
    """The file that was uploaded, as it was: :mod:`peekaboo.data.images` alone reads it, and says what is wrong with it."""
    return None if upload is None else upload.path


class Page:
    """The page, as :meth:`blocks` builds it.

    Args:
        actions: what it does.
        words: what the teachers know; None where they know everything.
    """

    def __init__(self, actions: Actions, words: list[str] | None = None) -> None:
        self.actions, self.words = actions, words

    def blocks(self) -> gr.Blocks:
        """Builds it."""
        with gr.Blocks(title="peekaboo", analytics_enabled=False, delete_cache=(600, AGE), fill_width=True) as page:
            gr.HTML("<h1>peekaboo</h1><p>Name what you see in a picture, and get its mask.</p>", elem_id="head")
            self.done = gr.State(None, time_to_live=AGE)
            with gr.Row(equal_height=False):
                with gr.Column(scale=4, min_width=320):
                    self._wishes()
                with gr.Column(scale=7, min_width=480):
                    self._results()
            self._wire_job()
            self._wire_refinement()
            page.unload(self.actions.leave)
        page.queue(max_size=self.actions.limits.max_waiting, default_concurrency_limit=4, api_open=False)
        return page

    # ---- what is seen --------------------------------------------------------------------------------------------------------

    def _wishes(self) -> None:
        """The left side: picture, prompts, examples, settings."""
        sources: list[Any] = ["upload", "clipboard"]
        self.image = gr.Image(label="Image", sources=sources, type="filepath", height=300, buttons=[], elem_id="image")
        self.image.preprocess = _file_of  # type: ignore[method-assign]  # a class of its own would write a file beside this one
        self.words_asked = gr.Textbox(
            label="What to look for", info="one a line", placeholder="a red apple", lines=2, max_lines=7, elem_id="prompts"
        )
        with gr.Row():
            self.run = gr.Button("Segment", variant="primary", elem_id="run")
            self.stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop")
        self.examples = gr.Dataset(
            components=[gr.Image(visible=False)],
            samples=[[str(file)] for file, _ in self.actions.examples],
            label="Examples",
            type="index",
            layout="gallery",
            elem_id="examples",
        )
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            self._settings()
        if self.words is not None:
            with gr.Accordion(f"What the embedded teacher knows ({len(self.words)} objects)", open=False):
                gr.Markdown(", ".join(self.words))

    def _settings(self) -> None:
        offer = self.actions.jobs.offer
        variants = [(f"{name}: {about}", name) for name, about in offer.variants.items()]
        first, teachers = variants[0][1], list(offer.teachers)
        self.variant = gr.Dropdown(variants, value=first, label="Variant", elem_id="variant")
        self.teacher = gr.Dropdown(teachers, value=teachers[0], label="Teacher", interactive=len(teachers) > 1)
        most, usual = self.actions.limits.max_iterations, self.actions.length(first, teachers[0])
        self.iterations = gr.Slider(1, most, usual, step=1, label="Iterations, at most", elem_id="iterations")
        self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")

    def _results(self) -> None:
        """The right side: how far it is, pictures, figures, what can be done without another run, downloads."""
        self.status = gr.HTML(views.note("Drop a picture, say what to look for, and press Segment."), elem_id="status")
        with gr.Tabs():
            with gr.Tab("Masks"):
                self.overlay = gr.Image(elem_id="overlay", **PICTURE)
            with gr.Tab("Cut-out"):
                self.cutout = gr.Image(elem_id="cutout", image_mode="RGBA", **PICTURE)
            with gr.Tab("Mask"):
                self.mask = gr.Image(elem_id="mask", image_mode="L", **PICTURE)
            with gr.Tab("Time-lapse"):
                self.lapse = gr.Image(elem_id="lapse", **PICTURE | {"format": "gif"})
        label = "Cut-out, mask, time-lapse and downloads of"
        self.chosen = gr.Radio([], label=label, visible=False, type="index", elem_id="chosen")
        self.figures = gr.HTML(elem_id="figures")
        with gr.Group(elem_id="refine"):
            with gr.Row():
                self.threshold = gr.Slider(0, 0.99, 0.5, step=0.01, label="Threshold", elem_id="threshold")
                self.specks = gr.Slider(0, 5, 100 * SPECK, step=0.05, label="Drop specks under (%)", elem_id="specks")
            with gr.Row():
                self.kind = gr.Radio(list(get_args(Cutout)), value="clean", label="Cut-out", elem_id="kind")
                with gr.Column():
                    self.largest = gr.Checkbox(False, label="Largest piece alone", elem_id="largest")
                    self.holes = gr.Checkbox(False, label="Fill holes", elem_id="holes")
        with gr.Row(elem_id="downloads"):
            self.downloads = {
                kind: gr.Button(f"⬇ {label}", size="sm", min_width=100, interactive=False, elem_id=f"get_{kind}")
                for kind, label in DOWNLOADS.items()
            }
            self.fetched = gr.DownloadButton("file", visible="hidden", elem_id="fetch")

    # ---- what does what ------------------------------------------------------------------------------------------------------

    @property
    def _refined(self) -> list[Any]:
        """What a picture of a finished mask depends on."""
        return [self.done, self.chosen, self.threshold, self.kind, self.largest, self.holes, self.specks]

    def _wire_job(self) -> None:
        do, downloads = self.actions, list(self.downloads.values())
        asked = [self.image, self.words_asked, self.variant, self.teacher, self.iterations, self.seed]
        pictures = [self.overlay, self.cutout, self.mask, self.lapse]
        cleared = [self.done, self.status, self.run, self.stop, self.chosen, *pictures, self.figures, *downloads]
        shown = [self.done, self.status, self.overlay, self.chosen]
        begun = gr.on([self.run.click, self.words_asked.submit], do.begin, None, cleared, queue=False, **OWN)
        over = begun.then(do.segment, asked, shown, concurrency_limit=1, concurrency_id="job", **OWN)
        self._draw(over.then(do.end, self.done, [self.run, self.stop, *downloads], **OWN).then, lapse=True)
        self.stop.click(do.halt, None, self.stop, queue=False, **OWN)
        self.examples.click(do.example, self.examples, [self.image, self.words_asked], queue=False, **OWN)
        chosen = [self.variant, self.teacher]
        gr.on([self.variant.input, self.teacher.input], do.length, chosen, self.iterations, queue=False, **OWN)

    def _wire_refinement(self) -> None:
        for part in (self.threshold, self.kind, self.largest, self.holes, self.specks):
            self._draw(part.change, trigger_mode="always_last")
        self._draw(self.chosen.input, lapse=True)
        for kind, button in self.downloads.items():
            made = button.click(self.actions.writer(kind), self._refined, self.fetched, **OWN)
            made.then(None, None, None, js=FETCH, **OWN)

    def _draw(self, event: Any, lapse: bool = False, **rest: Any) -> None:
        """Draws masks behind an event; then what takes longer."""
        masks = [self.status, self.overlay, self.mask, self.figures]
        drawn = event(self.actions.masks, self._refined, masks, **OWN, **rest)
        drawn = drawn.then(self.actions.cutout, self._refined, self.cutout, **OWN)
        if lapse:
            drawn.then(self.actions.lapse, [self.done, self.chosen], self.lapse, **OWN)
