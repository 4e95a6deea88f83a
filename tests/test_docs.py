"""What the pages tell people to type is understood by the programs that they name."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import peekaboo
from peekaboo.command_line import web
from peekaboo.command_line.entry import run
from peekaboo.command_line.names import CONFIGS, find_config, named_configs
from peekaboo.command_line.parser import CommandLine
from peekaboo.command_line.quick import COMMANDS, expanded, is_source
from peekaboo.command_line.short import OF_DATA, OF_FIT, SHORT, written_out
from peekaboo.command_line.study import _parser as study_parser

ROOT = Path(__file__).resolve().parent.parent
#: The notebook is left out: its commands are those of their day.
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.stem != "notebook"]
PAGES += [ROOT / "README.md", ROOT / "peekaboo" / "assets" / "README.md"]
#: What a reader is to put in, and a value that does.
PLACEHOLDERS = {
    "$penalty": "0.1",
    "$k": "1",
    "$SLURM_ARRAY_TASK_ID": "1",
    "mine.Ellipse": "peekaboo.alphas.Raster",
    "NAME": "raster",
}
OWN = {"ellipse.yaml", "my_study.yaml"}  # files that a page says how to write
RUN_ELSEWHERE = {"extending"}  # by tests/test_extension.py
PROGRAM = r"(?:peekaboo|python cli\.py|python (?:benchmarks/\w+|docs/pictures)\.py|python -m peekaboo[\w.]*)"


def commands_of(text: str) -> Iterator[str]:
    """The commands in a text, one a line, without what a shell does around them: in blocks, in tables and between the words."""
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4}(?!#)(.*)$", text, flags=re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    inline = [re.sub(r"\s+", " ", found) for found in re.findall(r"(?<!`)`([^`]+)`", prose)]
    for line in [*(line for block in blocks for line in block.splitlines()), *indented, *inline]:
        found = re.search(rf"(?:^\s*|^[A-Z_]+=\d+ |; do |\| |srun |torchrun .*?-m (?=peekaboo ))({PROGRAM}(?: [^|;]*|$))", line)
        if found and "..." not in found[1] and "<" not in found[1] and "--help" not in found[1]:
            yield found[1].strip()


def cases(kind: str) -> list[Any]:
    """Commands of all pages that begin with a word of this kind, each once."""
    found = {}
    for page in PAGES:
        for command in commands_of(page.read_text(encoding="utf-8")):
            for name, value in PLACEHOLDERS.items():
                command = command.replace(name, value)
            words = shlex.split(re.sub(r"--ckpt_path \S+", "", command), comments=True)  # there is none yet
            words = words[2:] if words[:2] == ["python", "cli.py"] else words[words[0] == "peekaboo" :]
            if not words:  # the program's name alone
                continue
            first = "script" if words[0] == "python" else words[0] if words[0] in COMMANDS else "image"
            if first == kind and page.stem not in RUN_ELSEWHERE:
                found.setdefault(" ".join(words), pytest.param(words, id=f"{page.stem}: {' '.join(words)}"))
    return list(found.values())


@pytest.fixture
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what a reader has: images, folders of them, a file of his own."""
    for folder in ("photos", "FOLDER", "peekaboo"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dog.jpg").touch()
    (tmp_path / "peekaboo" / "assets").symlink_to(ROOT / "peekaboo" / "assets")
    monkeypatch.chdir(tmp_path)


def understood(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(CommandLine, "instantiate_classes", lambda self: None)
    monkeypatch.setattr(CommandLine, "_run_subcommand", lambda self, subcommand: None)
    return run(arguments).config[arguments[0]]


@pytest.mark.usefixtures("_place")
@pytest.mark.parametrize("words", [*cases("fit"), *cases("test"), *cases("predict")])
def test_a_command_is_understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the parser, where it has an argument of its; the configs alone are parsed by their own tests."""
    written = written_out(words)
    configs = named_configs(written)
    assert configs
    assert all(find_config(name) for name in configs)
    shorts = {*SHORT.values(), *(OF_FIT if words[0] == "fit" else OF_DATA).values(), "--config", "--output", "--name"}
    if {word.partition("=")[0] for word in written if word.startswith("--")} - shorts:
        assert understood(words, monkeypatch).model is not None


@pytest.mark.usefixtures("_place")
@pytest.mark.parametrize("words", cases("image"))
def test_a_short_command_is_understood(words: list[str]) -> None:
    assert is_source(words[0])
    if words[0] != "-":
        assert written_out(expanded(words))[0] in ("fit", "predict")


@pytest.mark.parametrize("words", cases("web"))
def test_a_page_can_be_served(words: list[str]) -> None:
    assert web.parse(words[1:]).port == 7860


class UnderstoodError(Exception):
    """Raised in the place of what a program would do with its arguments."""


@pytest.mark.parametrize("words", cases("script"))
def test_a_script_is_there_and_takes_its_arguments(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_known_args

    def parsed(*args: Any, **options: Any) -> Any:
        rest = parse(*args, **options)[1]
        assert not rest, f"arguments that it does not know: {rest}"
        raise UnderstoodError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parsed)
    monkeypatch.setattr(sys, "argv", words[2 if words[1] == "-m" else 1 :])
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    start = runpy.run_module if words[1] == "-m" else lambda file, **rest: runpy.run_path(str(ROOT / file), **rest)
    with pytest.raises(UnderstoodError):
        start(words[2] if words[1] == "-m" else words[1], run_name="__main__")


@pytest.mark.parametrize("words", cases("study"))
def test_a_study_is_there_and_takes_its_arguments(words: list[str]) -> None:
    asked, rest = study_parser().parse_known_args(words[1:])
    assert Path(find_config(asked.config[0])).parent.name == "studies"
    assert all(one.startswith(("--trainer.", "32-true")) for one in rest)  # handed to the cells


def test_the_knobs_of_the_table_are_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = re.findall(r"`(--model\.[^`]+ [^`]+)`", (ROOT / "docs" / "choosing.md").read_text())
    assert len(knobs) >= 8
    model = understood(["fit", "--config", "rgb_bilateral", *shlex.split(" ".join(knobs))], monkeypatch).model.init_args
    assert (model.threshold, model.alpha.init_args.tolerance, model.loss.init_args.noise_samples) == ("otsu", 0.1, 4)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).with_suffix("").as_posix())
def test_a_page_names_configs_that_are_there_and_the_program_one_way(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {name for name in re.findall(r"--config ([\w./-]+)", text) if name not in OWN and not name.endswith("NAME")}
    main_job = {"depth_bilateral.yaml"} if page == ROOT / "README.md" else set()  # as the paper's readers know it
    assert {name for name in named if not (CONFIGS / f"{name.removesuffix('.yaml')}.yaml").is_file()} == set()
    assert {name for name in named if name.endswith(".yaml")} == main_job
    assert set(re.findall(r"python cli\.py (\w+)", text)) == ({"fit"} if main_job else set())


@pytest.mark.parametrize(
    "config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda file: file.relative_to(CONFIGS).with_suffix("").as_posix()
)
def test_the_head_of_a_config_has_commands_with_names_that_are_there(config: Path) -> None:
    head = "\n".join(line for line in config.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    assert "cli.py" not in head
    assert all(find_config(name) for name in re.findall(r"--config ([\w./-]+)", head))


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
