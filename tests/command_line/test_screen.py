"""What a person sees of a fit, on a terminal of 80 columns and through a pipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CHATTER, ROOT

from peekaboo.command_line.entry import main
from peekaboo.command_line.screen import first_line
from peekaboo.results.bar import _Lines
from peekaboo.results.result import Result
from peekaboo.results.summary import advice, summary

Arguments = Callable[[str], list[str]]


def lines_on_screen(text: str, columns: int) -> list[str]:
    """What stands on a terminal of some columns at the end: carriage returns, erased lines, and lines that wrap."""
    rows, x, y = [[]], 0, 0  # type: ignore[var-annotated]
    for part in re.findall(r"\x1b\[(\d*)([A-Za-z])|(.)", text, re.DOTALL):
        number, code, letter = int(part[0] or 1), part[1], part[2]
        if code == "A":
            y = max(y - number, 0)
        elif code == "K":
            rows[y] = []
        elif letter == "\r":
            x = 0
        elif letter == "\n":
            y, x = y + 1, 0
        elif letter:
            if x == columns:
                y, x = y + 1, 0
            rows += [[] for _ in range(y + 1 - len(rows))]
            rows[y] += [" "] * (x + 1 - len(rows[y]))
            rows[y][x] = letter
            x += 1
        rows += [[] for _ in range(y + 1 - len(rows))]
    return ["".join(row).rstrip() for row in rows]


def command(arguments: list[str]) -> list[str]:
    """A fit with its bar, in a process of its own."""
    return [sys.executable, str(ROOT / "cli.py"), *(a for a in arguments if "progress_bar" not in a), "--model.iterations=12"]


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal")
def test_on_a_terminal_of_80_columns_the_result_stands_last(fit_arguments: Arguments) -> None:
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(command(fit_arguments("raster.yaml")), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    raw = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux says so of a terminal that nobody has open any more
            break
        if not piece:
            break
        raw += piece
    assert process.wait(60) == 0
    shown = [line for line in lines_on_screen(raw.decode(), 80) if line]
    assert shown[0].startswith("peekaboo ") and "raster, teacher " in shown[0]
    assert shown[-3].startswith("found 'a red apple': ") and shown[-3].endswith("% of the image")
    assert re.match(r"IoU \d\.\d{3}, .*12 iterations, [\d.]+ s on cpu$", shown[-2])
    assert shown[-1] == "lightning_logs/version_0/overlay.png"
    assert Path(shown[-1]).is_file()
    (bar,) = (line for line in shown if "12/12 iterations, 00:00 left" in line)
    assert "area" in bar and "IoU" in bar and len(bar) < 80
    assert not [word for word in CHATTER if word in raw.decode()]


def test_through_a_pipe_the_result_is_all_of_standard_output(fit_arguments: Arguments, capfd: pytest.CaptureFixture[str]) -> None:
    """Of what Lightning says, a process of its own is asked in test_interruption.py."""
    assert main(command(fit_arguments("raster.yaml"))[2:]) == 0
    out, err = capfd.readouterr()
    found, good, file = out.splitlines()
    assert found.startswith("found 'a red apple'") and good.startswith("IoU ") and file.endswith("version_0/overlay.png")
    assert err.startswith("peekaboo ")
    assert "\r" not in err and not [word for word in CHATTER if word in err]


def test_lightning_has_its_say_where_it_is_asked_for(fit_arguments: Arguments, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*fit_arguments("raster.yaml"), "-v"]) == 0
    assert "Params" in "".join(capfd.readouterr())
    assert main(fit_arguments("raster.yaml")) == 0
    assert "Params" not in "".join(capfd.readouterr())


def test_an_empty_mask_is_said_recorded_and_no_success(fit_arguments: Arguments, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*fit_arguments("raster.yaml"), "--model.threshold=1.0"]) == 4
    assert capsys.readouterr().out.startswith("nothing found for 'a red apple': no alpha over the threshold of 1.00 (highest: 0.")
    assert json.loads(Path("runs/latest/result.json").read_text())["empty"] is True


def test_several_masks_of_which_one_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    record: dict[str, Any] = {"iterations": 30, "seconds": 1.25, "device": "cpu", "teacher": "embedded"}
    square, ones = torch.zeros(10, 10), torch.ones(10, 10)
    square[:5, :5] = 0.9
    results = [Result(torch.zeros(3, 10, 10), "a dog", alpha, 0.5, "fixed", record=record) for alpha in (square, 0 * ones, ones)]
    told = [line for result, name in zip(results, "abc", strict=True) for line in summary(result, Path(name), 60)]
    assert told[:3] == [
        "found 'a dog': 25.0% of the image",
        "alpha 0.90 inside, 0.00 outside, settled after 30 of 60 iterations, 1.2 s on cpu",
        "a/overlay.png",
    ]
    assert told[3].startswith("nothing found") and told[6].startswith("nothing set apart")
    assert "photograph" not in told[4] + told[7] and "lower" in told[4] and "higher" in told[7]


def test_advice_fits_what_was_given() -> None:
    """A drawing gets no word about photographs."""

    def advised(**more: Any) -> str:
        return str(advice(Result(torch.zeros(3, 10, 10), "a dog", torch.zeros(10, 10), 0.5, "fixed", record=more)))

    assert "--model.penalty lower" in advised() and "photograph" not in advised()
    assert "looks like a photograph" in advised(photograph=True) and "--teacher sd15" in advised(photograph=True)
    assert "'zork'" in advised(unknown_words=["zork"]) and "photograph" not in advised(unknown_words=["zork"])


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    monkeypatch.setattr("peekaboo.results.bar.time.monotonic", lambda: now[0])
    lines = _Lines(60, 0)
    for step, moment in enumerate((104.0, 108.0, 112.0, 116.0), 1):
        now[0] = moment
        lines.move(step * 10, "area 14.3%")
    assert capsys.readouterr().err == "30/60 iterations, 00:12 left, area 14.3%\n"


def test_the_first_line_names_what_runs() -> None:
    configs = ROOT / "configs"
    args = [
        "fit",
        f"--config={configs / 'rgb_bilateral.yaml'}",
        "-c",
        str(configs / "teachers/sd15.yaml"),
        "--trainer.accelerator",
        "cpu",
    ]
    assert first_line(args).endswith(": rgb_bilateral + teachers/sd15, teacher stable-diffusion-v1-5/stable-diffusion-v1-5, cpu")
    assert first_line([*args, "--model.loss.teacher.path=/models/mine"]).endswith(", teacher /models/mine, cpu")
