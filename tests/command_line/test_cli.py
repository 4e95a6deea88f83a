"""The command line: quick help, and one line for every mistake a user can make."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from jsonargparse import ArgumentParser
from lightning import Trainer
from PIL import Image
from torch import Tensor

import peekaboo
from peekaboo.command_line import entry
from peekaboo.command_line.configs import ConfigFile, as_text, with_input
from peekaboo.command_line.entry import explain, main, script
from peekaboo.command_line.messages import one_line
from peekaboo.command_line.names import find_config, with_found_configs
from peekaboo.command_line.parser import CommandLine
from peekaboo.data.input import Input
from peekaboo.losses import ScoreDistillation
from peekaboo.optimisation.optimisation import Settings
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.results.board import MaskBoard
from peekaboo.results.saving import SaveResults

Arguments = Callable[[str], list[str]]


@pytest.fixture
def refused(fit_arguments: Arguments, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs ``fit`` with further arguments, which must fail, and returns the one line that is said."""

    def run(*arguments: str, config: str = "raster.yaml") -> str:
        capsys.readouterr()
        code = main([*fit_arguments(config), *arguments])
        error = capsys.readouterr().err
        assert code == 1
        assert "Traceback" not in error
        (line,) = (line for line in error.splitlines() if line.startswith("error: "))
        return line.removeprefix("error: ")

    return run


