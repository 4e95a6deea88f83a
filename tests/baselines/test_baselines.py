"""The baselines: their shapes, what each is made to find, and that every config runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import needs_compiler
from PIL import Image
from torch import Tensor

from peekaboo.baselines.base import Baseline
from peekaboo.baselines.border_colour import BorderColour
from peekaboo.baselines.clip_patches import CLIPPatches, Method, smooth
from peekaboo.baselines.cross_attention import CrossAttention
from peekaboo.baselines.noise_difference import NoiseDifference
from peekaboo.baselines.precomputed import Precomputed
from peekaboo.baselines.whole_image import WholeImage
from peekaboo.data.base import Failure, Sample
from peekaboo.data.masks import read_alpha
from peekaboo.functional.diffusion import add_noise
from peekaboo.functional.maps import rescale
from peekaboo.functional.random import Draws
from peekaboo.results.result import Result
from peekaboo.teachers import CLIP, Diffusion
from peekaboo.teachers.base import locate
from peekaboo.teachers.network import Compile
from peekaboo.teachers.relevance import noise_difference

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "baselines"


@pytest.fixture
def samples(image: Tensor) -> list[Sample]:
    truth = image[1] < 0.5
    return [
        Sample("disc", image, "a red apple", truth),
        Sample("turned", image.transpose(1, 2).contiguous(), "the bear", truth.T),
    ]


def check(baseline: Baseline, samples: list[Sample], rounding: float = 1e-5) -> list[Result]:
    """Runs it as the trainer does, and checks what every baseline promises.

    ``rounding`` is what a batch may change: more where tiny values are scaled to [0, 1].
    """
    found = baseline.test_step([*samples, Failure("broken", "why")], 0)
    assert isinstance(found[-1], Failure)
    results = [item[1] for item in found if not isinstance(item, Failure)]
    for sample, result in zip(samples, results, strict=True):
        assert result.alpha.shape == sample.image.shape[-2:]
        assert result.alpha.min() >= 0
        assert result.alpha.max() <= 1
        alone = baseline.test_step([sample], 0)[0]
        assert not isinstance(alone, Failure)
        assert torch.allclose(alone[1].alpha, result.alpha, atol=rounding)  # of its neighbours it knows nothing
    return results


def test_the_whole_image_is_everything(samples: list[Sample]) -> None:
    for result, sample in zip(check(WholeImage(), samples), samples, strict=True):
        assert sample.mask is not None
        assert result.mask.all()
        assert result.iou == pytest.approx(float(sample.mask.float().mean()))


def test_border_colour_finds_what_differs_from_the_border(samples: list[Sample]) -> None:
    for result in check(BorderColour(), samples):
        assert result.iou is not None
        assert result.iou > 0.95
        assert result.threshold_method == "otsu"


def test_border_colour_of_a_plain_image_is_empty() -> None:
    alpha = BorderColour().masks([Sample("plain", torch.full((3, 9, 9), 0.4), "x")])[0]
    assert alpha.max() == 0


def test_noise_difference_is_the_norm_of_the_prompts_difference(samples: list[Sample], pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline))
    baseline = NoiseDifference(teacher, timesteps=[300, 700], draws=2)
    check(baseline, samples, rounding=2e-3)  # an untrained network hardly reads its prompt: the difference is small
    with torch.no_grad():
        image = torch.rand(1, 3, 16, 16)
        z = teacher.encode(image)
        expected, draws = torch.zeros(1, *z.shape[2:]), Draws([5])
        for number, step in enumerate([300, 300, 700, 700]):
            eps = draws.of(str(number)).normal(*z.shape[1:])
            t = torch.tensor([step])
            z_t = add_noise(z, eps, *teacher.signal_noise(t))
            difference = teacher.predict_noise(z_t, t, teacher.embed(["a red apple"])) - teacher.predict_noise(
                z_t, t, teacher.embed([""])
            )
            expected += difference.square().sum(1).sqrt() / 4
        found = noise_difference(teacher, image, ["a red apple"], draws, [300, 700], 2)
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("how", [True, pytest.param("inductor", marks=[needs_compiler, pytest.mark.slow])])
def test_cross_attention_looks_into_a_compiled_teacher(how: Compile, samples: list[Sample], pipeline: Path) -> None:
    found, expected = (CrossAttention(Diffusion(str(pipeline), compile=c), [200]).masks(samples[:1])[0] for c in (how, False))
    assert torch.allclose(found, expected, atol=1e-4)


def test_cross_attention_is_of_the_words_that_count(samples: list[Sample], pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline))
    check(CrossAttention(teacher, timesteps=[200, 400]), samples, rounding=2e-3)  # nearly uniform attention
    with pytest.raises(ValueError, match="finest: expected to leave some of the attention maps, got 0.01"):
        CrossAttention(teacher, finest=0.01).masks(samples)
    with pytest.raises(ValueError, match="words: expected one of content, last, all, end, got 'none'"):
        CrossAttention(teacher, words="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"blocks: expected some of the \d attention layers 0..\d, got \[9\]"):
        CrossAttention(teacher, blocks=[9]).masks(samples)


@pytest.mark.parametrize("method", ["values", "patches", "gradient"])
@pytest.mark.parametrize("against", [None, ["a bear"]])
def test_clip_patches(samples: list[Sample], clip_folder: Path, method: Method, against: list[str] | None) -> None:
    check(CLIPPatches(CLIP(str(clip_folder)), method, against), samples, rounding=1e-3)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 2.0, 30.0])
def test_smoothing_is_a_gaussian_whose_edges_are_repeated(sigma: float) -> None:
    from scipy.ndimage import gaussian_filter

    maps = torch.rand(2, 17, 21)
    radius = max(min(round(3 * sigma), 16), 1)
    theirs = [gaussian_filter(m.double().numpy(), sigma, mode="nearest", radius=radius) for m in maps]
    assert torch.allclose(smooth(maps, sigma).double(), torch.from_numpy(np.stack(theirs)), atol=1e-6)


def test_precomputed_reads_what_another_system_wrote(samples: list[Sample], tmp_path: Path) -> None:
    truth = samples[0].mask
    assert truth is not None
    Image.fromarray(truth.numpy()).save(tmp_path / "disc.png")  # 1 bit
    Image.fromarray((truth.T.numpy() * 65535).astype(np.uint16)).save(tmp_path / "turned.png")
    for result in check(Precomputed(str(tmp_path)), samples):
        assert result.iou == 1
    Image.fromarray(np.full((2, 2), 128, np.uint8)).save(tmp_path / "soft.png")
    assert torch.allclose(read_alpha(tmp_path / "soft.png", (2, 2)), torch.full((2, 2), 128 / 255))


def test_a_mask_that_is_missing_or_of_another_size_fails_its_own_sample(samples: list[Sample], tmp_path: Path) -> None:
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "disc.png")
    truth = samples[1].mask
    assert truth is not None
    third = Sample("third", samples[1].image, "x", truth)
    Image.fromarray(truth.numpy()).save(tmp_path / "third.png")
    size, missing, good = Precomputed(str(tmp_path)).test_step([*samples, third], 0)
    assert isinstance(size, Failure)
    assert "folder: expected the image's size 28 x 20, got 3 x 3" in size.reason
    assert isinstance(missing, Failure)
    assert "turned.png" in missing.reason
    assert not isinstance(good, Failure)
    with pytest.raises(FileNotFoundError, match="folder: expected a folder of masks"):
        Precomputed(str(tmp_path / "none"))


def test_rescale_goes_from_zero_to_one() -> None:
    maps = rescale(torch.stack([torch.arange(6.0).view(2, 3) - 9, torch.full((2, 3), 7.0)]))
    assert (maps[0].min(), maps[0].max(), maps[1].abs().max()) == (0, 1, 0)


@pytest.mark.parametrize("bad", [2.0, -0.1, "mean"])
def test_a_bad_threshold_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="threshold"):
        WholeImage(threshold=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["whole_image", "border_colour", "noise_difference", "cross_attention", "clip_patches", "clip_saliency"]
)
def test_the_configs_run_through_the_command_line(name: str, pipeline: Path, clip_folder: Path) -> None:
    from peekaboo.command_line.entry import main

    where = {
        "noise_difference": ["--model.teacher.path", str(pipeline)],
        "cross_attention": ["--model.teacher.path", str(pipeline)],
    }
    where |= {key: ["--model.clip.path", str(clip_folder)] for key in ("clip_patches", "clip_saliency")}
    data = [
        "--config",
        "data/scenes.yaml",
        "--data.single",
        "1",
        "--data.pair",
        "1",
        "--data.referring",
        "0",
        "--data.size",
        "32",
    ]
    rest = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    assert main(["test", "--config", f"baselines/{name}.yaml", *where.get(name, []), *data, *rest]) == 0
    (metrics,) = Path("runs/test").glob("*/metrics.json")
    assert json.loads(metrics.read_text())["n"] == 2


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_names_its_threshold(config: Path) -> None:
    model = yaml.safe_load(config.read_text())["model"]
    assert "threshold" in model["init_args"]
    assert config.read_text().startswith("# ")


def test_a_hub_name_is_a_name() -> None:
    with pytest.raises(FileNotFoundError):
        locate("no/such/thing", "clipseg", "config.json")
