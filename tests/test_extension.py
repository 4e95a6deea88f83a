"""Does exactly what docs/extending.md says."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from conftest import code_of

from peekaboo.command_line.entry import main

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text()


def blocks(language: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines()]


def test_the_page_has_one_module_one_config_and_six_commands() -> None:
    assert len(blocks("python")) == 1
    assert len(blocks("yaml")) == 1
    assert len(COMMANDS) == 6


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Path) -> None:
    (tmp_path / "mine.py").write_text(blocks("python")[0])
    (tmp_path / "ellipse.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine", None)
    arguments = shlex.split(command)
    assert arguments[:2] == ["peekaboo", "fit"]
    quick = ["--model.iterations", "2", "--model.resolution", "16", "--trainer.precision", "32-true"]
    if "mine.Target" not in command and "mine.Smooth" not in command:
        quick += [f"--model.loss.teacher.path={pipeline}"]
    assert main(["fit", *arguments[2:], *quick]) == code_of(Path("lightning_logs/version_0"))
    result = json.loads((tmp_path / "lightning_logs" / "version_0" / "result.json").read_text())
    assert result["iterations"] == 2
    named = re.search(r"mine\.(\w+)", command)
    if named and named[1] in ("Ellipse", "Brightness"):
        assert named[1] in result["variant"]


def test_its_parts_keep_their_contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine", None)
    (session,) = blocks("pycon")
    found = doctest.DocTestRunner().run(doctest.DocTestParser().get_doctest(session, {}, "extending.md", None, None))
    assert (found.failed, found.attempted) == (0, 6)


def test_the_command_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Path) -> None:
    """It names a class of this page's module."""
    readme = (ROOT / "README.md").read_text()
    (command,) = [line for block in blocks("bash", readme) for line in block.splitlines() if "mine." in line]
    (tmp_path / "mine.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine", None)
    quick = ["--model.iterations", "2", "--model.resolution", "16", f"--model.loss.teacher.path={pipeline}"]
    assert main([*shlex.split(command)[1:], *quick]) == 0
    result = json.loads((tmp_path / "lightning_logs" / "version_0" / "result.json").read_text())
    assert result["variant"] == "Ellipse"