def test_help_is_quick() -> None:
    """8 seconds are promised; it does not import torch, so it takes a fraction of one even on a busy machine."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "--help"], capture_output=True, text=True, timeout=120, check=True
    )
    assert time.perf_counter() - start < 8
    for word in ("fit", "test", "predict", "configs", 'cli.py dog.jpg "a dog"'):
        assert word in done.stdout


def test_help_of_fit_lists_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80  # one screen
    for option in ("--image", "--prompt", "--teacher", "--iterations", "--output", "--model.penalty", "--help-all"):
        assert option in "\n".join(lines)
    assert main(["fit", "--help-all"]) == 0
    assert "--trainer.precision" in capsys.readouterr().out


def test_the_script_exits_with_the_code_and_without_a_traceback() -> None:
    """And at once: a name that is wrong is found out before anything large is imported."""
    command = [
        sys.executable,
        "-X",
        "importtime",
        str(ROOT / "cli.py"),
        "fit",
        "--config=nowhere.yaml",
        "--trainer.accelerator=cpu",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: config: expected the name of a config or a YAML file, got 'nowhere.yaml'; ")
    assert not {"torch", "lightning", "jsonargparse", "transformers"} & {line.rpartition("|")[2].strip() for line in before}


def test_the_collector_rests_while_the_script_starts_and_no_longer(
    fit_arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, ended = {}, []

    def note(moment: str) -> Callable[..., None]:
        return lambda *_: states.update({moment: gc.isenabled()})

    monkeypatch.setattr(CommandLine, "before_instantiate_classes", note("while it is built"))
    monkeypatch.setattr(MaskBoard, "on_train_batch_start", note("in the first iteration"))
    monkeypatch.setattr(entry.threading, "active_count", lambda: 1)  # other tests may have left some
    monkeypatch.setattr(entry.atexit, "register", ended.append)
    monkeypatch.setattr(entry.logging, "shutdown", lambda: ended.append("logging"))
    monkeypatch.setattr(entry.os, "_exit", ended.append)
    monkeypatch.setattr(sys, "argv", ["cli.py", *fit_arguments("raster.yaml")])
    with pytest.raises(SystemExit) as done:
        script()
    assert done.value.code == 0
    assert states == {"while it is built": False, "in the first iteration": True}
    (leave,) = ended
    leave()
    assert ended[1:] == ["logging", 0]


def test_the_script_waits_for_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(entry, "main", lambda: 3)
    monkeypatch.setattr(entry.atexit, "register", registered.append)
    monkeypatch.setattr(entry.os, "_exit", lambda code: pytest.fail("ended at once"))
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    try:
        with pytest.raises(SystemExit) as done:
            script()
        ending = registered[0].__self__
        ending.leave()
    finally:
        leave.set()
        thread.join()
        gc.enable()
    assert done.value.code == ending.code == 3


def test_what_a_library_registers_for_the_end_is_done_and_the_code_is_kept(tmp_path: Path) -> None:
    """With a process of its own: `os._exit` comes behind every other `atexit`, and not in front of a traceback."""
    code = (
        "import atexit, sys; from peekaboo.command_line import entry;"
        "entry.main = lambda: atexit.register(print, 'registered later') and {then}; entry.script()"
    )
    for then, expected in (("7", 7), ("1 / 0", 1)):
        command = [sys.executable, "-c", code.format(then=then)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert (done.returncode, done.stdout) == (expected, "registered later\n")
        assert ("ZeroDivisionError" in done.stderr) == (then == "1 / 0")


# ---- surroundings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [[str(ROOT / "cli.py")], ["-m", "peekaboo"]])
def test_files_of_the_users_do_not_stand_for_pythons_own(how: list[str], tmp_path: Path) -> None:
    for name in ("random", "json", "queue", "torch"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('taken for a library')")
    command = [sys.executable, *how, "words"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("122 objects:")


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", f"cd {gone}; rmdir ../gone; exec {sys.executable} {ROOT / 'cli.py'} --version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "error: working directory: expected one that exists, got one that was deleted"


def test_closed_and_narrow_streams() -> None:
    narrow = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    say = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from peekaboo.command_line import entry; "
    say += "entry.main = lambda: print('\\u2022') or 0; entry.script()"
    done = subprocess.run([sys.executable, "-c", say], env=narrow, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, b"\\u2022\n")
    closed = subprocess.run(["sh", "-c", f"{sys.executable} {ROOT / 'cli.py'} --version >&-"], capture_output=True, timeout=120)
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_version_and_the_way_it_was_called(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"peekaboo {peekaboo.__version__}\n"
    for called, shown in (
        ("/a/cli.py", "python cli.py"),
        ("/a/__main__.py", "python -m peekaboo"),
        ("/bin/peekaboo", "peekaboo"),
    ):
        monkeypatch.setattr(sys, "argv", [called])
        main([])
        assert capsys.readouterr().out.startswith(f"usage: {shown} IMAGE... PROMPT...")


def test_report_and_words_are_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["words"]) == 0
    assert capsys.readouterr().out.startswith("122 objects:")
    assert main(["report", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("error: run: expected the folder of a finished `test`")


# ---- whose mistake it is -------------------------------------------------------------------------------------------------


def test_a_value_error_out_of_a_library_keeps_its_traceback(fit_arguments: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries: list[Callable[[], Any]] = [
        lambda: np.zeros(2).reshape(3, 5),
        lambda: int("many"),
        lambda: torch.distributions.Normal(torch.tensor(0.0), torch.tensor(-1.0), validate_args=True),  # a compiler turns it off
    ]
    for theirs in libraries:
        with pytest.raises(ValueError, match=".") as broken:
            theirs()
        assert explain(broken.value) is None
    monkeypatch.setattr(ScoreDistillation, "forward", lambda *_: libraries[-1]())
    with pytest.raises(ValueError, match="."):
        main(fit_arguments("raster.yaml"))


def test_a_conversion_in_a_line_of_ours_is_not_a_refusal() -> None:
    with pytest.raises(ValueError, match="could not convert") as broken:
        Settings(threshold="many")  # type: ignore[arg-type]
    assert explain(broken.value) is None


@pytest.mark.parametrize("way", ["--debug", "PEEKABOO_DEBUG"])
def test_debug_shows_where_a_users_mistake_was_found(way: str, fit_arguments: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*fit_arguments("raster.yaml"), "--model.image=nowhere.png"]
    if way == "--debug":
        arguments.insert(1, way)
    else:
        monkeypatch.setenv(way, "1")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        main(arguments)


# ---- images --------------------------------------------------------------------------------------------------------------


def test_image_that_does_not_exist(refused: Callable[..., str]) -> None:
    assert refused("--model.image=nowhere.png") == "image: expected an image file, got 'nowhere.png', which does not exist"
    assert not Path("lightning_logs").exists()  # nothing half-written


@pytest.fixture
def wrong(make_segmenter: Callable[..., Segmenter]) -> Callable[..., str]:
    """The line that is said of an input, in which some parts are wrong."""

    def find(**parts: Any) -> str:
        with pytest.raises((ValueError, FileNotFoundError)) as found:
            make_segmenter(**parts).check_input()
        line = explain(found.value)
        assert line is not None
        return line

    return find


def test_image_that_is_a_directory(wrong: Callable[..., str], tmp_path: Path) -> None:
    assert wrong(image=str(tmp_path)) == f"image: expected an image file, got the directory {str(tmp_path)!r}"


def test_image_that_is_empty(wrong: Callable[..., str]) -> None:
    Path("empty.png").touch()
    assert wrong(image="empty.png") == "image: expected an image file, got 'empty.png', which is empty (0 bytes)"


def test_image_that_is_text(wrong: Callable[..., str]) -> None:
    Path("text.png").write_text("no picture")
    assert wrong(image="text.png") == "image: expected an image (PNG, JPEG, WebP, ...), got 'text.png', which is none"


def test_image_that_is_cut_off(wrong: Callable[..., str], image_file: Path) -> None:
    Path("cut.png").write_bytes(image_file.read_bytes()[:-200])
    assert wrong(image="cut.png").startswith("image: expected a readable image, got 'cut.png', which is corrupt")


def test_mask_of_another_size(refused: Callable[..., str], image_file: Path) -> None:
    Image.new("L", (10, 12)).save("other.png")
    line = refused(f"--model.image={image_file}", "--model.prompt=a bear", "--model.mask=other.png")
    assert line == "mask: expected the image's size 28 x 20, got 10 x 12 ('other.png')"


def test_mask_that_does_not_exist(wrong: Callable[..., str]) -> None:
    assert wrong(mask="nowhere.png") == "mask: expected an image file, got 'nowhere.png', which does not exist"


# ---- prompts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["", "   ", "[]", '["a dog", ""]'])
def test_empty_prompt(wrong: Callable[..., str], prompt: str) -> None:
    assert wrong(prompt=as_text(prompt, "model.prompt")).startswith("prompt: expected some words, got ")


def test_no_image_or_prompt(refused: Callable[..., str]) -> None:
    assert refused("--model.image=null").startswith("image, prompt: expected both for `fit`")
    assert refused("--model.prompt=null").startswith("prompt: expected some words, got ''")


# ---- configuration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        (
            "--model.alpha=peekaboo.alphas.Rastr",
            "model.alpha: class_path 'peekaboo.alphas.Rastr': module 'peekaboo.alphas' has no",
        ),
        ("--model.alpha=nowhere.Thing", "model.alpha: class_path 'nowhere.Thing': No module named 'nowhere'"),
        (
            "--model.alpha=peekaboo.guides.RGB",
            "model.alpha: Import path peekaboo.guides.RGB does not correspond to a subclass of Alpha",
        ),
        ("--model.iterations=many", "model.iterations: expected int, got 'many'"),
        ("--model.settled=soon", "model.settled: expected float, got 'soon'"),
        ("--model.threshold=high", "model.threshold: expected float or Literal['otsu'], got 'high'"),
        ("--model.framing=pad", "model.framing: expected Literal['stretch', 'crop'], got 'pad'"),
        (
            "--model.nonsense=3",
            "model: class_path 'peekaboo.optimisation.segmenter.Segmenter': Option 'nonsense' is not accepted",
        ),
        ("--nonsense=3", "unrecognized arguments: --nonsense=3"),
        ("--config=nowhere.yaml", "config: expected the name of a config or a YAML file, got 'nowhere.yaml'; `peekaboo configs`"),
        ("--model.loss.t_min=2000", "t_min, t_max: expected 0 <= t_min <= t_max <= 999, got 2000, 400"),
        ("--trainer.devices=none", "trainer: `devices` selected with"),
        ("--trainer.devices=0", "trainer: `Trainer(devices="),
        ("--ckpt_path=nowhere.ckpt", "ckpt_path: expected a checkpoint file, got 'nowhere.ckpt', which does not exist"),
        ("--model.iterations=0", "iterations: expected at least 1, got 0"),
        (
            "--model.loss.teacher.path=./nowhere",
            "teacher: expected `embedded`, a folder, or a hub name like owner/model, got './nowhere'",
        ),
        ("--model.loss.teacher.path=.", "teacher: expected a model folder with model_index.json, got '.' without it"),
        (
            "--model.loss.teacher.path=nobody/nothing",
            "teacher: expected a loadable model at 'nobody/nothing': the hub cannot be reached",
        ),
    ],
)
def test_arguments(refused: Callable[..., str], argument: str, line: str) -> None:
    assert refused(argument).startswith(line)


def test_wrong_type_in_yaml(refused: Callable[..., str]) -> None:
    Path("wrong.yaml").write_text("model:\n  init_args:\n    iterations: many\n")
    assert refused("--config=wrong.yaml") == "model.iterations: expected int, got 'many'"


def test_broken_yaml(refused: Callable[..., str]) -> None:
    Path("broken.yaml").write_text("model:\n\t- : [")
    assert refused("--config=broken.yaml").startswith("Problems parsing config: while scanning for the next token")


def test_no_config_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: model: expected --variant NAME or --config NAME")


# ---- the machine ---------------------------------------------------------------------------------------------------------


def test_read_only_log_folder(refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so a file in the folder's place stands for it, and the error itself is raised."""
    (tmp_path / "file").touch()
    assert refused(f"--trainer.default_root_dir={tmp_path / 'file'}").startswith(("Not a directory: ", "File exists: "))

    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/logs/lightning_logs")

    monkeypatch.setattr(SaveResults, "on_fit_start", deny)
    assert refused() == "Permission denied: /logs/lightning_logs"


