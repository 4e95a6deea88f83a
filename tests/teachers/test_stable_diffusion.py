"""A teacher of Stable Diffusion 1.4's shape takes the checkpoint's key names and shapes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from hub_names import TEXT_KEYS, UNET_KEYS, VAE_KEYS, hub_text, hub_vae, on_meta_device
from safetensors.torch import load_file, save_file
from stable_diffusion_14 import TEXT, UNET, VAE
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from true_configurations import OPEN_CLIP_H

from peekaboo.teachers import Diffusion


@pytest.fixture(scope="module")
def full() -> dict[str, dict[str, Tensor]]:
    return on_meta_device()


@pytest.mark.parametrize(
    ("part", "tensors", "parameters"),
    [("unet", 686, 859_520_964), ("vae", 248, 83_653_863), ("text_encoder", 196, 123_060_480)],
)
def test_full_size(full: dict[str, dict[str, Tensor]], part: str, tensors: int, parameters: int) -> None:
    weights = {key: value for key, value in full[part].items() if value.is_floating_point()}
    assert len(weights) == tensors
    assert sum(value.numel() for value in weights.values()) == parameters


@pytest.mark.parametrize(("part", "keys"), [("unet", UNET_KEYS), ("vae", VAE_KEYS), ("text_encoder", TEXT_KEYS)])
def test_key_names_and_shapes(full: dict[str, dict[str, Tensor]], part: str, keys: dict[str, tuple[int, ...]]) -> None:
    assert {key: tuple(full[part][key].shape) for key in keys} == keys


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """The checkpoint's folder with all of its blocks and layers and the names of its tensors, only narrower."""
    folder = tmp_path_factory.mktemp("stable_diffusion")
    torch.manual_seed(4)
    shutil.copytree(pipeline / "tokenizer", folder / "tokenizer")
    for surplus in ("tokenizer.json", "vocabulary.json"):  # the checkpoint has vocab.json and merges.txt alone
        (folder / "tokenizer" / surplus).unlink(missing_ok=True)
    vocabulary = len(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    text = {**TEXT, "vocab_size": vocabulary, "hidden_size": 24, "intermediate_size": 96, "eos_token_id": 1, "pad_token_id": 1}
    networks = {
        "unet": UNet2DConditionModel(**{**UNET, "block_out_channels": (32, 64, 96, 96), "cross_attention_dim": 24}),
        "vae": AutoencoderKL(**{**VAE, "block_out_channels": (32, 64, 96, 96)}),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
    }
    for name, network in networks.items():
        network.save_pretrained(folder / name)
        (file,) = (folder / name).glob("*.safetensors")
        rename = {"unet": dict, "vae": hub_vae, "text_encoder": hub_text}[name]
        tensors = rename(load_file(file))
        if name == "text_encoder":
            tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]  # a buffer that the checkpoint holds
        save_file(tensors, file, metadata={"format": "pt"})
    (folder / "scheduler").mkdir()
    schedule = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.2.2",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "skip_prk_steps": True,
    }
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
    classes = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
    index = {name: ["transformers" if name == "text_encoder" else "diffusers", kind] for name, kind in classes.items()}
    safety = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "feature_extractor": ["transformers", "X"]}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **index, **safety}))
    return folder


def test_the_thin_copy_has_the_names_of_the_full_one(full: dict[str, dict[str, Tensor]], thin: Path) -> None:
    for part, tensors in full.items():
        (file,) = (thin / part).glob("*.safetensors")
        assert set(load_file(file)) - {"text_model.embeddings.position_ids"} == set(tensors)


def test_every_tensor_under_its_old_name_arrives(thin: Path) -> None:
    """A name that was not understood would leave a random weight behind, and the teacher would be quietly wrong."""
    teacher = Diffusion(str(thin), decoder=True)
    networks = {
        "unet": teacher.denoiser,
        "vae": teacher.family.autoencoder.network,
        "text_encoder": teacher.family.encoders[0].network,
    }
    for part, rename in (("unet", dict), ("vae", hub_vae), ("text_encoder", hub_text)):
        (file,) = (thin / part).glob("*.safetensors")
        saved, loaded = load_file(file), rename(networks[part].state_dict())
        for key, value in loaded.items():
            assert torch.equal(value, saved[key]), f"{part}: {key}"


