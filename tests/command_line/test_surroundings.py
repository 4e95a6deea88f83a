"""What the process of the command line finds around it: closed streams, terminals and locales without Unicode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, os, sys
from peekaboo.command_line import surroundings
if not sys.flags.utf8_mode and "new" in sys.argv:
    surroundings.needs_utf8 = lambda: True
surroundings.prepare()
with open("file", "w") as file:
    print("\\u2022 \\u7ea2")
    print("\\u2022 \\u7ea2", file=sys.stderr)
    file.write(json.dumps([sys.argv[1:], sys.flags.utf8_mode, file.fileno(), sys.stdout.encoding]))
"""


def run(redirection: str = "", *args: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    Path("script.py").write_text(SCRIPT)
    given = [sys.executable, "-E", "script.py"] if not environment.pop("PYTHON", "") else [sys.executable, "script.py"]
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *given, *args]
    return subprocess.run(
        command, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, timeout=120, check=False
    )


def written() -> list[object]:
    found: list[object] = json.loads(Path("file").read_text())
    return found


@pytest.mark.parametrize("redirection", ["", ">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_stop_nothing_and_catch_no_file(redirection: str) -> None:
    done = run(redirection, PYTHON="1")
    assert done.returncode == 0, done.stderr
    number = written()[2]
    assert isinstance(number, int)
    assert number > 2  # what is printed does not go into the file
    assert "\u7ea2" not in Path("file").read_text()


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", b"\\u2022 \\u7ea2\n"), ("utf-8", "\u2022 \u7ea2\n".encode())])
def test_a_terminal_shows_what_it_can(encoding: str, shown: bytes) -> None:
    done = run(PYTHONIOENCODING=encoding, PYTHON="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, shown)


def test_another_encoding_of_text_becomes_utf8_and_arguments_stay_text_or_names() -> None:
    """The locale is Latin-1 as far as Python can tell: its letters are bytes, and so are names of files that are there."""
    Path(os.fsdecode(b"caf\xc3\xa9.png")).touch()
    args = ["new", "--model.prompt=caf\u00e9 \u7ea2", "caf\u00e9.png", "--x=caf\u00e9.png"]
    done = run("", *args, PYTHONUTF8="0", PYTHON="1")
    assert done.returncode == 0, done.stderr
    assert written()[:2] == [args, 1]
