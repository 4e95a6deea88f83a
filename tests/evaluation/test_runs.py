"""Which run is which: its identity from Python and from the command line, and what of an earlier one still stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from PIL import Image

from peekaboo import api
from peekaboo.alphas import Raster
from peekaboo.backgrounds import FixedColour
from peekaboo.command_line.entry import main
from peekaboo.data.benchmark import ScenesData
from peekaboo.data.image_folder import ImageFolderData
from peekaboo.evaluation import Evaluation
from peekaboo.evaluation.runs import identity_of
from peekaboo.identity import digest
from peekaboo.losses import ScoreDistillation
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.teachers import Diffusion

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.default_root_dir=out"]


@pytest.fixture
def pictures(image_file: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.png").write_bytes(image_file.read_bytes())
    return folder


def run(module: Any, data: Any, evaluation: Evaluation | None = None, **settings: Any) -> Path:
    """Runs `predict` from Python and returns the run's folder."""
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "default_root_dir": "out"}
    trainer = Trainer(callbacks=[evaluation or Evaluation()], use_distributed_sampler=False, **{**quiet, **settings})
    trainer.predict(module, datamodule=data)
    (*_, newest) = sorted(Path("out/runs/predict").iterdir(), key=lambda folder: folder.stat().st_mtime)
    return newest


def test_runs_differ_by_all_that_decides_their_masks_and_by_nothing_else(pipeline: Path, tmp_path: Path) -> None:
    def identity(
        data: Any, precision: str = "32-true", colour: Any = (0.5, 0.5, 0.5), dtype: str = "auto", lr: float = 0.1, **rest: Any
    ) -> str:
        loss = ScoreDistillation(Diffusion(str(pipeline), dtype=dtype), guidance=30.0)

        def make_optimizer(parameters: Any) -> torch.optim.Optimizer:
            return torch.optim.Adam(parameters, lr=lr)

        module = Segmenter(Raster(), loss, FixedColour(colour), make_optimizer, resolution=16, iterations=1, **rest)
        return digest(identity_of("predict", module, data, precision))

    folder = str(tmp_path)
    dogs = ImageFolderData(folder, "a dog")
    others = [
        identity(dogs),
        identity(ImageFolderData(folder, "a cat")),
        identity(dogs, precision="bf16-mixed"),
        identity(dogs, colour=(0.5, 0.5, 0.6)),
        identity(dogs, lr=0.2),
        identity(dogs, dtype="bfloat16"),
        identity(dogs, settled=0.9),
        identity(ScenesData(single=5)),
        identity(ScenesData(single=5, pair=0)),
    ]
    assert len(set(others)) == len(others)
    assert {identity(ImageFolderData(folder, "a dog", batch_size=3)), identity(dogs, max_skipped=3)} == {others[0]}


def test_the_command_line_and_python_share_a_folder(pictures: Path, pipeline: Path) -> None:
    more = [
        f"--model.loss.teacher.path={pipeline}",
        "--model.iterations=1",
        "--model.resolution=16",
        "--trainer.precision=32-true",
    ]
    data = ["--data.images", str(pictures), "--data.prompt", "a dog"]
    assert main(["predict", "--config", "raster.yaml", *more, *data, *QUIET]) == 0
    segmenter = api.load("raster", device="cpu", loss__teacher__path=str(pipeline), iterations=1, resolution=16)
    found = run(segmenter, ImageFolderData(str(pictures), "a dog"))
    assert len(list(Path("out/runs/predict").iterdir())) == 1
    rows = [json.loads(file.read_text()) for file in (found / "samples").iterdir()]
    assert {row["precision"] for row in rows} == {"32-true"}
    assert {row["source"] for row in rows} == {str(pictures / "a.png"), str(pictures / "b.png")}
    assert all(len(row["content"]["sha256"]) == 64 and row["versions"]["torch"] == version("torch") for row in rows)


