"""`fit` from the command line: checkpoints of every kind, places that results may not go to, arguments that would do nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from peekaboo.command_line.entry import explain, main
from peekaboo.optimisation.checkpoint import find_checkpoint

QUIET = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false"]


@pytest.fixture
def fit(pipeline: Path, image_file: Path) -> list[str]:
    model = [f"--model.loss.teacher.path={pipeline}", "--model.resolution=16", "--model.iterations=2"]
    what = [f"--model.image={image_file}", "--model.prompt=a red apple"]
    return ["fit", "--config", "raster.yaml", *model, *what, *QUIET]


@pytest.fixture
def checkpoint(fit: list[str]) -> Path:
    """Of a fit that is over."""
    assert main(fit) == 0
    (found,) = Path("lightning_logs/version_0/checkpoints").glob("*.ckpt")
    return found


def cut(checkpoint: Path) -> str:
    whole = checkpoint.read_bytes()
    Path("half.ckpt").write_bytes(whole[: len(whole) // 2])
    return "half.ckpt"


def of_something_else(checkpoint: Path) -> str:
    torch.save({"state_dict": {}}, "other.ckpt")
    return "other.ckpt"


def text(checkpoint: Path) -> str:
    Path("text.ckpt").write_text("hello")
    return "text.ckpt"


def empty(checkpoint: Path) -> str:
    Path("empty.ckpt").touch()
    return "empty.ckpt"


def home(checkpoint: Path) -> str:
    Path("home").mkdir()
    (Path("home") / "x.ckpt").write_bytes(checkpoint.read_bytes())
    return "~/x.ckpt"


MORE = "--model.iterations=5"
CHECKPOINTS: list[tuple[Callable[[Path], str], list[str], str | None]] = [
    (str, [MORE], None),
    (home, [MORE], None),
    (str, [MORE, "--model.settled=0.5"], None),
    (str, [], "expected a fit that is not over, got one after 2 iterations; `--model.iterations` with more than 2 goes on"),
    (str, [MORE, "--model.prompt=a bear"], "got one of others: prompt was ['a red apple'], is ['a bear']"),
    (str, [MORE, "--model.image=other.png"], "got one of others: image was '"),
    (str, [MORE, "--model.seed=3"], "got one of others: model.seed was 0, is 3"),
    (str, [MORE, "--model.resolution=24"], "got one of others: image was '"),
    (str, [MORE, "--model.optimizer.lr=0.5"], "model.optimizer.init_args.lr was "),
    (cut, [MORE], "got 'half.ckpt', which is cut off, broken or something else"),
]
NO_CHECKPOINTS: list[tuple[Callable[[Path], str], str]] = [
    (text, "got 'text.ckpt', which is cut off, broken or something else"),
    (empty, "got 'empty.ckpt', which is cut off, broken or something else"),
    (of_something_else, "got 'other.ckpt', which is of something else"),
    (lambda path: str(path.parent), "got the folder 'lightning_logs/version_0/checkpoints'; give the file, e.g. 'light"),
    (lambda path: "nowhere.ckpt", "got 'nowhere.ckpt', which does not exist"),
    (lambda path: "s3://bucket/x.ckpt", "got 's3://bucket/x.ckpt', which does not exist"),
]


def test_checkpoints_go_on_or_are_refused_in_one_line(
    fit: list[str],
    checkpoint: Path,
    image_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import Image, ImageOps

    ImageOps.mirror(Image.open(image_file)).save("other.png")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for make, more, refused in CHECKPOINTS:
        before = len(list(Path("lightning_logs").glob("*/result.json")))
        given = [a for a in fit if not any(one.startswith(f"{a.split('=')[0]}=") for one in more)]  # prompts would add up
        code = main([*given, *more, "--ckpt_path", make(checkpoint)])
        error = capsys.readouterr().err
        after = sorted(Path("lightning_logs").glob("*/result.json"), key=lambda file: file.stat().st_mtime)
        assert (code, len(after) - before) == ((0, 1) if refused is None else (1, 0)), (more, error)
        if refused is None:
            assert json.loads(after[-1].read_text())["iterations"] == 5
        else:
            assert error.strip().splitlines()[-1].startswith("error: ckpt_path: expected a ")
            assert refused in error
    for make, refused in NO_CHECKPOINTS:
        with pytest.raises((ValueError, FileNotFoundError)) as found:
            find_checkpoint(make(checkpoint))
        line = explain(found.value) or ""
        assert line.startswith("ckpt_path: expected a ") and refused in line


@pytest.mark.parametrize(
    "more",
    [
        ["--trainer.fast_dev_run=true"],
        ["--trainer.logger=false"],
        ["--trainer.logger=false", "--trainer.fast_dev_run=true"],
    ],
)
def test_a_run_without_a_logger_has_a_folder_of_its_own(fit: list[str], more: list[str]) -> None:
    mine = {name: Path(name) for name in ("mask.png", "alpha.png", "result.json", "config.yaml")}
    for file in mine.values():
        file.write_text("mine")
    before = {*Path().iterdir()}
    assert main([*fit, *more]) == 0
    assert main([*fit, *more]) == 0
    assert {*Path().iterdir()} - before == {Path("lightning_logs"), Path("runs")}
    assert all(file.read_text() == "mine" for file in mine.values())
    assert len(list(Path("lightning_logs").glob("version_*/mask.png"))) == 2


def test_a_file_address_is_a_folder_of_this_machine(fit: list[str], tmp_path: Path) -> None:
    assert main([*fit, "--trainer.default_root_dir", f"file://{tmp_path}/root"]) == 0
    assert (tmp_path / "root/lightning_logs/version_0/mask.png").exists()
    assert not Path("file:").exists()


SLURM = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "job", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
REFUSED: list[tuple[list[str], dict[str, str], str]] = [
    (["--data.images=.", "--data.prompt=a dog"], {}, "error: data: expected none for `fit`"),
    (
        ["--trainer.default_root_dir=s3://x/y"],
        {},
        "error: trainer.default_root_dir: expected a folder of this machine, got 's3://x",
    ),
    (["--evaluation.folder=x"], {}, "evaluation.folder"),
    ([], {**SLURM, "SLURM_NODEID": "0"}, "error: trainer: You set "),
]


@pytest.mark.parametrize(("more", "environment", "line"), REFUSED)
def test_what_cannot_be_is_refused_in_one_line(
    fit: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    environment: dict[str, str],
    line: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main([*fit, *more]) == 1
    assert line in capsys.readouterr().err.strip().splitlines()[-1]
    assert not Path("lightning_logs").exists()
