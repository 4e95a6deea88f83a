"""Signals end a fit with its mask, its checkpoint and their own exit code, and an evaluation with its rows; and both go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CHATTER
from PIL import Image

from peekaboo.alphas import Raster
from peekaboo.command_line.entry import main
from peekaboo.results.interruption import SIGNALS, Interrupted, Interruption
from peekaboo.results.writing import is_whole_png

ROOT = Path(__file__).resolve().parents[2]
STEPS = 6
raise_signal = signal.raise_signal
QUIET = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false"]


class Watched(Raster):
    """An alpha that hears a signal in the midst of its n-th use, once."""

    ask: tuple[int, int] | None = None  # signal, and the use in which it comes
    uses = 0

    def logits(self) -> torch.Tensor:
        Watched.uses += 1
        if Watched.ask is not None and Watched.uses == Watched.ask[1]:
            number, Watched.ask = Watched.ask[0], None
            raise_signal(number)
        return super().logits()


@pytest.fixture(autouse=True)
def _same_handlers() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    Watched.ask, Watched.uses = None, 0


@pytest.fixture
def fit(pipeline: Path, image_file: Path, mask_file: Path) -> list[str]:
    model = [f"--model.loss.teacher.path={pipeline}", "--model.resolution=16", f"--model.iterations={STEPS}"]
    what = [f"--model.image={image_file}", "--model.prompt=a red apple", f"--model.mask={mask_file}"]
    return ["fit", "--config", "raster.yaml", "--model.alpha", f"{__name__}.Watched", *model, *what, *QUIET]


def version(number: int) -> Path:
    return Path("lightning_logs", f"version_{number}").resolve()


#: All signals, those that come most often in the default run.
OFTEN = [pytest.param(n, marks=[] if n in (signal.SIGINT, signal.SIGTERM) else [pytest.mark.slow]) for n in SIGNALS]


def alpha(folder: Path) -> Any:
    return np.array(Image.open(folder / "alpha.png")).astype(int)


@pytest.mark.parametrize("number", OFTEN, ids=lambda number: signal.Signals(number).name)
def test_a_signal_keeps_a_fit_and_it_goes_on_as_if_nothing_had_been(
    fit: list[str], number: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(fit) == 0
    Watched.ask, Watched.uses = (number, 4 + SIGNALS.index(number)), 0
    assert main(fit) == 128 + number
    assert f"stopped by {signal.Signals(number).name} after" in caplog.text
    stopped = json.loads((version(1) / "result.json").read_text())
    assert stopped["interrupted"]
    assert 0 < stopped["iterations"] < STEPS
    assert all(is_whole_png(version(1) / f"{name}.png") for name in ("mask", "alpha", "cutout", "overlay"))
    checkpoint = version(1) / "checkpoints" / "last.ckpt"
    assert f"to go on, add --ckpt_path {checkpoint}" in caplog.text
    assert not (version(1) / "running.json").exists()
    assert main([*fit, "--ckpt_path", str(checkpoint)]) == 0
    whole, resumed = (json.loads((version(i) / "result.json").read_text()) for i in (0, 2))
    assert (whole["iterations"], whole["interrupted"]) == (resumed["iterations"], resumed["interrupted"]) == (STEPS, False)
    assert np.abs(alpha(version(0)) - alpha(version(2))).max() <= 1
    assert not capsys.readouterr().err.count("Traceback")


@pytest.mark.parametrize("number", OFTEN[:4], ids=lambda number: signal.Signals(number).name)
def test_a_signal_keeps_the_rows_of_an_evaluation(
    fit: list[str], image_file: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [json.dumps({"id": f"s{i}", "image": str(image_file), "prompt": "a red apple"}) for i in range(3)]
    Path("list.jsonl").write_text("\n".join(lines))
    model = [argument for argument in fit[1:] if not argument.startswith(("--model.image", "--model.prompt", "--model.mask"))]
    predict = ["predict", *model, "--data.manifest=list.jsonl", "--data.batch_size=1", "--trainer.default_root_dir=out"]
    Watched.ask = number, 2 * STEPS  # in the second sample, or at its end
    assert main(predict) == 128 + number
    assert f"stopped by {signal.Signals(number).name}: 1 samples are finished in out/runs/predict/" in caplog.text
    assert "the same command goes on" in caplog.text
    assert main(predict) == 0
    assert "1 of 3 samples are finished already" in caplog.text
    assert len(list(Path("out").rglob("masks/*.png"))) == 3


def test_ctrl_c_that_python_raises_itself_is_130(fit: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interruption, "listen", lambda self: None)
    handler = signal.getsignal(signal.SIGINT)
    Watched.ask = signal.SIGINT, 4
    try:
        assert main(fit) == 130
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
    assert (version(0) / "mask.png").exists()


@pytest.mark.parametrize(("whole", "patient"), [(False, False), (True, False), (False, True)])
def test_what_is_whole_is_not_torn_apart(whole: bool, patient: bool) -> None:
    with Interruption(patient).listening() as interruption:
        if whole:
            interruption.begin_whole()
        if whole or patient:
            raise_signal(signal.SIGTERM)
            assert interruption.asked == signal.SIGTERM
            with pytest.raises(Interrupted, match="SIGTERM"):
                interruption.end_whole() if whole else interruption.check()
        else:
            with pytest.raises(Interrupted):
                raise_signal(signal.SIGTERM)
        raise_signal(signal.SIGTERM)  # again, while it stops: it does already
        with pytest.raises(KeyboardInterrupt):
            raise_signal(signal.SIGINT)  # a second time: now


# ---- the process of the command line ----------------------------------------------------------------------------------------


def start(args: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, str(ROOT / "cli.py"), *args], env=environment, **pipes)


def wait_for(pattern: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not list(Path().glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow  # two processes that import everything; one that is killed is in tests/evaluation, the handlers are above
def test_processes_that_are_terminated_and_killed(fit: list[str]) -> None:
    """A fit that is killed has its last checkpoint; one that is asked to end has all; both at once take folders of their own."""
    fit = ["fit", "--config", "raster.yaml", *fit[5:], "--model.iterations=100000", "--model.settled=null"]
    fit += ["--trainer.callbacks=peekaboo.results.saving.SaveResults", "--trainer.callbacks.checkpoint_every=0"]
    processes = [start(fit), start(fit)]
    wait_for("lightning_logs/version_1/checkpoints/last.ckpt", processes[1])
    wait_for("lightning_logs/version_0/checkpoints/last.ckpt", processes[0])
    processes[0].send_signal(signal.SIGTERM)
    processes[1].kill()
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [143, -signal.SIGKILL], outputs
    assert not [word for word in ("\r", *CHATTER) if word in outputs[0]]  # through a pipe, the program speaks for itself
    folders = [folder for folder in Path("lightning_logs").iterdir() if (folder / "mask.png").exists()]
    assert len(folders) == 1
    assert "to go on, add --ckpt_path " in outputs[0] and f"{folders[0]}/checkpoints/last.ckpt" in outputs[0]
    for i in range(2):
        torch.load(version(i) / "checkpoints" / "last.ckpt", weights_only=True)