def test_the_configuration_of_a_run_from_python_repeats_it(
    make_segmenter: Callable[..., Segmenter], pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run(make_segmenter(iterations=1), ImageFolderData(str(pictures), "a dog"))
    assert main(["predict", "--config", str(folder / "config.yaml"), *QUIET]) == 0
    assert "2 of 2 samples are finished already" in caplog.text
    assert list(Path("out/runs/predict").iterdir()) == [folder]


def test_a_run_leaves_nothing_in_the_callers_objects(make_segmenter: Callable[..., Segmenter], pictures: Path) -> None:
    module, data = make_segmenter(iterations=1), ImageFolderData(str(pictures), "a dog")
    run(module, data)
    assert (data.finished, module.report) == (frozenset(), None)
    assert sum(len(batch) for batch in data.predict_dataloader()) == 2  # for whoever comes next: all samples, again


def change_image(pictures: Path, folder: Path) -> None:
    Image.new("RGB", (28, 20), "blue").save(pictures / "a.png")


def change_versions(pictures: Path, folder: Path) -> None:
    edit(folder, versions=json.loads((folder / "samples/a.json").read_text())["versions"] | {"torch": "1.0"})


def change_code(pictures: Path, folder: Path) -> None:
    edit(folder, versions=json.loads((folder / "samples/a.json").read_text())["versions"] | {"code": "another"})


def empty_mask(pictures: Path, folder: Path) -> None:
    (folder / "masks/a.png").write_bytes(b"")


def cut_mask(pictures: Path, folder: Path) -> None:
    whole = (folder / "masks/a.png").read_bytes()
    (folder / "masks/a.png").write_bytes(whole[:-5])


def other_mask(pictures: Path, folder: Path) -> None:
    Image.new("L", (5, 5)).save(folder / "masks/a.png")


def break_row(pictures: Path, folder: Path) -> None:
    (folder / "samples/a.json").write_text('{"id": "a", ')


def swap_row(pictures: Path, folder: Path) -> None:
    (folder / "samples/a.json").write_bytes((folder / "samples/b.json").read_bytes())


def edit(folder: Path, **changes: Any) -> None:
    row = json.loads((folder / "samples/a.json").read_text())
    (folder / "samples/a.json").write_text(json.dumps(row | changes))


@pytest.mark.parametrize(
    ("change", "again", "said"),
    [
        (change_image, ["a"], "1 finished samples have other files now and are done again: a"),
        (change_code, [], "1 finished samples are of another state of this program's code"),
        (empty_mask, ["a"], ""),
        (cut_mask, ["a"], ""),
        (other_mask, ["a"], ""),
        (break_row, ["a"], ""),
        (swap_row, ["a"], ""),
    ],
)
def test_what_changed_is_done_again_and_the_rest_is_not(
    make_segmenter: Callable[..., Segmenter],
    pictures: Path,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    change: Callable[[Path, Path], None],
    again: list[str],
    said: str,
) -> None:
    module, data = make_segmenter(iterations=1), ImageFolderData(str(pictures), "a dog")
    folder = run(module, data)
    change(pictures, folder)
    before = {file.stem: file.stat().st_mtime_ns for file in (folder / "samples").iterdir()}
    assert run(module, ImageFolderData(str(pictures), "a dog")) == folder
    after = {file.stem: file.stat().st_mtime_ns for file in (folder / "samples").iterdir()}
    assert [name for name in sorted(after) if after[name] != before[name]] == again
    assert said in caplog.text + " ".join(str(warning.message) for warning in recwarn)


FOREIGN = {
    "another's run.json": '{"name": "mine"}',
    "a list": "[1, 2]",
    "no JSON": "hello",
    "identity of another kind": '{"identity": 3}',
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_of_something_else_is_refused_and_left_alone(
    make_segmenter: Callable[..., Segmenter], pictures: Path, kind: str
) -> None:
    Path("mine").mkdir()
    Path("mine/run.json").write_text(FOREIGN[kind])
    with pytest.raises(ValueError, match="expected a folder of this program"):
        run(make_segmenter(iterations=1), ImageFolderData(str(pictures), "a dog"), Evaluation("mine"))
    assert Path("mine/run.json").read_text() == FOREIGN[kind]


def test_rows_of_other_versions_are_refused(make_segmenter: Callable[..., Segmenter], pictures: Path) -> None:
    module = make_segmenter(iterations=1)
    change_versions(pictures, run(module, ImageFolderData(str(pictures), "a dog")))
    with pytest.raises(ValueError, match=r"expected samples of the versions that are installed.*: torch was '1.0', is '2"):
        run(module, ImageFolderData(str(pictures), "a dog"))


def test_metrics_name_all_that_the_rows_were_made_with() -> None:
    from peekaboo.evaluation.continuing import provenance

    rows = [{"versions": {"torch": "2"}, "precision": "32-true"}, {"versions": {"torch": "2"}, "precision": "16-mixed"}, {}]
    assert provenance(rows) == {"versions": {"torch": "2"}, "precision": ["32-true", "16-mixed"]}
