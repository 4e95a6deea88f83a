"""`peekaboo dog.jpg "a dog"`, short options, places of results, and what is meant by what is nearly right."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from peekaboo.command_line.arguments import arrange
from peekaboo.command_line.entry import main
from peekaboo.command_line.names import all_configs
from peekaboo.command_line.quick import expanded
from peekaboo.command_line.short import written_out
from peekaboo.data.image_folder import ImageFolderSamples

Arguments = Callable[[str], list[str]]
VARIANT = "--variant=rgb_bilateral"


@pytest.fixture
def dogs() -> None:
    for name in ("dog.jpg", "photos/a.png", "photos/inner/b.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(name)
    Path("list.txt").write_text("# mine\ndog.jpg\nphotos/a.png\n\n")


@pytest.mark.usefixtures("dogs")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["dog.jpg", "a dog"], ["fit", VARIANT, "--model.image=dog.jpg", "--model.prompt=a dog"]),
        (["nowhere.jpg", "a dog"], ["fit", VARIANT, "--model.image=nowhere.jpg", "--model.prompt=a dog"]),
        (["dog.jpg", "a dog", "- x"], ["fit", VARIANT, "--model.image=dog.jpg", "--model.prompt=a dog", "--model.prompt=- x"]),
        (
            ["dog.jpg", "-o", "out", "a dog", "--teacher", "sd15"],
            ["fit", VARIANT, "--output=out", "--teacher=sd15", "--model.image=dog.jpg", "--model.prompt=a dog"],
        ),
        (
            ["dog.jpg", "-p", "dog.jpg", "-c", "raster"],
            ["fit", "--config=raster", "--model.image=dog.jpg", "--model.prompt=dog.jpg"],
        ),
    ],
)
def test_one_image_is_a_fit(given: list[str], expected: list[str]) -> None:
    if "- x" in given:
        given = [*given[:2], "--", *given[2:]]
    assert expanded(given) == expected


def test_films_begin_each_frame_at_the_last_one() -> None:
    command, *arguments = expanded(["clip.mp4", "a rocket"])
    assert command == "predict" and "--config=frames" in arguments and '--data.images=["clip.mp4"]' in arguments
    assert "--config=frames" not in expanded(["clip.mp4", "dog.jpg", "a rocket"])  # images that do not follow on one another


@pytest.mark.usefixtures("dogs")
@pytest.mark.parametrize("sources", [["photos"], ["photos/*.png"], ["list.txt"], ["dog.jpg", "photos"]])
def test_more_are_a_predict(sources: list[str]) -> None:
    command, *arguments = expanded([*sources, "a dog"])
    assert command == "predict"
    assert f"--data.images={json.dumps(sources)}" in arguments and '--data.prompt=["a dog"]' in arguments


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["photos"], ["a", "inner-b"]),
        (["photos/*.png"], ["a"]),
        (["photos/**/*.png"], ["a", "inner-b"]),
        (["list.txt"], ["dog", "photos-a"]),
        (["dog.jpg", "dog.jpg", "list.txt"], ["dog", "photos-a"]),
    ],
)
@pytest.mark.usefixtures("dogs")
def test_sources_are_images(sources: list[str], names: list[str]) -> None:
    samples = ImageFolderSamples(sources, ["a dog"], recursive=True)
    assert list(samples.ids) == names
    assert all(samples[i].image.shape == (3, 8, 8) for i in range(len(names)))


@pytest.mark.usefixtures("dogs")
def test_sources_without_images_are_refused() -> None:
    Path("empty.txt").write_text("# none\n")
    for source, said in (
        ("x/*.png", "at least one image or film for 'x/"),
        ("empty.txt", "in the list 'empty.txt'"),
        ("x.png", "'x.png' does"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=f"^images: expected .*{said}"):
            ImageFolderSamples([source], ["a dog"], recursive=True)


@pytest.mark.usefixtures("dogs")
def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Path("dog.jpg").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(picture)))
    image = next(one for one in expanded(["-", "a dog"]) if one.startswith("--model.image=")).partition("=")[2]
    assert Path(image).read_bytes() == picture
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"photos/a.png\ndog.jpg\n")))
    assert '--data.images=["photos/a.png", "dog.jpg"]' in expanded(["-", "a dog"])
    for wrong in (b"", b"\x00\x01\xff"):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(wrong)))
        with pytest.raises(ValueError, match="^-: expected an image or a list"):
            expanded(["-", "a dog"])


@pytest.mark.usefixtures("dogs")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["fti"],
            "'fti': expected a command (fit, test, predict, study, report, words, configs, web) or an image, a folder or a glob; "
            "did you mean 'fit'?",
        ),
        (["dog.jpg"], "prompt: expected what to segment in 'dog.jpg', got none; say it: peekaboo dog.jpg \"a dog\""),
        (["fit", "--image", "dog.jpg"], "prompt: expected what to segment in 'dog.jpg', got none"),
        (
            ["fit", "--variant", "rastr"],
            "config: expected the name of a config or a YAML file, got 'rastr'; did you mean 'raster'?",
        ),
        (["dog.jpg", "a dog", "--teacher", "sd51"], "teacher: expected one of "),
        (["dog.jpg", "a dog", "--device", "gqu"], "device: expected auto, cpu, cuda, cuda:1 or mps, got 'gqu'"),
        (["fit", "--variant=raster", "--itterations=3"], "unrecognized arguments: --itterations=3; did you mean '--iterations'?"),
        (
            ["fit", "--variant=raster", "--trainer.precison=32"],
            "unrecognized arguments: --trainer.precison=32; did you mean '--trainer.prec",
        ),
    ],
)
def test_what_is_nearly_right_gets_a_hint(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1].removeprefix("error: ")
    assert line.startswith(said)
    assert not Path("lightning_logs").exists()


def test_an_option_of_a_class_gets_a_hint(fit_arguments: Arguments, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*fit_arguments("raster.yaml"), "--model.imge=x.png"]) == 1
    assert "Option 'imge' is not accepted; did you mean 'image'?" in capsys.readouterr().err


def test_results_go_where_they_are_to(fit_arguments: Arguments, capsys: pytest.CaptureFixture[str]) -> None:
    fit = fit_arguments("raster.yaml")
    assert main([*fit, "-o", "here/out"]) == main([*fit, "-o", "here/out"]) == 0  # its own results it may write over
    assert Path("here/out/mask.png").is_file() and Path("here/out/config.yaml").is_file()
    assert not Path("lightning_logs").exists() and not Path("runs").exists()
    several = [*fit, "--prompt", "a red apple", "--prompt", "a teddy bear", "-o", "here/several"]
    assert {main(several), main(several)} <= {0, 4}  # also where each prompt has a folder
    assert len(list(Path("here/several").glob("*/result.json"))) >= 2
    assert main([*fit, "--name", "mine"]) == 0
    assert Path("runs/latest").resolve() == Path("lightning_logs/mine").resolve()
    assert main([*fit, "--name", "mine"]) == 1
    assert "name: expected a new one, got 'mine'" in capsys.readouterr().err
    Path("mask.png").write_text("mine")
    assert main([*fit, "--output=."]) == 1
    assert "output: expected a folder without files of others, got '.' with mask.png" in capsys.readouterr().err
    assert Path("mask.png").read_text() == "mine"
    assert "output" not in Path("here/out/config.yaml").read_text().split("optimizer")[0]
    assert main(["fit", "--config", "here/out/config.yaml"]) == 0  # a repetition is a run of its own
    assert Path("lightning_logs/version_0/mask.png").is_file()


def test_configs_are_listed_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    out = capsys.readouterr().out
    for name in all_configs():
        (line,) = (line.split() for line in out.splitlines() if line.split()[:1] == [name])
        assert len(line) > 1
    assert main(["configs", "bilateral"]) == 0
    assert "teachers" not in capsys.readouterr().out
    assert main(["configs", "nothing"]) == 1


def test_short_options_of_a_data_set_are_others() -> None:
    given = ["predict", "--variant", "raster", "--images", "photos", "--prompt", "a dog", "--seed", "3", "--device", "cuda:1"]
    assert written_out(given) == [
        "predict", "--config=raster", "--data.images=photos", "--data.prompt=a dog", "--model.seed=3",
        "--trainer.accelerator=cuda", "--trainer.devices=[1]",
    ]  # fmt: skip


def test_repeated_options_of_a_data_set_add_up() -> None:
    """However they are given, alone or as lists; one alone stays a text."""
    given = [
        "predict",
        "--prompt",
        "a dog",
        "--images=a",
        "--data.prompt",
        '["a cät", "1e5"]',
        "--images",
        "b",
        "--prompt=a dog: small",
    ]
    assert arrange(written_out(given)) == [
        "predict", "--data", "peekaboo.data.image_folder.ImageFolderData",
        '--config={"data": {"init_args": {"prompt": ["a dog", "a cät", "1e5", "a dog: small"], "images": ["a", "b"]}}}',
    ]  # fmt: skip
    assert written_out(["predict", "--prompt", "[a dog"]) == ["predict", "--data.prompt=[a dog"]