def test_no_space_left(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "mask.png")

    monkeypatch.setattr("peekaboo.results.files.save_result", full)
    assert refused() == "No space left on device: mask.png"


def test_out_of_gpu_memory_says_what_to_lower(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(ScoreDistillation, "forward", too_much)
    line = refused()
    assert line.startswith("out of GPU memory: lower the number of prompts")
    assert "bf16-mixed" in line and "resolution" in line


def test_endless_nan_stops_with_what_to_do(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScoreDistillation, "forward", lambda self, x, *_: x.sum((1, 2, 3)) * torch.nan)
    line = refused("--model.iterations=40", "--model.max_skipped=10")
    assert line.startswith("10 steps in a row had a NaN or infinite gradient; use `--trainer.precision 32-true`")


def test_our_own_mistakes_keep_their_traceback(fit_arguments: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Tensor:
        raise KeyError("a bug")

    monkeypatch.setattr(ScoreDistillation, "forward", broken)
    with pytest.raises(KeyError, match="a bug"):
        main(fit_arguments("raster.yaml"))
    assert explain(KeyError("a bug")) is None


# ---- any image works -----------------------------------------------------------------------------------------------------


LARGE = {"photograph.jpg": (480, 320), "two_megapixels.jpg": (1824, 1216)}


def save(name: str) -> tuple[int, int]:
    """Writes one kind of picture and returns the size that its mask must have."""
    pixels = np.random.default_rng(0).integers(0, 255, (12, 18, 4), dtype=np.uint8)
    rgba = Image.fromarray(pixels)
    if name == "grey.png":
        rgba.convert("L").save(name)
    elif name == "deep.png":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(name)
    elif name == "palette.gif":
        rgba.convert("P").save(name)
    elif name == "rgba.png":
        rgba.save(name)
    elif name == "turned.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        rgba.convert("RGB").save(name, exif=exif)
        return 12, 18
    elif name == "dot.png":
        rgba.crop((0, 0, 1, 1)).save(name)
        return 1, 1
    elif name in LARGE:
        Image.new("RGB", LARGE[name], "red").save(name, quality=50)
        return LARGE[name]
    return 18, 12


KINDS = ["grey.png", "deep.png", "palette.gif", "rgba.png", "turned.jpg", "dot.png", "photograph.jpg"]


@pytest.mark.parametrize("name", [*KINDS, pytest.param("two_megapixels.jpg", marks=pytest.mark.slow)])
def test_any_image_works_and_its_mask_has_its_size(
    name: str, make_segmenter: Callable[..., Segmenter], make_trainer: Callable[..., Trainer]
) -> None:
    size = save(name)
    trainer = make_trainer()
    trainer.fit(make_segmenter(image=name, prompt="a bear", mask=None, iterations=2))
    for file in ("mask.png", "alpha.png", "cutout.png"):
        assert Image.open(Path(trainer.log_dir) / file).size == size


# ---- conveniences --------------------------------------------------------------------------------------------------------


def test_a_bare_config_name_is_looked_up_but_a_file_of_that_name_wins() -> None:
    for name in ("raster", "raster.yaml", "configs/raster.yaml"):
        assert find_config(name) == str(ROOT / "configs" / "raster.yaml")
    found = str(ROOT / "configs" / "teachers" / "sd15.yaml")
    given = ["fit", "--config=teachers/sd15", "-c", "teachers/sd15.yaml", "--model.prompt", "raster.yaml"]
    assert with_found_configs(given) == ["fit", f"--config={found}", "-c", found, "--model.prompt", "raster.yaml"]
    for wrong, meant in (("rgb_bilatral", "rgb_bilateral"), ("sd15.yaml", "teachers/sd15")):
        with pytest.raises(FileNotFoundError, match=f"did you mean '{meant}'"):
            find_config(wrong)
    Path("raster.yaml").touch()
    assert find_config("raster.yaml") == "raster.yaml"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["whole"], ("a.png", "a", "t.png")),
        (["whole", "other"], ("b.png", "b", None)),
        (["whole", "prompt"], ("a.png", "c", None)),
        (["whole", "mask"], ("a.png", "a", "u.png")),
        (["whole", "of_class"], ("a.png", "a", "t.png")),
        (["of_class", "other", "mask"], ("b.png", "b", "u.png")),
        (["whole", "--model.image", "x.png"], ("x.png", None, None)),
        (["whole", "--model.prompt=x"], ("a.png", "x", None)),
        (["whole", "--model.init_args.input.prompt=x"], ("a.png", "x", None)),
        (["whole", "--model.image=x.png", "--model.mask=y.png"], ("x.png", None, "y.png")),
        (["whole", "--model.mask", "y.png"], ("a.png", "a", "y.png")),
        (["whole", "--model.mask=null"], ("a.png", "a", "")),
        (["whole", '--model.prompt=["x", "a: y"]'], ("a.png", ["x", "a: y"], None)),
        (["whole", "--model.prompt=a: red apple"], ("a.png", "a: red apple", None)),
        (["whole", "--model.prompt", "1e5"], ("a.png", "1e5", None)),
        (["whole", "--model.prompt", '"quoted"'], ("a.png", '"quoted"', None)),
        (["whole", "--model.prompt=x", "--model.prompt", "y"], ("a.png", ["x", "y"], None)),
        (["whole", "--model.image", "~x.png"], ("~x.png", None, None)),
        (["whole", "--model.prompt", "[not a list"], ("a.png", ["[not a list"], None)),
    ],
)
def test_an_inputs_mask_is_of_its_own_image_and_prompt(given: list[str], expected: Any) -> None:
    """A later config or argument that names another image or prompt takes the mask away; values are text, not YAML."""
    write_inputs(f"{__name__}.Holder")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("-c", "--config", action=ConfigFile)
    parser.add_subclass_arguments(Holder, "model")
    found = parser.parse_args(with_input(["--model", f"{__name__}.Holder", *with_configs(given)])).model.init_args.input
    assert (found.image, found.prompt, found.mask) == expected


