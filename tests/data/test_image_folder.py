"""Folder in: which files are images, and what their samples are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser
from PIL import Image

from peekaboo.data.base import Failure, Sample
from peekaboo.data.image_folder import ImageFolderData, ImageFolderSamples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in (
        ("b.png", "red"),
        ("A 1.JPG", "blue"),
        ("sub/b.webp", "lime"),
        (".hidden/c.png", "red"),
        ("._b.png", "red"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), colour).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_images_by_suffix_and_in_order(folder: Path) -> None:
    samples = ImageFolderData(str(folder), "a dog").samples()
    assert list(samples.ids) == ["A-1", "b"]
    sample = samples[1]
    assert isinstance(sample, Sample)
    assert (sample.prompt, sample.mask, sample.image.shape) == ("a dog", None, (3, 4, 6))
    assert sample.image.mean((1, 2)).tolist() == [1, 0, 0]


def test_folders_in_the_folder_by_option(folder: Path) -> None:
    samples = ImageFolderData(str(folder), "a dog", recursive=True).samples()
    assert list(samples.ids) == ["A-1", "b", "sub-b"]
    assert isinstance(samples[2], Sample) and samples[2].image.mean((1, 2)).round().tolist() == [0, 1, 0]


def test_every_prompt_of_every_image(folder: Path) -> None:
    samples = ImageFolderData(str(folder), ["a dog", "the ball, left"]).samples()
    assert list(samples.ids) == ["A-1-a-dog", "A-1-the-ball-left", "b-a-dog", "b-the-ball-left"]
    prompts = [sample.prompt for sample in (samples[i] for i in range(4)) if isinstance(sample, Sample)]
    assert prompts == ["a dog", "the ball, left"] * 2


def test_ids_stay_apart_and_short_enough_for_a_file_name(folder: Path) -> None:
    for name in ("b.jpg", "B.gif", "A_1.png", "A-1.png", f"{'long' * 60}.png"):
        Image.new("RGB", (2, 2)).save(folder / name)
    long = "x" * 200
    ids = ImageFolderData(str(folder), [long + "1", long + "2"], recursive=True).samples().ids
    assert len({name.casefold() for name in ids}) == len(ids) == 16
    assert max(len(name) for name in ids) <= 200


def test_a_corrupt_image_fails_alone(folder: Path) -> None:
    (folder / "c.png").write_bytes((folder / "b.png").read_bytes()[:40])
    (folder / "d.jpg").write_bytes(b"")
    batch = next(iter(ImageFolderData(str(folder), "x").predict_dataloader()))
    assert [type(sample) for sample in batch] == [Sample, Sample, Failure, Failure]
    assert "corrupt" in batch[2].reason and "0 bytes" in batch[3].reason


def test_no_folder_a_file_and_an_empty_folder_are_told(folder: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"images: expected a folder of images, an image, .*but '.*nowhere' does not exist"
    ):
        ImageFolderData(str(folder / "nowhere"), "x").samples()
    assert list(ImageFolderData(str(folder / "b.png"), "x").samples().ids) == ["b"]
    (folder / "empty" / "deep").mkdir(parents=True)
    (folder / "empty" / "notes.txt").write_text("no image")
    Image.new("RGB", (2, 2)).save(folder / "empty" / "deep" / "e.png")
    with pytest.raises(ValueError, match=r"expected at least one image in .*empty', got none; recursive: true"):
        ImageFolderData(str(folder / "empty"), "x").samples()
    assert list(ImageFolderData(str(folder / "empty"), "x", recursive=True).samples().ids) == ["deep-e"]


@pytest.mark.parametrize("prompt", ["", "  ", [], ["a", ""], ["a", "a "]])
def test_prompts_that_say_nothing_or_the_same_are_refused(prompt: str | list[str]) -> None:
    with pytest.raises(ValueError, match=r"^prompt: expected"):
        ImageFolderData("anywhere", prompt)


@pytest.mark.parametrize(("given", "meant"), [("a dog", ["a dog"]), ("[a dog, a ball]", ["a dog", "a ball"]), ("5", ["5"])])
def test_prompts_from_the_command_line(given: str, meant: list[str]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ImageFolderData, "data")
    arguments = parser.parse_args(["--data.images", "x", "--data.prompt", given])
    assert ImageFolderData(**arguments.data.as_dict()).prompts == meant


CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "data").glob("*.yaml"))
READERS = {"manifest", "image_folder", "voc_crop", "refcoco", "refcoco_plus", "refcocog", "phrasecut", "aigi"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the parser renamed a method; Lightning uses the old name
@pytest.mark.parametrize("name", sorted(READERS))
def test_configs_name_every_argument_and_say_what_is_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each config builds its data module from plain YAML; without the data, opening it is one line that names the path."""
    from lightning import LightningDataModule

    config = next(path for path in CONFIGS if path.stem == name)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    arguments = parser.parse_path(str(config))
    data = parser.instantiate_classes(arguments).data
    given = yaml.safe_load(config.read_text())["data"]["init_args"]
    assert {key: value for key, value in arguments.data.init_args.as_dict().items() if given.get(key, 0) != value} == {}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected .*'data/.*does not exist") as error:
        data.samples()
    assert "\n" not in str(error.value)


def test_files_that_differ_by_their_suffix_keep_it(tmp_path: Path) -> None:
    """Else `a-2` would be another file when one is added, and a run that goes on would keep the first one's mask."""
    for name in ("a.jpg", "A.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    before = dict(zip(ImageFolderSamples(tmp_path, ["x"], False).ids, ["A.png", "a.jpg", "b.png"], strict=True))
    assert before == {"A.png": "A.png", "a.jpg": "a.jpg", "b": "b.png"}
    Image.new("RGB", (4, 4)).save(tmp_path / "a.bmp")
    assert set(ImageFolderSamples(tmp_path, ["x"], False).ids) == {*before, "a.bmp"}
