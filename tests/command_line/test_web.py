"""`peekaboo web`: its arguments, and what the page is told of configs."""

from __future__ import annotations

import pytest

from peekaboo.command_line.entry import main
from peekaboo.command_line.names import all_configs
from peekaboo.command_line.web import offer, parse


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--prot", "3"], "got '--prot'; did you mean '--port'?"),
        (["--port", "x"], "web: argument --port: invalid int value: 'x'"),
        (["--port", "70000"], "port: expected a number in 0..65535, got 70000"),
        (["--teacher", "flux_deb"], "did you mean 'flux_dev'"),
        (["dog.jpg"], "got 'dog.jpg'"),
        (["--max_iterations", "0"], "max_iterations: expected at least 1, got 0"),
        (["--device", "cuda:99"], "device: expected one that this machine and this PyTorch have"),
    ],
)
def test_mistakes_are_one_line(args: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra `web`")
    assert main(["web", *args]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and line in error


def test_it_stands_beside_the_other_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "\n  web " in capsys.readouterr().out
    assert main(["wep"]) == 1
    assert "did you mean 'web'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        parse(["--help"])
    assert ended.value.code == 0 and "--max_side" in capsys.readouterr().out


def test_the_page_offers_every_variant_and_the_teachers_that_were_named() -> None:
    found = offer(["embedded", "sd15", "owner/model"], "cpu")
    assert next(iter(found.variants)) == "rgb_bilateral"
    assert {"raster", "clip", "fourier", "fourier_bilateral", "depth_bilateral", "rgbd_bilateral"} <= set(found.variants)
    assert set(found.variants) <= set(all_configs()) - {"fast", "frames", "rgba", "scene", "ldznet", "competing"}
    assert all(found.variants.values()) and found.teachers == ("embedded", "sd15", "owner/model")
    lengths = [found.iterations("rgb_bilateral", teacher) for teacher in found.teachers]
    assert lengths == [60, 200, 60]
    segmenter = found.load("raster", "embedded")
    assert segmenter.iterations == found.iterations("raster", "embedded") and segmenter.device.type == "cpu"


def test_teachers_add_up() -> None:
    assert parse([]).teacher == ["embedded"]
    assert parse(["--teacher", "sd15", "--teacher", "embedded", "--teacher", "sd15"]).teacher == ["sd15", "embedded"]
