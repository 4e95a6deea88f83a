"""Tiny networks in the hub's own layout, so that everything runs offline, on a CPU, in seconds."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub reads it
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors gain nothing from threads

import gc
import json
import shutil
import signal
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from PIL import Image

from peekaboo.alphas import Alpha, Bilateral, Raster
from peekaboo.backgrounds import RandomColour
from peekaboo.command_line.explaining import explain
from peekaboo.data.benchmark import ScenesData
from peekaboo.data.input import Input
from peekaboo.functional.random import Draws
from peekaboo.guides import RGB
from peekaboo.ldznet import ConcatNet, LDZNet, Recipe, RGBNet, SegmentationData, TrainingScenesData, ZNet
from peekaboo.ldznet.training import Training
from peekaboo.losses import Loss, ScoreDistillation
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.results.board import MaskBoard
from peekaboo.results.exit_codes import NOTHING_FOUND
from peekaboo.results.saving import SaveResults
from peekaboo.teachers import Diffusion
from peekaboo.web.wishes import Limits, Offer, Wish, wish

ROOT = Path(__file__).resolve().parent.parent
SIDE = 16  # of the images that the tiny teachers were made for
#: What Lightning says of a run, and this program does not repeat.
CHATTER = ("GPU available", "Trainer.fit", "Modules in", "Epoch", "v_num", "Params", "Restor")


#: What torch.compile asks of a machine for CPU code: a C++ compiler, and Python's own headers.
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")) or not Path(sysconfig.get_paths()["include"], "Python.h").exists(),
    reason="torch.compile needs a C++ compiler and Python's headers",
)


def pytest_configure() -> None:
    """Takes Ctrl-C, which a shell without job control has what it starts in the background ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Lets the garbage collector pass over what was imported, which stays: a million objects, and parsers make it look often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Seeds the global generators and runs in an empty folder, so that nothing is written into the project."""
    torch.manual_seed(0)
    np.random.seed(0)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        yield


def _save_pipeline(folder: Path, prediction_type: str) -> Path:
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from peekaboo.pretraining.tokenizer import build_tokenizer

    torch.manual_seed(1)
    build_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", model_max_length=77)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=16,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=SIDE,
        scaling_factor=0.18215,
    )
    schedule = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=schedule,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny randomly initialised StableDiffusionPipeline that predicts eps."""
    return _save_pipeline(tmp_path_factory.mktemp("pipeline"), "epsilon")


@pytest.fixture(scope="session")
def v_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same that predicts v."""
    return _save_pipeline(tmp_path_factory.mktemp("v_pipeline"), "v_prediction")


@pytest.fixture
def closed_pipeline(pipeline: Path, tmp_path: Path) -> Path:
    """The same with a list of the words that it knows, as the embedded teacher has it."""
    folder = tmp_path / "closed_pipeline"
    shutil.copytree(pipeline, folder)
    (folder / "vocabulary.json").write_text(json.dumps(["a", "red", "apple", "teddy", "bear"]))
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny randomly initialised CLIPModel with its tokenizer and image processor."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    from peekaboo.pretraining.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(2)
    build_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        **sizes,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**sizes, "image_size": SIDE, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    CLIPImageProcessor(size=size, crop_size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def depth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny randomly initialised DPT, the family of MiDaS 3."""
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    folder = tmp_path_factory.mktemp("depth")
    torch.manual_seed(3)
    config = DPTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        is_hybrid=False,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        initializer_range=0.3,  # or its output would vary by rounding alone
    )
    DPTForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
    return folder


@pytest.fixture
def image() -> torch.Tensor:
    """A (3, 20, 28) picture: a dark disc on a light, slightly graded ground."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 20), torch.linspace(-1, 1, 28), indexing="ij")
    disc = ((x - 0.2) ** 2 + y**2 < 0.4).float()
    ground = torch.stack([0.8 + 0.1 * x, 0.8 - 0.1 * y, 0.7 + 0 * x])
    return ground * (1 - disc) + torch.tensor([0.7, 0.1, 0.1])[:, None, None] * disc


@pytest.fixture
def image_file(image: torch.Tensor, tmp_path: Path) -> Path:
    """The same as a PNG."""
    path = tmp_path / "disc.png"
    Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()).save(path)
    return path


@pytest.fixture
def mask_file(image: torch.Tensor, tmp_path: Path) -> Path:
    """The disc of it as a mask."""
    path = tmp_path / "disc_mask.png"
    Image.fromarray(((image[1] < 0.5).byte() * 255).numpy()).save(path)
    return path


@pytest.fixture
def make_draws() -> Callable[..., Draws]:
    """Builds the draws of given seeds at step 0."""
    return lambda *seeds, **rest: Draws(seeds or (0,), **rest)


@pytest.fixture
def make_segmenter(pipeline: Path, image_file: Path, mask_file: Path) -> Callable[..., Segmenter]:
    """Builds a segmenter of the disc on the tiny pipeline: 4 iterations at 16 x 16, whatever else is asked for."""

    def make(alpha: Alpha | None = None, loss: Loss | None = None, lr: float = 0.1, **rest: Any) -> Segmenter:
        parts = {"image": str(image_file), "prompt": "a red apple", "mask": str(mask_file)}
        given = Input(**{part: rest.pop(part, value) for part, value in parts.items()})
        settings = {"input": given, "iterations": 4}
        return Segmenter(
            alpha=alpha or Bilateral(Raster(), RGB(), passes=3),
            loss=loss or ScoreDistillation(Diffusion(str(pipeline)), guidance=30.0),
            background=RandomColour(),
            optimizer=lambda parameters: torch.optim.Adam(parameters, lr=lr),
            **{"resolution": 16, "normalise_gradient": True, "penalty": 0.25, **settings, **rest},
        )

    return make


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Builds a trainer as the command line does, quiet, on the CPU."""

    def make(*callbacks: Callback, **rest: Any) -> Trainer:
        settings = {
            "max_epochs": 1,
            "accelerator": "cpu",
            "devices": 1,
            "default_root_dir": str(tmp_path),
            "log_every_n_steps": 1,
        }
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False}
        return Trainer(callbacks=[MaskBoard(), SaveResults(), *callbacks], **{**settings, **quiet, **rest})

    return make


