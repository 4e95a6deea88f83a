"""What the package promises as a package: few files at its root, declared imports, nobody else's private names, a whole wheel."""

from __future__ import annotations

import ast
import inspect
import io
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch
from conftest import ROOT

PACKAGE = ROOT / "peekaboo"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: What no line of ours imports, and who does.
IMPORTED_BY_OTHERS = {
    "tensorboard": "lightning's TensorBoardLogger",
    "accelerate": "diffusers, when it reads weights",
}
#: Private names of others that are used all the same; each has its own test below.
FENCED = {"torch._dynamo", "os._exit", "_softmax", "_softmax_backward_data", "_unsafe_view", "_safe_softmax"}
FENCED |= {"self._subcommand_parsers", "parsers._actions"}
FENCED |= {"writer._get_file_writer", "logger._wandb_init", "logger._run_name"}


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def files(*places: str) -> list[Path]:
    return [file for place in places for file in sorted((ROOT / place).rglob("*.py"))]


def imported(file: Path) -> set[str]:
    """The top-level names of the libraries that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
    beside = set() if PACKAGE in file.parents else {other.stem for other in files("tests", "benchmarks", "docs")}
    return found - set(sys.stdlib_module_names) - beside - {"peekaboo"}


@cache
def installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(names: set[str]) -> set[str]:
    """The distributions that libraries come from, as they are declared."""
    known = installed()
    return {normal(known[name][0]) if name in known else name for name in names}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[ \[<>=!~;]", name)[0]).lower()


def declared(*extras: str) -> set[str]:
    """What the core and some extras declare."""
    core = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    return {normal(one) for one in core} - {"peekaboo"}


EXTRAS = sorted(set(PROJECT["optional-dependencies"]) - {"all", "dev"})


def test_the_root_has_at_most_four_files() -> None:
    assert len([file for file in PACKAGE.iterdir() if file.is_file()]) <= 4


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    used = set().union(*(distributions(imported(file)) for file in files("peekaboo")))
    everything = declared(*EXTRAS)
    assert used - everything == set()
    assert everything - used == set(IMPORTED_BY_OTHERS)


def test_what_tests_and_benchmarks_import_is_declared() -> None:
    used = set().union(*(distributions(imported(file)) for file in files("tests", "benchmarks", "docs")))
    assert used - declared(*EXTRAS, "dev") == set()


def lazily_imported(file: Path) -> Iterator[tuple[str, str]]:
    """Yields (extra, library) of every import inside ``with extra(NAME, ...):``."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr).startswith("extra("):
            name = next(n for n in ast.walk(node.items[0].context_expr) if isinstance(n, ast.Constant))
            names = [n for n in ast.walk(ast.Module(node.body, [])) if isinstance(n, ast.Import | ast.ImportFrom)]
            yield from ((str(name.value), (n.module or "") if isinstance(n, ast.ImportFrom) else n.names[0].name) for n in names)


def test_what_an_extra_brings_is_imported_where_its_lack_is_explained() -> None:
    guarded = {(extra, normal(module.split(".")[0])) for file in files("peekaboo") for extra, module in lazily_imported(file)}
    assert {extra for extra, _ in guarded} == set(EXTRAS) - set(IMPORTED_BY_OTHERS)
    for extra, library in guarded:
        assert library in {normal(one) for one in PROJECT["optional-dependencies"][extra]}
    for file in files("peekaboo"):
        counted = sum(normal(name) in {library for _, library in guarded} for name in _every_import(file))
        assert counted == len(list(lazily_imported(file))), file


def _every_import(file: Path) -> Iterator[str]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - set(IMPORTED_BY_OTHERS)))
def test_without_an_extra_one_line_names_it(extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from peekaboo.command_line import web
    from peekaboo.data.film import Film, encode_film
    from peekaboo.data.images import decode
    from peekaboo.data.refcoco import fill_polygon
    from peekaboo.evaluation import Evaluation
    from peekaboo.evaluation.report import plot
    from peekaboo.functional.matting import closed_form
    from peekaboo.pretraining.sprites import rasterise
    from peekaboo.results.finish import Finish
    from peekaboo.teachers.openvino import OpenVINO

    for library in {library.split(".")[0] for file in files("peekaboo") for _, library in lazily_imported(file)}:
        monkeypatch.setitem(sys.modules, library, None)
    line = torch.nn.Linear(2, 2)
    users = {
        "coco": [lambda: fill_polygon([0, 0, 1, 1, 0, 1], 4, 4), lambda: Evaluation(coco_rle=True)],
        "matting": [lambda: Finish(edges="matting"), lambda: closed_form(torch.rand(3, 4, 4), torch.rand(4, 4), 1.0)],
        "video": [lambda: Film(ROOT / "README.md"), lambda: encode_film([], Fraction(1))],
        "plots": [lambda: plot([], tmp_path / "report.png")],
        "heic": [lambda: decode(io.BytesIO(b"\0\0\0\x18ftypheic" + bytes(16)))],
        "sprites": [lambda: rasterise("<svg/>")],
        "web": [lambda: web.main([])],
        "openvino": [lambda: OpenVINO(line, line.forward)(torch.zeros(1, 2), dtype=torch.float32)],
    }
    for use in users[extra]:
        with pytest.raises(
            (ModuleNotFoundError, ValueError), match=rf"^[^\n]+: expected .+ is not installed; pip install 'peekaboo\[{extra}\]'$"
        ):
            use()


# ---- other people's private names -----------------------------------------------------------------------------------------


def own_names() -> set[str]:
    """Every name that the package defines itself: functions, classes, variables, attributes of `self`."""
    found = set()
    for node in (node for file in files("peekaboo") for node in ast.walk(tree(file))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
    return found


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(file: Path, own: set[str]) -> Iterator[str]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            yield node.attr if ast.unparse(node.value) == "aten" else ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (str(node.module) for part in str(node.module).split(".") if private(part))
            yield from (f"{node.module}.{alias.name}" for alias in node.names if private(alias.name))


def test_no_private_name_of_others_is_used_but_those_that_are_fenced() -> None:
    own = own_names()
    used = {use for file in [*files("peekaboo"), ROOT / "cli.py"] for use in private_uses(file, own)}
    assert used == FENCED


def test_fence_the_options_of_a_subcommand() -> None:
    """`CommandLine._options` suggests them for a mistyped one. If they are gone: suggest only our own short ones."""
    import argparse

    from lightning.pytorch.cli import LightningCLI

    assert "_subcommand_parsers" in inspect.getsource(LightningCLI)
    assert argparse.ArgumentParser()._actions


def test_fence_the_names_that_loggers_have_before_their_first_word(tmp_path: Path) -> None:
    """`loggers.name_run` sets them. If they are gone: let the user name runs, and leave hyper-parameters to the logger."""
    from lightning.pytorch.loggers import mlflow, wandb
    from torch.utils.tensorboard import SummaryWriter

    assert "self._wandb_init" in inspect.getsource(wandb) and "self._run_name" in inspect.getsource(mlflow)
    assert callable(SummaryWriter(str(tmp_path))._get_file_writer().add_summary)


def test_fence_the_limit_of_recompilations() -> None:
    """`bilateral._many_shapes` raises it. If it is gone: give `torch.compile` its argument `recompile_limit`, newer than 2.8."""
    assert torch._dynamo.config.recompile_limit == 8


def test_fence_operations_without_a_public_name() -> None:
    """`openvino._decompositions` names them. If one is gone: print the graph of `make_fx` and see what stands in its place."""
    for name in ("_softmax", "_softmax_backward_data", "_unsafe_view", "_safe_softmax"):
        assert hasattr(getattr(torch.ops.aten, name), "default")


@pytest.mark.skipif(sys.platform != "linux", reason="where PyTorch brings GNU's or Intel's OpenMP")
def test_fence_openmp_lies_behind_pytorchs_library() -> None:
    """`openvino._openmp` looks for it. If it is gone: OpenVINO is slower by what two sets of threads cost, and nothing else."""
    from peekaboo.teachers.openvino import _openmp

    assert _openmp() is not None


# ---- the wheel ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_holds_package_configs_and_command(wheel: Path) -> None:
    import peekaboo

    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for file in (file for file in (ROOT / "configs").rglob("*") if file.is_file()):
            name = f"peekaboo/configs/{file.relative_to(ROOT / 'configs').as_posix()}"
            assert archive.read(name) == file.read_bytes()
        metadata = archive.read(f"peekaboo-{peekaboo.__version__}.dist-info/METADATA").decode()
        commands = archive.read(f"peekaboo-{peekaboo.__version__}.dist-info/entry_points.txt").decode()
    tracked = {file.relative_to(ROOT).as_posix() for file in PACKAGE.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert tracked <= names
    assert {name.split("/")[0] for name in names} == {"peekaboo", f"peekaboo-{peekaboo.__version__}.dist-info"}
    assert f"\nVersion: {peekaboo.__version__}\n" in metadata
    assert commands.split() == ["[console_scripts]", "peekaboo", "=", "peekaboo.command_line.entry:script"]


def test_the_wheel_runs_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """`.ci/wheel` runs it whole, as a command and from Python; here it only has to find its own configs and pictures."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    code = (
        "import peekaboo, sys; from peekaboo.command_line.names import CONFIGS, find_config; from pathlib import Path;"
        "print(peekaboo.__file__, CONFIGS, Path(find_config('rgb_bilateral.yaml')).is_file())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=empty,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    site = tmp_path / "site" / "peekaboo"
    assert done.stdout.split() == [str(site / "__init__.py"), str(site / "configs"), "True"]