class Holder:
    """Has an input, as a segmenter has, whose many other arguments would take the parser a second."""

    def __init__(self, input: Input | None = None) -> None:
        self.input = input


def write_inputs(class_path: str) -> None:
    texts = {
        "whole": "model: {init_args: {input: {image: a.png, prompt: a, mask: t.png}}}",
        "other": "model: {init_args: {input: {image: b.png, prompt: b}}}",
        "prompt": "model: {init_args: {input: {prompt: c}}}",
        "mask": "model: {init_args: {input: {mask: u.png}}}",
        "of_class": f"model: {class_path}",
    }
    for name, text in texts.items():
        Path(f"{name}.yaml").write_text(text)


def with_configs(given: list[str]) -> list[str]:
    return [f"--config={one}.yaml" if Path(f"{one}.yaml").is_file() else one for one in given]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(["of_class", "other", "mask"], ("b.png", "b", "u.png")), (["whole", "--model.prompt=x"], ("a.png", "x", None))],
)
def test_so_it_is_in_a_segmenter(given: list[str], expected: Any, fit_arguments: Arguments) -> None:
    write_inputs("peekaboo.optimisation.segmenter.Segmenter")
    seen = []

    class Stopped(CommandLine):
        def instantiate_classes(self) -> None:
            seen.append(self.config.fit.model.init_args.input)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stopped(with_input([*with_found_configs(fit_arguments("raster.yaml")), *with_configs(given)]))
    assert (seen[0].image, seen[0].prompt, seen[0].mask) == expected


