"""What the README and the pages for users tell people to type is understood by the command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import peekaboo
from peekaboo.command_line.entry import run
from peekaboo.command_line.names import CONFIGS
from peekaboo.command_line.parser import CommandLine

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("choosing", "stable_diffusion", "loggers")),
]
PLACEHOLDERS = {"$penalty": "0.1", "mine.Ellipse": "peekaboo.alphas.Raster"}


def lines_of(page: Path) -> list[str]:
    """The commands in a page, one a line, without what a shell does around them."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), flags=re.DOTALL)
    found = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in found if re.match(r"(peekaboo|python cli\.py) fit ", line)]


def understood(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(CommandLine, "instantiate_classes", lambda self: None)
    monkeypatch.setattr(CommandLine, "_run_subcommand", lambda self, subcommand: None)
    return run(arguments).config["fit"]


@pytest.mark.parametrize("command", sorted({line for page in PAGES for line in lines_of(page)}))
def test_a_command_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLACEHOLDERS.items():
        command = command.replace(name, value)
    words = shlex.split(command, comments=True)
    assert understood(words[words.index("fit") :], monkeypatch).model is not None


def test_the_knobs_of_the_table_are_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = re.findall(r"`(--model\.[^`]+ [^`]+)`", (ROOT / "docs" / "choosing.md").read_text())
    assert len(knobs) >= 8
    model = understood(["fit", "--config", "rgb_bilateral.yaml", *shlex.split(" ".join(knobs))], monkeypatch).model.init_args
    assert (model.threshold, model.alpha.init_args.tolerance, model.loss.init_args.noise_samples) == ("otsu", 0.1, 4)


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.stem)
def test_configs_that_a_page_names_are_there(page: Path) -> None:
    own = {"ellipse.yaml", "my_study.yaml", "NAME.yaml"}
    named = set(re.findall(r"--config ([\w./-]+\.yaml)", page.read_text())) - own
    assert {name for name in named if not (CONFIGS / name.removeprefix("configs/")).is_file()} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_picture_of_one_optimisation_has_a_column_a_step(
    tmp_path: Path, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import how_it_works

    quick = {"loss__teacher__path": str(pipeline), "resolution": 16, "device": "cpu"}
    load = peekaboo.load
    monkeypatch.setattr(how_it_works.peekaboo, "load", lambda name, **rest: load(name, **{**rest, **quick, "iterations": 5}))
    monkeypatch.setattr(how_it_works, "IMAGES", tmp_path)
    monkeypatch.setattr(how_it_works, "STEPS", (1, 3, 5))
    how_it_works.main()
    with Image.open(tmp_path / "optimisation.png") as picture:
        assert picture.size == (3 * (16 + 3) + 3, 3 * (16 + 3) + 3)  # judged, alpha and mask, each in a frame of three pixels
