"""Folders that are not what they seem are refused in one line, before a run has begun."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_names import hub_vae
from safetensors.torch import load_file, save_file
from tiny_pipelines import save, unet, vae

from peekaboo.teachers import Diffusion
from peekaboo.teachers.base import GONE, explain_load_error
from peekaboo.teachers.loading import ModelFolder

Change = Callable[[Path], Any]


@pytest.fixture(scope="module")
def sana(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("sana", tmp_path_factory.mktemp("families") / "sana")


@pytest.fixture
def folder(pipeline: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Stable Diffusion, to be spoiled."""
    return Path(shutil.copytree(pipeline, tmp_path / "p"))


def message_of(path: str | Path, **rest: Any) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        Diffusion(str(path), **rest)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return str(caught.value)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def resave(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], part: str = "unet") -> None:
    (file,) = (folder / part).glob("*.safetensors")
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def without_first(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(list(tensors.items())[1:])


def to_bin(folder: Path) -> None:
    for file in (folder / "unet").glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))


def to_variant(folder: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        (file,) = (folder / part).glob("*.safetensors")
        file.rename(file.with_suffix(".fp16.safetensors"))


def to_shards_with_old_names(folder: Path) -> None:
    """As diffusers before 0.17 named the autoencoder's attention: in shards, diffusers does not rename it."""
    (file,) = (folder / "vae").glob("*.safetensors")
    tensors = hub_vae(load_file(file))
    names = {f"diffusion_pytorch_model-0000{i}-of-00002.safetensors": list(tensors)[i - 1 :: 2] for i in (1, 2)}
    for name, keys in names.items():
        save_file({key: tensors[key] for key in keys}, folder / "vae" / name, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": {key: name for name, keys in names.items() for key in keys}}
    (folder / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    file.unlink()


def to_network(folder: Path, part: str, network: Any) -> None:
    shutil.rmtree(folder / part)
    network.save_pretrained(folder / part)


SPOILED: dict[str, tuple[Change, str]] = {
    "another pipeline": (
        lambda f: edit(f / "model_index.json", _class_name="StableCascadePriorPipeline"),
        "got a StableCascadePriorPipeline (the encoder of its latents is no part of the pipeline)",
    ),
    "no pipeline": (lambda f: (f / "model_index.json").write_text("[]"), "model_index.json is no JSON object"),
    "another family": (
        lambda f: edit(f / "unet" / "config.json", _class_name="SD3Transformer2DModel"),
        "expected a UNet2DConditionModel in unet/",
    ),
    "another autoencoder": (lambda f: edit(f / "vae" / "config.json", _class_name="VQModel"), "expected a AutoencoderKL in vae/"),
    "inpainting": (lambda f: to_network(f, "unet", unet(in_channels=9)), "got 9, as an inpainting or an editing model has"),
    "sdxl's unet": (
        lambda f: edit(f / "unet" / "config.json", addition_embed_type="text_time"),
        "expected a U-Net with addition_embed_type None",
    ),
    "classes": (lambda f: edit(f / "unet" / "config.json", num_class_embeds=10), "expected a U-Net with num_class_embeds None"),
    "another text": (lambda f: edit(f / "unet" / "config.json", cross_attention_dim=32), "expected a text encoder of width 32"),
    "no component": (lambda f: shutil.rmtree(f / "vae"), "expected a folder vae/"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "expected a folder tokenizer/"),
    "empty tokenizer": (
        lambda f: [file.unlink() for file in (f / "tokenizer").iterdir() if file.name != "tokenizer_config.json"],
        "expected a tokenizer of",
    ),
    "no configuration": (lambda f: (f / "unet" / "config.json").unlink(), "expected unet/config.json"),
    "missing tensor": (lambda f: resave(f, without_first), "unet/ has 1 missing tensors: "),
    "unexpected tensor": (lambda f: resave(f, lambda t: {**t, "more": torch.ones(1)}), "unet/ has 1 unexpected tensors: more"),
    "missing text": (lambda f: resave(f, without_first, "text_encoder"), "text_encoder/ has 1 missing tensors: "),
    "old names in shards": (to_shards_with_old_names, "vae/ has"),
    "pickled": (to_bin, "got pickled ones alone, which are not opened"),
    "variant alone": (to_variant, "got only fp16: set `variant`"),
    "flow": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"),
        "scheduler: expected that of a diffusion model for StableDiffusionPipeline",
    ),
    "edm": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", _class_name="EDMDPMSolverMultistepScheduler"),
        "scheduler: expected a diffusion or a rectified flow, got EDMDPMSolverMultistepScheduler",
    ),
    "100 timesteps": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", num_train_timesteps=100),
        "scheduler: expected 1000 timesteps, got 100",
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_folder_is_refused_in_one_line(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, expected = SPOILED[kind]
    spoil(folder)
    if "tensor" not in kind and "names" not in kind and kind not in ("missing text", "pickled", "variant alone"):
        read: list[str] = []
        monkeypatch.setattr(
            ModelFolder, "network", lambda *arguments, **_: read.append(arguments[1]) or pytest.fail("weights read")
        )
        if kind == "empty tokenizer":
            monkeypatch.undo()
    assert expected in message_of(folder)


def test_a_variant_is_taken_where_it_is_asked_for(folder: Path, pipeline: Path) -> None:
    assert "leave `variant` out" in message_of(folder, variant="fp16")
    to_variant(folder)
    variant, plain = Diffusion(str(folder), variant="fp16"), Diffusion(str(pipeline))
    assert variant.digest == plain.digest


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stay_in_the_precision_of_their_file_until_another_is_asked_for(
    folder: Path, dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    for part in ("unet", "vae", "text_encoder"):
        resave(folder, lambda tensors: {key: value.to(dtype) for key, value in tensors.items()}, part)
    teacher = Diffusion(str(folder))
    assert {p.dtype for p in teacher.parameters()} == {dtype}
    text = torch.float32 if dtype == torch.float16 else dtype  # which CLIP is widened from
    assert {p.dtype for p in teacher.family.encoders[0].network.parameters()} == {text}
    assert Diffusion(str(folder), text_dtype="bfloat16").family.encoders[0].network.dtype == torch.bfloat16
    z = teacher.encode(torch.rand(1, 3, 16, 16))
    teacher.predict_noise(z, torch.tensor([5]), teacher.embed(["a bear"]))
    assert {p.dtype for p in teacher.parameters()} == {torch.float32}  # what the trainer's precision asks for
    assert "rounded" not in caplog.text
    fixed = Diffusion(str(folder), dtype="bfloat16", vae_dtype="float32")
    assert next(fixed.denoiser.parameters()).dtype == torch.bfloat16
    assert next(fixed.family.autoencoder.parameters()).dtype == torch.float32


def test_text_encoder_and_decoder_are_no_part_of_what_goes_to_the_device(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Diffusion(str(pipeline))
    names = [name for name, _ in teacher.named_parameters()]
    assert not any("text" in name or "decoder" in name or "post_quant" in name for name in names)
    encoder, moves = teacher.family.encoders[0], []
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: moves.append(str(device)))
    with pytest.raises(KeyError), encoder._on(torch.device("cuda", 0)):
        raise KeyError
    assert moves == ["cuda:0", "cpu"]  # it goes back whatever happens
    with encoder._on(torch.device("cpu")):
        pass
    assert len(moves) == 2
    monkeypatch.undo()
    other = Diffusion(str(pipeline), text_device="cpu")
    assert other.family.encoders[0].stays


def test_the_digest_is_of_the_text_encoder_too(folder: Path, pipeline: Path) -> None:
    resave(
        folder, lambda tensors: {key: value + 1 if "final" in key else value for key, value in tensors.items()}, "text_encoder"
    )
    assert Diffusion(str(folder)).digest != Diffusion(str(pipeline)).digest


def test_resolutions_that_tokens_do_not_divide(sana: Path, tmp_path: Path) -> None:
    assert message_of(sana, resolution=17) == "resolution: expected a multiple of 2, got 17"
    sd3 = save("sd3_without_t5", tmp_path / "sd3")
    assert message_of(sd3, resolution=18) == "resolution: expected a multiple of 4, got 18"
    assert message_of(sd3, resolution=128).startswith("resolution: expected at most 64, where the network's positions end")


@pytest.mark.parametrize("path", ["mods/v1-5-pruned.safetensors", "model.ckpt", "./a.gguf"])
def test_a_single_file_is_no_folder(path: str) -> None:
    assert "got the single file" in message_of(path)
    Path("plain").write_text("")
    assert "got the single file 'plain'" in message_of("plain")


@pytest.mark.parametrize("name", GONE)
def test_a_name_that_is_gone_says_where_its_copies_are(name: str) -> None:
    assert GONE[name] in message_of(name)


def test_messages_of_the_hub() -> None:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    class Response:
        headers: dict[str, str] = {}
        request = None

    for kind, expected in ((RepositoryNotFoundError, "may have been renamed or removed"), (GatedRepoError, "hf auth login")):
        assert expected in str(explain_load_error(kind("404", response=Response()), "teacher", "a/b"))  # type: ignore[arg-type]


def test_a_text_encoder_that_was_saved_with_more_than_it_reads_is_taken(folder: Path) -> None:
    """Hub checkpoints hold position ids, which the library leaves out by itself."""
    resave(folder, lambda t: {**t, "text_model.embeddings.position_ids": torch.arange(77)[None]}, "text_encoder")
    Diffusion(str(folder))
    assert vae().config.latent_channels == 4
