"""Jobs of the page: what may be asked for, one at a time, moments on the way, a stop that keeps the mask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peekaboo.functional.random import pair_seeds
from peekaboo.losses import ScoreDistillation
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.teachers import Diffusion
from peekaboo.web.jobs import Jobs, Moment
from peekaboo.web.sessions import Sessions
from peekaboo.web.views import told
from peekaboo.web.wishes import Limits, Offer, Wish

Ask = Callable[..., Wish]


def run(jobs: Jobs, asked: Wish, stop: threading.Event | None = None) -> list[Moment]:
    return list(jobs.run(asked, stop or threading.Event()))


def test_a_job_gives_what_python_gives(offer: Offer, ask: Ask, make_segmenter: Callable[..., Segmenter]) -> None:
    asked = ask(words="a red apple\n\n  a bear \na red apple", iterations=3, seed=5)
    assert asked.prompts == ["a red apple", "a bear"] and asked.before is None
    *_, last = run(Jobs(offer), asked)
    assert last.results is not None and last.iteration == 3
    from peekaboo.data.base import Sample

    pairs = [Sample(str(i), asked.image, prompt) for i, prompt in enumerate(asked.prompts)]
    expected = make_segmenter(iterations=3).segment(pairs, pair_seeds(5, 2))
    for result, same in zip(last.results, expected, strict=True):
        assert torch.equal(result.alpha, same.alpha) and result.prompt == same.prompt
        assert result.record["configuration"] == same.record["configuration"]  # which says 3 iterations
        assert result.record["interrupted"] is False


def test_moments_show_the_alpha_on_its_way(offer: Offer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peekaboo.web.jobs.EVERY", 0.0)
    first, *rest, last = run(Jobs(offer), ask(iterations=20))
    assert first.iteration == 0 and first.alphas is None and first.image.shape == (3, 20, 28)
    assert rest and [moment.iteration for moment in rest] == sorted({moment.iteration for moment in rest})
    for moment in rest:
        assert moment.alphas is not None and moment.alphas.shape == (1, 20, 28) and 0 < moment.iteration <= 20
    assert last.results is not None and last.iteration == 20


def test_stop_keeps_the_mask_that_is_there(offer: Offer, ask: Ask) -> None:
    stop = threading.Event()
    moments = []
    for moment in Jobs(offer).run(ask(Limits(max_iterations=10**6), iterations=10**6), stop):
        moments.append(moment)
        if moment.alphas is not None:
            stop.set()
    (result,) = moments[-1].results or []
    assert result.record["interrupted"] and 0 < result.record["iterations"] < 10**6
    assert result.alpha.shape == (20, 28) and result.alpha.std() > 0


def test_a_job_that_nobody_looks_at_ends(offer: Offer, ask: Ask) -> None:
    jobs = Jobs(offer, patience=0.1)
    endless = jobs.run(ask(Limits(max_iterations=10**6), iterations=10**6), threading.Event())
    next(endless)  # and no more: the page was closed
    jobs.patience = 60.0
    assert run(jobs, ask())[-1].results


def test_one_at_a_time(offer: Offer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    segment = Segmenter.segment

    def counted(*args: object, **rest: object) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.05)
        found = segment(*args, **rest)  # type: ignore[arg-type]
        running -= 1
        return found

    monkeypatch.setattr(Segmenter, "segment", counted)
    jobs, done = Jobs(offer), []
    threads = [threading.Thread(target=lambda: done.append(run(jobs, ask())[-1])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3 and most == 1


def test_networks_stay_loaded_until_others_are_asked_for(offer: Offer, ask: Ask) -> None:
    jobs = Jobs(offer)
    for variant in ("raster", "raster", "rgb_bilateral"):
        run(jobs, ask(variant=variant, iterations=1))
    assert offer.load.asked == [("raster", "embedded"), ("rgb_bilateral", "embedded")]  # type: ignore[attr-defined]


def test_words_that_a_teacher_does_not_know_are_said(
    offer: Offer, ask: Ask, make_segmenter: Callable[..., Segmenter], closed_pipeline: Path
) -> None:
    closed = make_segmenter(loss=ScoreDistillation(Diffusion(str(closed_pipeline))))
    asked = ask(words="a violet zeppelin\na red apple")
    unknown, known = run(Jobs(replace(offer, load=lambda variant, teacher: closed)), asked)[-1].results or []
    assert unknown.record["unknown_words"] == ["violet", "zeppelin"] and "unknown_words" not in known.record
    assert "&#x27;violet&#x27;, &#x27;zeppelin&#x27;" in told([unknown], asked)


def test_what_networks_refuse_is_raised_and_the_next_one_has_its_turn(offer: Offer, ask: Ask) -> None:
    def refuse(variant: str, teacher: str) -> Segmenter:
        raise FileNotFoundError("teacher: expected a folder, got none")

    jobs = Jobs(replace(offer, load=refuse))
    with pytest.raises(FileNotFoundError, match=r"^teacher: expected a folder, got none$"):
        run(jobs, ask())
    jobs.offer = offer
    assert run(jobs, ask())[-1].results


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"image": None}, r"image: expected one, got none; .*"),
        ({"words": " \n "}, r"prompt: expected what to look for, got none; .*"),
        ({"words": "\n".join(f"a dog {i}" for i in range(8))}, r"prompt: expected at most 7, one a line, got 8"),
        ({"variant": "../secret"}, r"variant: expected one of rgb_bilateral, raster, got '\.\./secret'"),
        ({"teacher": "owner/model"}, r"teacher: expected one of embedded, got 'owner/model'"),
        ({"iterations": 401}, r"iterations: expected a whole number from 1 to 400, got 401"),
        ({"iterations": 1.5}, r"iterations: expected a whole number from 1 to 400, got 1\.5"),
        ({"seed": -1}, r"seed: expected a whole number from 0 to 2147483648, got -1"),
        ({"seed": None}, r"seed: expected a whole number from 0 to 2147483648, got None"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(wrong: dict[str, object], line: str, ask: Ask, offer: Offer) -> None:
    with pytest.raises(ValueError, match=f"^{line}$") as error:
        ask(**wrong)
    assert offer.explain(error.value) == str(error.value)


def test_a_file_is_named_without_its_folder(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a picture")
    for file, reason in (("notes.txt", "which is none"), ("gone.png", "that is gone")):
        with pytest.raises(ValueError, match=reason) as error:
            ask(image=str(tmp_path / file))
        assert str(tmp_path) not in str(error.value)


def test_large_images_are_made_smaller_and_larger_ones_refused(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "large.png"
    Image.fromarray(np.zeros((50, 200, 3), np.uint8)).save(file)
    asked = ask(Limits(max_side=100), image=str(file))
    assert asked.image.shape == (3, 25, 100) and asked.before == (200, 50)
    monkeypatch.setattr("peekaboo.web.wishes.MAX_PIXELS", 9_999)
    with pytest.raises(ValueError, match=r"^image: expected at most 0 megapixels, got 'large\.png' with 200 x 50$"):
        ask(image=str(file))


@pytest.mark.parametrize("wrong", ["max_side", "max_iterations", "max_waiting", "max_upload"])
def test_limits_that_allow_nothing_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=rf"^{wrong}: expected at least \d+, got 0$"):
        Limits(**{wrong: 0})


def test_another_job_of_a_page_ends_the_one_before(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path, kept=tmp_path / "examples")
    first = sessions.stop("me")
    sessions.begin("me")
    assert first.is_set() and not sessions.stop("me").is_set()


def test_what_belongs_to_a_page_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    sessions = Sessions(tmp_path, kept=tmp_path / "examples")
    shared, own, example = tmp_path / "shared.png", tmp_path / "own.png", tmp_path / "examples" / "apple.png"
    outside = tmp_path.parent / "outside.png"
    for file in (shared, own, example, outside):
        file.touch()
        sessions.uses("first", str(file))
    sessions.uses("first", None)
    sessions.uses("second", str(shared))
    folder = sessions.folder("../first/..")
    assert folder.parent == tmp_path and folder != sessions.folder("first") and sessions.folder("first").is_dir()
    first = sessions.folder("first")
    stop = sessions.stop("first")
    sessions.end("first")
    assert stop.is_set() and not first.exists() and not own.exists()
    assert shared.exists() and example.exists() and outside.exists()
    sessions.close()
    assert not shared.exists() and not folder.exists() and example.exists() and outside.exists()
    outside.unlink()
