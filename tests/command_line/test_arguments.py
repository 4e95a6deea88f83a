"""Arguments in any order, and text as text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser

from peekaboo.command_line.arguments import arrange
from peekaboo.command_line.configs import ConfigFile, as_text, with_input
from peekaboo.command_line.parser import dump
from peekaboo.data.base import SampleData
from peekaboo.results.records import command

TEXTS = ["1e5", "a: red apple", "null hypothesis", '"quoted"', "'so'", "yes", "12", "[not a list", "{a}", "a dog #2", "#1", "- x"]


def data_of(args: list[str]) -> dict[str, Any]:
    """What the parser makes of a command line's data."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ConfigFile)
    parser.add_subclass_arguments(SampleData, "data", required=True)
    parser.add_argument("--model", type=Any)
    parser.add_argument("--evaluation.folder", type=str | None)
    found: dict[str, Any] = parser.parse_args(arrange(args)).as_dict()
    return found


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("form", ["{option} {text}", "{option}={text}"])
def test_prompts_and_paths_are_the_text_that_was_typed(text: str, form: str) -> None:
    def given(option: str) -> list[str]:
        return [option, text] if form.startswith("{option} ") else [f"{option}={text}"]

    found = data_of([*given("--data.prompt"), *given("--data.images"), *given("--evaluation.folder")])
    assert found["data"]["init_args"]["prompt"] in (text, [text])
    manifest = data_of(given("--data.manifest"))["data"]["init_args"]["manifest"]
    for path in (found["data"]["init_args"]["images"], found["evaluation"]["folder"], manifest):
        assert Path(path) == Path(text)


@pytest.mark.parametrize(("option", "where"), [("--model.image", "image"), ("--data.images", "data.images")])
def test_a_name_that_is_no_text_is_refused_since_no_config_could_hold_it(option: str, where: str) -> None:
    with pytest.raises(ValueError, match=f"^{where}: expected text in Unicode, got half a character or a stray byte"):
        with_input(arrange(["predict", option, os.fsdecode(b"B\xe4r.png")]))


def test_a_list_in_json_is_a_list_and_null_is_none() -> None:
    prompts = ["a dog", "1e5"]
    found = data_of(["--data.images", "x", "--data.prompt", json.dumps(prompts), "--evaluation.folder", "null"])
    assert found["data"]["init_args"]["prompt"] == prompts
    assert found["evaluation"]["folder"] is None


FOLDER = ["--data.images", "photos"]
PROMPT = ["--data.prompt", "a dog"]
SIZE = ["--data.batch_size", "3"]


@pytest.mark.parametrize(
    "args",
    [
        [*FOLDER, *PROMPT, *SIZE],
        [*PROMPT, *FOLDER, *SIZE],
        [*SIZE, *PROMPT, *FOLDER],
        [*SIZE, *PROMPT, *FOLDER, "--data", "peekaboo.data.image_folder.ImageFolderData"],
        [*SIZE, "--config", "folder.yaml", *PROMPT, *FOLDER],
        [*PROMPT, "--data.batch_size=3", *FOLDER, "--config=folder.yaml"],
    ],
)
def test_arguments_of_data_count_wherever_they_stand(args: list[str]) -> None:
    Path("folder.yaml").write_text("data: {class_path: peekaboo.data.image_folder.ImageFolderData}")
    arguments = data_of(args)["data"]["init_args"]
    assert (arguments["images"], arguments["prompt"], arguments["batch_size"]) == ("photos", "a dog", 3)


def test_arguments_of_the_model_count_before_its_config_too() -> None:
    Path("some.yaml").write_text("model: {class_path: a.B}")
    assert arrange(["fit", "--model.iterations", "3", "--trainer.devices", "1", "--config", "some.yaml"]) == (
        ["fit", "--trainer.devices", "1", "--config", "some.yaml", "--model.iterations", "3"]
    )
    later = ["fit", "--config", "some.yaml", "--model.iterations", "3", "--config", "some.yaml"]
    assert arrange(later) == later  # what came behind a class stays where it stood: later configs win


@pytest.mark.parametrize("text", [*TEXTS, "1.5e3", ".5", "1_0", "0x1F", "2026-01-01", "~", "off", "1:30", "a\nb", "tab\t"])
def test_a_saved_config_gives_the_text_back(text: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--prompt", type=str | list[str])
    given = as_text(text, "prompt")  # as a command line gives it: what YAML would take for a list is in one
    assert parser.parse_string(dump({"prompt": given})).prompt == given in (text, [text])
    assert yaml.safe_load(dump({"prompt": text, "rate": 1e-5, "n": 3})) == {"prompt": text, "rate": 1e-5, "n": 3}


@pytest.mark.parametrize(
    ("called", "start"),
    [
        ("cli.py", "python cli.py"),
        ("/a b/cli.py", "python '/a b/cli.py'"),
        ("/usr/bin/peekaboo", "peekaboo"),
        ("/site/peekaboo/__main__.py", "python -m peekaboo"),
    ],
)
def test_the_command_in_a_runs_record_can_be_pasted(called: str, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [called, "test", "--data.prompt", "a dog"])
    assert command() == f"{start} test --data.prompt 'a dog'"