def test_without_a_logger_a_run_has_a_folder_of_its_own(fit_arguments: Arguments, image_file: Path) -> None:
    Path("config.yaml").write_text("{}  # mine")
    arguments = [*fit_arguments("raster.yaml"), f"--model.image={image_file}", "--model.prompt=a bear", "--trainer.logger=false"]
    assert main(arguments) == main(arguments) == 0
    assert Path("config.yaml").read_text() == "{}  # mine"
    for version in (0, 1):
        names = {path.name for path in Path(f"lightning_logs/version_{version}").iterdir()}
        assert {"config.yaml", "mask.png", "result.json"} <= names
    assert main(["fit", "--config", "lightning_logs/version_1/config.yaml"]) == 0  # nor does a repetition write over it
    assert Path("lightning_logs/version_2/mask.png").is_file()


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_a_precision_for_the_alpha_itself_is_refused(refused: Callable[..., str], precision: str, tmp_path: Path) -> None:
    expected = f"trainer.precision: expected one of 32-true, bf16-mixed, 16-mixed, got {precision}"
    assert refused(f"--trainer.precision={precision}") == expected
    assert not list(tmp_path.glob("**/version_*"))  # nothing half-written


def test_logging_can_be_off(fit_arguments: Arguments) -> None:
    assert main([*fit_arguments("raster.yaml"), "--trainer.log_every_n_steps=0"]) == 0


def test_an_empty_ground_truth_is_refused(refused: Callable[..., str], tmp_path: Path, image_file: Path) -> None:
    with Image.open(image_file) as picture:
        Image.new("L", picture.size, 1).save(tmp_path / "truth.png")  # 0 and 1 instead of 0 and 255
    message = refused(f"--model.image={image_file}", "--model.prompt=a bear", f"--model.mask={tmp_path / 'truth.png'}")
    assert "expected at least one foreground pixel" in message and "truth.png" in message


def test_a_checkpoint_is_a_file_and_of_a_fit(refused: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("https://example.org/any", "nowhere.ckpt"):
        expected = f"ckpt_path: expected a checkpoint file, got '{place}', which does not exist"
        assert refused(f"--ckpt_path={place}") == expected
    assert main(["test", "--config", "rgb_bilateral.yaml", "--config", "data/scenes.yaml", "--ckpt_path=last.ckpt"]) == 1
    assert "ckpt_path: expected none for `test`" in capsys.readouterr().err


def test_a_plain_message_stays_as_it_is() -> None:
    assert one_line("image: expected a file,\n  got none") == "image: expected a file,; got none"