@pytest.fixture
def fit_arguments(pipeline: Path, depth_folder: Path, clip_folder: Path) -> Callable[[str | Path], list[str]]:
    """Builds the arguments that run a config for two quick iterations on the tiny networks, on the CPU."""

    def build(config: str | Path) -> list[str]:
        text = (ROOT / "configs" / config).read_text()
        out = ["fit", "--config", str(config), "--model.iterations=2", "--model.resolution=16"]
        if "teachers.Diffusion" in text:
            out.append(f"--model.loss.teacher.path={pipeline}")
        if "teachers.CLIP" in text:
            out.append(f"--model.loss.clip.path={clip_folder}")
        if "guides.Depth" in text or "guides.RGBDepth" in text:
            out.append(f"--model.alpha.guide.path={depth_folder}")
        return [*out, "--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false"]

    return build


# ---- what the page offers, on the tiny pipeline ----------------------------------------------------------------------


@pytest.fixture
def offer(make_segmenter: Callable[..., Segmenter]) -> Offer:
    """Two variants that are one, of four iterations; ``offer.load.asked`` has what was loaded."""

    segmenter = make_segmenter()  # here: networks of two tests must not be loaded by two threads at once

    def load(variant: str, teacher: str) -> Segmenter:
        load.asked.append((variant, teacher))  # type: ignore[attr-defined]
        return segmenter

    load.asked = []  # type: ignore[attr-defined]
    variants = {"rgb_bilateral": "filtered", "raster": "free"}
    return Offer(variants, ("embedded",), load, lambda variant, teacher: 4, explain)


@pytest.fixture
def ask(offer: Offer, image_file: Path) -> Callable[..., Wish]:
    """Asks for the disc, whatever else is asked for."""

    def asking(limits: Limits | None = None, **rest: Any) -> Wish:
        usual: dict[str, Any] = {"image": str(image_file), "words": "a red apple", "variant": "rgb_bilateral"}
        usual |= {"teacher": "embedded", "iterations": 4, "seed": 0}
        return wish(**usual | rest, offer=offer, limits=limits or Limits())

    return asking


# ---- trainings of segmentation networks, on the tiny pipeline ------------------------------------------------------------------

NETWORKS: dict[str, type[Training]] = {"RGBNet": RGBNet, "ZNet": ZNet, "LDZNet": LDZNet, "ConcatNet": ConcatNet}
QUICKLY = Recipe(learning_rate=3e-3, per_sample=False, schedule="linear", ema=0.5)


@pytest.fixture
def make_training(pipeline: Path, tmp_path: Path) -> Callable[..., Training]:
    """Builds a training of some kind."""

    def make(kind: str = "ZNet", **rest: Any) -> Training:
        settings: dict[str, Any] = {"recipe": QUICKLY, "head_width": 4, "template": "{}", "export_every": 100, "shown": 2}
        return NETWORKS[kind](Diffusion(str(pipeline)), **{"output": str(tmp_path / "trained"), **settings, **rest})

    return make


@pytest.fixture
def make_data() -> Callable[..., SegmentationData]:
    """Builds scenes of 16 pixels to train on, and three to look at."""

    def make(count: int | None = None, **rest: Any) -> SegmentationData:
        train = TrainingScenesData(size=16, count=count)
        validation = ScenesData(single=2, pair=1, referring=0, split="tuning", size=16)
        settings: dict[str, Any] = {"side": 16, "crop": False, "templates": ["{}", "a photo of {}"], "batch_size": 2}
        return SegmentationData(**{"train": train, "validation": validation, **settings, **rest})

    return make


@pytest.fixture
def train(make_trainer: Callable[..., Trainer]) -> Callable[..., Trainer]:
    """Fits a training for some steps."""

    def run(module: Training, data: Any, steps: int, *callbacks: Any, ckpt_path: str | None = None, **rest: Any) -> Trainer:
        settings = {"max_steps": steps, "enable_checkpointing": False, "logger": False, **rest}
        trainer = make_trainer(*callbacks, **settings)
        trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run


def code_of(run: Path) -> int:
    """The exit code that a fit's results ask for: whether there is anything in its masks."""
    empty = [json.loads(file.read_text())["empty"] for file in run.rglob("result.json")]
    assert empty
    return NOTHING_FOUND if all(empty) else 0
