"""Files of results are whole or not there, whoever dies; and a folder is one process's at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from peekaboo.evaluation.folder import RunFolder
from peekaboo.results import writing
from peekaboo.results.files import local_folder
from peekaboo.results.lock import OWNER, RunLock
from peekaboo.results.result import make_result
from peekaboo.results.writing import host, is_whole_png, write_bytes, write_json, write_picture, write_text

DEAD = 2**22 + 1  # above Linux's highest process number


def picture() -> Image.Image:
    return Image.new("L", (7, 5), 9)


WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: write_bytes(path, b"new"),
    "text": lambda path: write_text(path, "new \u7ea2 \ud83d"),
    "json": lambda path: write_json(path, {"a": 1}),
    "picture": lambda path: write_picture(path, picture()),
}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_what_was_there_stays_until_the_new_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, moment: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def stop(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, moment, stop)
        with pytest.raises(Killed):
            WRITERS[kind](path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]
    WRITERS[kind](path)
    assert path.read_bytes() != b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_result_is_written_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(writing.os, "replace", lambda old, new: written.append(Path(new).name))
    alpha = torch.rand(4, 6)
    make_result(torch.rand(3, 4, 6), "a dog", alpha, 0.5, frames=torch.rand(3, 4, 6)).save(tmp_path)
    assert written == ["mask.png", "alpha.png", "cutout.png", "overlay.png", "side_by_side.png", "timelapse.gif", "result.json"]


@pytest.mark.parametrize(
    ("content", "size", "whole"),
    [
        (None, (7, 5), False),  # not there
        (b"", (7, 5), False),
        (b"hello, I am no picture at all", (7, 5), False),
        (slice(None, -1), (7, 5), False),
        (slice(None, 30), (7, 5), False),
        (slice(None), (5, 7), False),
        (slice(None), (7, 5), True),
        (slice(None), None, True),
    ],
)
def test_a_png_is_whole_or_none(tmp_path: Path, content: Any, size: tuple[int, int] | None, whole: bool) -> None:
    path = tmp_path / "a.png"
    write_picture(path, picture())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[content])
    assert is_whole_png(path, size) is whole


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("out", Path("out")),
        ("file:///x/a%20b", Path("/x/a b")),
        ("~no-such-user/x", Path("~no-such-user/x")),
        ("s3://bucket/x", None),
        ("gs://bucket/x", None),
        ("hf://datasets/x", None),
        ("HTTPS://example.org/x", None),
        ("C:\\runs", Path("C:\\runs")),
    ],
)
def test_a_folder_is_on_this_machine(given: str, found: Path | None) -> None:
    if found is None:
        with pytest.raises(ValueError, match=r"root: expected a folder of this machine, got '\w+://"):
            local_folder(given, "root")
    else:
        assert local_folder(given, "root") == found


# ---- one at a time ------------------------------------------------------------------------------------------------------

HOLD = "import sys; from pathlib import Path; from peekaboo.results.lock import RunLock; lock = RunLock(Path('.'), 'folder'); {}"


def start(code: str) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD.format(code)], env=environment, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_live_process_keeps_a_folder_and_a_killed_one_does_not(tmp_path: Path) -> None:
    process = start("lock.acquire(); print('held', flush=True); sys.stdin.read()")
    try:
        line = rf"folder: .* which process {process.pid} on {host()} has had since \d{{4}}-.*; wait for it or stop it"
        with pytest.raises(ValueError, match=line):
            RunLock(tmp_path, "folder").acquire()
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / OWNER).exists()  # it could not clean up
    started = time.monotonic()
    lock = RunLock(tmp_path, "folder")
    lock.acquire()
    assert time.monotonic() - started < 5
    assert json.loads((tmp_path / OWNER).read_text())["process"] == os.getpid()
    lock.release()
    assert not (tmp_path / OWNER).exists()
    RunLock(tmp_path, "folder").acquire()


def test_a_run_folder_is_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run", {"a": 1}), RunFolder(tmp_path / "run", {"a": 1})
    first.open({}, None)
    with pytest.raises(ValueError, match=r"evaluation\.folder: expected a folder that nobody else is working in"):
        second.open({"mine": 1}, None)
    assert "mine" not in (tmp_path / "run/run.json").read_text()
    first.close()
    second.open({"mine": 1}, None)
    with pytest.raises(ValueError, match="with another: a was 1, is 2"):
        RunFolder(tmp_path / "run", {"a": 2}).check()
    second.close()


def test_only_own_left_overs_of_the_dead_are_removed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, {})
    folder.open({}, None)
    folder.close()
    (tmp_path / "masks").mkdir()
    (tmp_path / "mine").mkdir()
    mine = [".mine.partial", "masks/.a.partial", f"mine/.peekaboo-{host()}-{DEAD}-01234567.partial"]
    alive = [f"samples/.peekaboo-{host()}-{os.getppid()}-01234567.partial"]
    dead = [f"{sub}.peekaboo-{name}-{DEAD}-01234567.partial" for sub in ("", "samples/", "masks/") for name in (host(), "other")]
    for name in (*mine, *alive, *dead):
        (tmp_path / name).write_bytes(b"half")
    folder.open({}, None)
    assert all((tmp_path / name).exists() for name in (*mine, *alive))
    assert not any((tmp_path / name).exists() for name in dead)
    folder.close()
