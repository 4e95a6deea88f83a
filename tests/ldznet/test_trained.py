"""A trained folder as a segmenter: in `test` and `predict`, from Python, deterministic, and refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_data import phrasecut
from test_published import scorer

import peekaboo
from peekaboo.command_line.entry import main
from peekaboo.data.aigi import AIGIData
from peekaboo.data.base import Sample
from peekaboo.data.phrasecut import PhraseCutData
from peekaboo.evaluation.objects import object_map
from peekaboo.ldznet import SquashedData, Trained, load_trained
from peekaboo.teachers import Diffusion

QUICK = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false"]


@pytest.fixture
def folder(make_training: Callable[..., Any], make_data: Callable[..., Any], train: Callable[..., Any], tmp_path: Path) -> str:
    """An LD-ZNet after a step, whose masks are not all the same."""
    module = make_training("LDZNet", zero_start=False)
    train(module, make_data(validation=None, templates=["{}", "a photo of {}", "the {}"]), 1)
    return str(tmp_path / "trained")


@pytest.fixture
def samples(image: torch.Tensor) -> list[Sample]:
    return [Sample("disc", image, "a red apple", image[1] < 0.5), Sample("noise", torch.rand(3, 30, 11), "the bear")]


def test_the_same_image_and_phrase_give_the_same_mask(folder: str, samples: list[Sample]) -> None:
    model = Trained(folder)
    assert model.timestep == 400 and model.template == "{}"
    together = model.masks(samples)
    assert [tuple(alpha.shape) for alpha in together] == [(20, 28), (30, 11)]
    for sample, alpha in zip(samples, together, strict=True):
        renamed = Sample("other", sample.image, sample.prompt)
        assert torch.allclose(Trained(folder).masks([renamed])[0], alpha, atol=1e-5)
    for change in ({"timestep": 300}, {"template": "the {}"}, {"seed": 1}, {"draws": 2}):
        assert not torch.equal(Trained(folder, **change).masks(samples)[0], together[0]), change


def test_published_inference_draws_and_averages(folder: str, samples: list[Sample]) -> None:
    drawn = Trained(folder, randomness="published")
    first, again = drawn.masks(samples), Trained(folder, randomness="published").masks(samples)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))  # the seed is an argument
    renamed = drawn.masks([Sample("other", samples[0].image, samples[0].prompt)])[0]
    assert not torch.equal(renamed, first[0])  # chance of its own for each sample
    frames = torch.stack([samples[0].image])
    from peekaboo.functional.framing import frame

    framed = torch.stack([frame(samples[0].image, 16)])
    each = torch.stack([drawn.alphas(framed, samples[:1], number)[0] for number in range(3)])
    assert each.std(0).max() > 1e-6 and frames.shape == (1, 3, 20, 28)
    three = Trained(folder, randomness="published", draws=3)
    from peekaboo.functional.framing import unframe

    assert torch.allclose(three.masks(samples[:1])[0], unframe(each.mean(0), (20, 28)), atol=1e-6)


def aigi(root: Path) -> Path:
    rng = np.random.default_rng(1)
    for name in ("castle", "bird"):
        Image.fromarray(rng.integers(0, 255, (24, 18, 3), dtype=np.uint8)).save(root / f"{name}.png")
        mask = np.zeros((24, 18), np.uint8)
        mask[4:12, 3:9] = 255
        Image.fromarray(mask).save(root / f"{name}_mask.png")
    labels = {f"{name}.png": [{"prompt": name, "mask": f"{name}_mask.png"}] for name in ("castle", "bird")}
    (root / "annotations.json").write_text(json.dumps(labels))
    return root


@pytest.mark.parametrize("kind", ["phrasecut", "aigi"])
def test_the_command_line_scores_public_layouts_as_published(kind: str, folder: str, tmp_path: Path) -> None:
    """Figures of `test` on hand-made trees are those of a direct computation."""
    root = tmp_path / "data"
    root.mkdir()
    data: Any = (
        PhraseCutData(str(phrasecut(root, "test")), annotated_size=True) if kind == "phrasecut" else AIGIData(str(aigi(root)))
    )
    config = ["--config", f"data/{kind}_squashed.yaml", f"--data.data.root={root}", "--data.side=16", "--data.num_workers=0"]
    asked = ["test", "--config", "ldznet.yaml", f"--model.folder={folder}", *config, "--evaluation.folder=run", *QUICK]
    assert main(asked) == 0
    found = json.loads(Path("run/metrics.json").read_text())
    squashed = [one for one in SquashedData(data, side=16).samples()]  # type: ignore[attr-defined]  # noqa: C416
    alphas = [Trained(folder).masks([one])[0] for one in squashed]
    assert found["n"] == len(squashed) == (3 if kind == "phrasecut" else 2)
    for name, value in scorer([a.numpy() for a in alphas], [s.mask.numpy() for s in squashed]).items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_prompts_of_one_image_become_one_map(folder: str, image_file: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(image_file, pictures / "disc.png")
    asked = ["--data.images", str(pictures), "--data.prompt", '["a red apple", "the bear"]', "--evaluation.object_maps=true"]
    assert (
        main(["predict", "--config", "ldznet.yaml", f"--model.folder={folder}", *asked, "--evaluation.folder=run", *QUICK]) == 0
    )
    index = json.loads(Path("run/objects.json").read_text())
    ((place, about),) = index.items()
    assert about["objects"] == {"0": "background", "1": "a red apple", "2": "the bear"}
    found = np.asarray(Image.open(Path("run") / place))
    alphas = [np.asarray(Image.open(f"run/alphas/disc-{name}.png")) / 65535 for name in ("a-red-apple", "the-bear")]
    expected = np.where(np.max(alphas, 0) > 0.5, np.argmax(alphas, 0) + 1, 0)
    assert Image.open(Path("run") / place).mode == "P"
    assert (found == expected).all()


def test_what_belongs_to_nobody_is_background() -> None:
    alphas = torch.tensor([[[0.2, 0.6, 0.9]], [[0.4, 0.7, 0.1]]])
    assert object_map(alphas).tolist() == [[0, 2, 1]]
    assert object_map(alphas, threshold=0.3).tolist() == [[2, 2, 1]]
    for wrong in (alphas[:0], torch.zeros(256, 1, 1)):
        with pytest.raises(ValueError, match="alphas: expected 1 to 255 objects"):
            object_map(wrong)


def test_from_python(folder: str, image: torch.Tensor) -> None:
    model = peekaboo.load("ldznet", folder=folder, device="cpu")
    result = peekaboo.segment(image, "a red apple", model)
    assert torch.equal(result.alpha, load_trained(folder).masks([Sample("0", image, "a red apple")])[0])
    assert result.record["variant"] == "LDZNet" and result.record["precision"] == "32-true"
    several = peekaboo.segment(image, ["a red apple", "the bear"], "ldznet", folder=folder, device="cpu")
    assert [one.prompt for one in several] == ["a red apple", "the bear"]
    drawn = [
        peekaboo.segment(image, "a bear", "ldznet", folder=folder, device="cpu", randomness="published", seed=s) for s in (1, 2)
    ]
    assert not torch.equal(drawn[0].alpha, drawn[1].alpha)
    with pytest.raises(ValueError, match="start: expected none for LDZNet, which optimises nothing"):
        peekaboo.segment(image, "a bear", model, start=result)


def test_folders_of_something_else_are_refused_in_one_line(folder: str, pipeline: Path, v_pipeline: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "x.ckpt"
    checkpoint.touch()
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = broken / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    other = tmp_path / "other_config"
    shutil.copytree(folder, other)
    (other / "config.json").write_text("{}")
    for given, said in (
        ("nowhere", "folder: expected the folder of a trained RGBNet, ZNet or LD-ZNet"),
        (str(pipeline), "folder: expected the folder of a trained"),
        (str(checkpoint), "which is a file; a checkpoint is for `fit --ckpt_path`"),
        (str(broken), "folder: expected the weights of a LDZNet"),
        (str(other), "whose config.json is of something else"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=said) as caught:
            Trained(given)
        assert "\n" not in str(caught.value)
    changed = Diffusion(str(_another(pipeline, tmp_path)))
    with pytest.raises(ValueError, match="teacher: expected the teacher of the training, .* digest was"):
        Trained(folder, changed)
    moved = tmp_path / "moved"
    shutil.copytree(pipeline, moved)
    assert Trained(folder, Diffusion(str(moved))).teacher_name == str(moved)  # where it lies does not count


def _another(pipeline: Path, tmp_path: Path) -> Path:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "another"
    shutil.copytree(pipeline, folder)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor + 0.1 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"randomness": "none"}, "randomness: expected one of fixed, published, got 'none'"),
        ({"draws": 0}, "draws: expected at least 1, got 0"),
        ({"timestep": 1000}, r"timestep: expected one of 0\.\.999, got 1000"),
        ({"template": "a dog"}, "template: expected texts with one {} each"),
        ({"randomness": "published", "timestep": 400}, "timestep, template: expected none with randomness `published`"),
        ({"threshold": 2.0}, "threshold: expected"),
    ],
)
def test_mistakes_are_said_in_one_line(options: dict[str, Any], said: str, folder: str) -> None:
    with pytest.raises(ValueError, match=said):
        Trained(folder, **options)