def test_a_step_at_its_own_latent_size(thin: Path) -> None:
    teacher = Diffusion(str(thin), resolution=64)
    assert Diffusion(str(thin)).resolution == 512
    assert teacher.latent_shape() == (4, 8, 8)
    z = teacher.encode(torch.rand(1, 3, 50, 70))
    assert z.shape == (1, 4, 8, 8)
    assert teacher.predict_noise(z, torch.tensor([500]), teacher.embed(["a bear"])).shape == z.shape
    signal, noise = teacher.signal_noise(torch.tensor([0, 999]))
    torch.testing.assert_close(signal**2, torch.tensor([1 - 0.00085, 0.00466]), rtol=0, atol=1e-5)  # of scaled_linear, SD 1.x
    torch.testing.assert_close(signal**2 + noise**2, torch.ones(2))


# ---- Stable Diffusion 2.1 ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thin_21(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """OpenCLIP's 23 layers, linear projections, v-prediction at 96 places, few keys in the configurations, padding by "!"."""
    folder = tmp_path_factory.mktemp("stable_diffusion_21")
    torch.manual_seed(5)
    (folder / "tokenizer").mkdir()
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(pipeline / "tokenizer" / file, folder / "tokenizer" / file)
    added = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    end = {**added, "content": "<|endoftext|>"}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>", "do_lower_case": True}
    config |= {"bos_token": {**added, "content": "<|startoftext|>"}, "eos_token": end, "unk_token": end}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "!"}
    (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps(special))
    vocabulary = len(json.loads((folder / "tokenizer" / "vocab.json").read_text()))
    text = {**OPEN_CLIP_H, "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 64, "eos_token_id": 1}
    heads = {"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True, "sample_size": 96}
    narrow = {"block_out_channels": (160, 320, 640, 640), "layers_per_block": 1, "cross_attention_dim": 32}
    networks = {
        "unet": UNet2DConditionModel(**{**UNET, **heads, **narrow}),
        "vae": AutoencoderKL(**{**VAE, "block_out_channels": (32, 32, 32, 32)}),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
    }
    for name, network in networks.items():
        network.half().save_pretrained(folder / name, variant="fp16")
        file = folder / name / "config.json"
        defaults = type(network)().config if name != "text_encoder" else {}
        kept = {key: value for key, value in json.loads(file.read_text()).items() if defaults.get(key, "none") != value}
        file.write_text(json.dumps({**kept, "_diffusers_version": "0.8.0"}))
    (folder / "scheduler").mkdir()
    schedule = {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    schedule |= {"prediction_type": "v_prediction", "steps_offset": 1, "set_alpha_to_one": False, "skip_prk_steps": True}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
    index = {"_class_name": "StableDiffusionPipeline", "feature_extractor": ["transformers", "CLIPFeatureExtractor"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_stable_diffusion_21_as_it_lies_on_the_hub(thin_21: Path) -> None:
    teacher = Diffusion(str(thin_21), variant="fp16", resolution=64)
    assert teacher.family.prediction == "v_prediction"
    assert teacher.denoiser.config.use_linear_projection
    assert teacher.family.autoencoder.network.config.scaling_factor == 0.18215
    encoder = teacher.family.encoders[0]
    assert encoder.network.config.num_hidden_layers == 23
    seen: list[Tensor] = []
    encoder.network.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True)
    text = teacher.embed(["a bear"])
    pad = encoder.tokenizer.convert_tokens_to_ids("!")
    assert seen[0][0, -1] == pad != encoder.tokenizer.eos_token_id
    z = torch.randn(1, *teacher.latent_shape())
    assert teacher.predict_noise(z, torch.tensor([500]), text).isfinite().all()
    assert Diffusion(str(thin_21), variant="fp16").resolution == 768
