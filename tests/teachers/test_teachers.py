"""Frozen networks: they never train, say what they cannot read, and fail in one line."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from common import kept_bytes
from conftest import needs_compiler
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn

from peekaboo.functional.diffusion import add_noise
from peekaboo.teachers import CLIP, Diffusion
from peekaboo.teachers.base import LoadError, locate
from peekaboo.teachers.diffusion import unknown_words
from peekaboo.teachers.network import Compile
from peekaboo.teachers.openvino import OpenVINO


@pytest.fixture
def teacher(pipeline: Path) -> Diffusion:
    return Diffusion(str(pipeline))


# ---- frozen --------------------------------------------------------------------------------------------------------------


def test_stays_in_eval_mode_without_gradients(teacher: Diffusion, clip_folder: Path) -> None:
    for network in (teacher, CLIP(str(clip_folder))):
        nn.ModuleList([network]).train()
        assert not any(module.training for module in network.modules())
        assert not any(p.requires_grad for p in network.parameters())


def test_predicting_and_embedding_leave_no_graph(teacher: Diffusion) -> None:
    z = torch.randn(1, 4, 8, 8, requires_grad=True)
    assert not teacher.predict_noise(z, torch.tensor([10]), teacher.embed(["a bear"])).requires_grad
    assert teacher.encode(torch.rand(1, 3, 16, 16, requires_grad=True)).requires_grad


# ---- encode, embed, predict ------------------------------------------------------------------------------------------------


def test_encodes_to_scaled_latents_as_the_autoencoder_does(teacher: Diffusion, pipeline: Path) -> None:
    vae, image, noise = AutoencoderKL.from_pretrained(pipeline / "vae"), torch.rand(2, 3, 16, 16), torch.randn(2, 4, 8, 8)
    posterior = vae.encode(2 * image - 1).latent_dist
    torch.testing.assert_close(teacher.encode(image), 0.18215 * posterior.mean, rtol=0, atol=1e-6)
    expected = 0.18215 * (posterior.mean + posterior.std * noise)
    torch.testing.assert_close(teacher.encode(image, noise), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (7, 33), (40, 40)])
def test_encodes_any_size_at_the_teachers_resolution(teacher: Diffusion, size: tuple[int, int]) -> None:
    assert teacher.encode(torch.rand(1, 3, *size)).shape == (1, *teacher.latent_shape())


def test_another_resolution(pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline), resolution=24)
    assert teacher.encode(torch.rand(1, 3, 16, 16)).shape == (1, 4, 12, 12) == (1, *teacher.latent_shape())
    with pytest.raises(ValueError, match="resolution: expected a multiple of 2, got 25"):
        Diffusion(str(pipeline), resolution=25)


def test_each_prompt_is_encoded_once(teacher: Diffusion) -> None:
    asked: list[int] = []
    teacher.family.encoders[0].network.register_forward_hook(lambda *_: asked.append(1))
    first = teacher.embed(["a bear", "a bear", "a red apple"]).embeddings
    assert len(asked) == 2
    assert torch.equal(first[0], first[1])
    assert not torch.allclose(first[0], first[2], atol=1e-3)
    assert torch.equal(teacher.embed(["a red apple"]).embeddings[0], first[2])
    assert len(asked) == 2
    assert first.shape == (3, 77, 16)


def test_prompts_of_a_large_data_set_are_not_all_kept(teacher: Diffusion, clip_folder: Path) -> None:
    clip, many = CLIP(str(clip_folder)), [f"a bear {i}" for i in range(5)]
    for network, embed in ((teacher, lambda p: teacher.embed(p).embeddings), (clip, clip.embed_text)):
        network._cache.budget = 3 * embed(["a bear"]).nbytes
        first = embed(many)
        assert len(first) == len(network._cache) == 5  # those of one batch are, or each step would need them anew
        assert torch.equal(embed(many[:1]), first[:1])
        assert len(network._cache) == 3 and many[0] in network._cache
        embed(["an apple"])
        assert many[0] in network._cache  # used last but one
        assert torch.equal(embed(many), first)


def test_weights_that_were_rounded_are_not_called_float32_silently(pipeline: Path, caplog: pytest.LogCaptureFixture) -> None:
    teacher = Diffusion(str(pipeline))
    image = torch.rand(1, 3, 16, 16)
    exact = teacher.encode(image)
    assert not caplog.text
    with torch.autocast("cpu", torch.bfloat16):
        teacher.encode(image)
    assert not torch.equal(teacher.encode(image), exact)
    assert "AutoencoderKL: its weights were rounded to torch.bfloat16 before, and stay so" in caplog.text


def test_a_prompts_embedding_does_not_depend_on_its_neighbours(teacher: Diffusion, pipeline: Path) -> None:
    together = teacher.embed(["a bear", "a red apple and a teddy bear on the left"])
    assert torch.equal(together[:1].embeddings, Diffusion(str(pipeline)).embed(["a bear"]).embeddings)


def test_clip_caches_too_and_gives_unit_embeddings(clip_folder: Path) -> None:
    clip = CLIP(str(clip_folder))
    asked: list[int] = []
    clip.model.text_model.register_forward_hook(lambda *_: asked.append(1))
    text = clip.embed_text(["a bear", "a red apple", "a bear"])
    clip.embed_text(["a bear"])
    assert len(asked) == 2
    with torch.autocast("cpu", torch.bfloat16):  # what is kept serves every precision
        assert torch.equal(CLIP(str(clip_folder)).embed_text(["a bear", "a red apple", "a bear"]), text)
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(clip.embed_image(torch.rand(2, 3, 16, 16)).norm(dim=-1), torch.ones(2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_type_becomes_the_noise(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prediction_type: str
) -> None:
    """A perfect network of each type must give back the noise that was added."""
    shutil.copytree(pipeline, tmp_path / "p")
    file = tmp_path / "p" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prediction_type": prediction_type}))
    z, eps = torch.randn(2, 1, 4, 8, 8)
    t = torch.tensor([400])
    schedule = DDIMScheduler.from_pretrained(pipeline / "scheduler")
    perfect = {"epsilon": eps, "sample": z, "v_prediction": schedule.get_velocity(z, eps, t)}[prediction_type]
    monkeypatch.setattr(UNet2DConditionModel, "forward", lambda *_, **__: UNet2DConditionOutput(perfect))
    teacher = Diffusion(str(tmp_path / "p"))
    found = teacher.predict_noise(add_noise(z, eps, *teacher.signal_noise(t)), t, teacher.embed([""]))
    torch.testing.assert_close(found, eps, rtol=0, atol=1e-5)


def test_an_unknown_prediction_type_is_refused(pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(pipeline, tmp_path / "p")
    file = tmp_path / "p" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prediction_type": "noise"}))
    with pytest.raises(ValueError, match="scheduler: expected epsilon, v_prediction, sample or flow_prediction, got 'noise'"):
        Diffusion(str(tmp_path / "p"))


# ---- precision -----------------------------------------------------------------------------------------------------------


def test_dtype_auto_follows_the_trainers_precision_but_the_vae_is_never_float16(teacher: Diffusion) -> None:
    seen: list[torch.dtype] = []
    teacher.family.autoencoder.network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    image = torch.rand(1, 3, 16, 16)
    exact = teacher.encode(image)
    for dtype, expected in ((torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)):
        with torch.autocast("cpu", dtype=dtype):
            z = teacher.encode(image)
            noise = teacher.predict_noise(z, torch.tensor([500]), teacher.embed(["a bear"]))
        assert seen[-1] == next(teacher.family.autoencoder.parameters()).dtype == expected
        assert next(teacher.denoiser.parameters()).dtype == dtype
        assert z.dtype == noise.dtype == torch.float32
        torch.testing.assert_close(z, exact, rtol=0, atol=0.02)  # bfloat16 has 8 bits


def test_dtypes_can_be_fixed(pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline), dtype="bfloat16", vae_dtype="float32")
    z = teacher.encode(torch.rand(1, 3, 16, 16))
    teacher.predict_noise(z, torch.tensor([500]), teacher.embed(["a bear"]))
    assert next(teacher.denoiser.parameters()).dtype == torch.bfloat16
    assert next(teacher.family.autoencoder.parameters()).dtype == torch.float32
    with pytest.raises(ValueError, match="vae_dtype: expected auto, float32, bfloat16, float16, got 'half'"):
        Diffusion(str(pipeline), vae_dtype="half")


# ---- warnings ------------------------------------------------------------------------------------------------------------


def test_a_long_prompt_warns_with_what_is_cut(teacher: Diffusion, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        teacher.embed(["a red bear " * 25 + "on the left"])  # 78 words of one token each, and start and end
        teacher.embed(["a red bear " * 25])  # 75 words and two: 77, as many as are read
    assert [record.getMessage() for record in caplog.records if record.name.startswith("peekaboo")] == [
        "prompt: 80 tokens, but the text encoder reads 77: cut 'on the left'"
    ]


def test_unknown_words_warn_with_the_words_and_the_way_out(closed_pipeline: Path, caplog: pytest.LogCaptureFixture) -> None:
    teacher = Diffusion(str(closed_pipeline))
    with caplog.at_level(logging.WARNING):
        teacher.embed(["A red apple", ""])
        assert caplog.text == ""
        teacher.embed(["a violet zeppelin"])
    assert "has never seen the words 'violet', 'zeppelin'" in caplog.text
    assert "teachers/sd15" in caplog.text
    assert teacher.known_words() == {"a", "red", "apple", "teddy", "bear"}


def test_an_open_vocabulary_warns_of_nothing(teacher: Diffusion, caplog: pytest.LogCaptureFixture) -> None:
    teacher.embed(["a violet zeppelin"])
    assert teacher.known_words() is None
    assert "never seen" not in caplog.text


@pytest.mark.parametrize("prompt", ["🍎", "!!!", "一个红苹果"])
def test_a_prompt_of_signs_alone_is_unknown_too(closed_pipeline: Path, prompt: str, caplog: pytest.LogCaptureFixture) -> None:
    Diffusion(str(closed_pipeline)).embed([prompt, " "])
    assert f"has never seen the word {prompt!r}" in caplog.text


def test_unknown_words_are_listed_once_without_punctuation() -> None:
    assert unknown_words("A dog, a DOG - and the teddy-bear!", frozenset({"a", "and", "the", "teddy"})) == ["dog", "bear"]


# ---- errors in one line --------------------------------------------------------------------------------------------------


def message_of(path: str | Path, kind: type = Diffusion) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        kind(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_no_pipeline(tmp_path: Path) -> None:
    assert message_of(tmp_path) == f"teacher: expected a model folder with model_index.json, got {str(tmp_path)!r} without it"
    assert message_of(tmp_path, CLIP) == f"clip: expected a model folder with config.json, got {str(tmp_path)!r} without it"


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "~/nowhere", "nowhere", "a/b/c"])
def test_a_path_that_does_not_exist(path: str) -> None:
    assert message_of(path) == f"teacher: expected `embedded`, a folder, or a hub name like owner/model, got {path!r}"


@pytest.mark.parametrize("kind", [Diffusion, CLIP])
def test_a_hub_name_without_a_network(kind: type) -> None:
    message = message_of("nobody/no-such-model", kind)
    assert "'nobody/no-such-model': the hub cannot be reached and the model is not in the cache" in message
    assert "path: embedded" in message


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_truncated_weights(pipeline: Path, tmp_path: Path, part: str) -> None:
    shutil.copytree(pipeline, tmp_path / "p")
    (file,) = (tmp_path / "p" / part).glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])
    message = message_of(tmp_path / "p")
    assert message.startswith(
        f"teacher: expected a loadable model at {str(tmp_path / 'p')!r}: its weights are truncated or corrupt"
    )


def test_missing_weights_and_pickles_in_their_place(pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(pipeline, tmp_path / "p")
    (file,) = (tmp_path / "p" / "unet").glob("*.safetensors")
    file.unlink()
    assert "teacher: expected a loadable model at" in message_of(tmp_path / "p")
    torch.save({"conv_in.weight": torch.zeros(1)}, file.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(LoadError, match="safetensors"):  # a pickle is not opened
        Diffusion(str(tmp_path / "p"))


def test_a_broken_configuration(pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(pipeline, tmp_path / "p")
    (tmp_path / "p" / "vae" / "config.json").write_text("{")
    assert "teacher: expected a loadable model at" in message_of(tmp_path / "p")


def test_an_embedded_model_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("peekaboo.teachers.base.EMBEDDED", {"teacher": tmp_path / "none"})
    with pytest.raises(FileNotFoundError, match="teacher: the embedded model is not installed"):
        locate("embedded", "teacher", "model_index.json")


def test_locate_takes_folders_before_hub_names(pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(pipeline, tmp_path / "owner" / "model")  # the working folder is tmp_path
    assert locate("owner/model", "teacher", "model_index.json") == "owner/model"
    assert locate("owner/other", "teacher", "model_index.json") == "owner/other"


@pytest.mark.parametrize("how", [True, pytest.param("inductor", marks=[needs_compiler, pytest.mark.slow])])
def test_compiled_it_predicts_the_same(pipeline: Path, teacher: Diffusion, how: Compile) -> None:
    compiled = Diffusion(str(pipeline), compile=how)
    for count in (2, 3) if how is True else (2,):
        z, t, text = torch.randn(count, 4, 8, 8), torch.randint(1000, (count,)), teacher.embed(["a bear", "", "a cat"][:count])
        torch.testing.assert_close(compiled.predict_noise(z, t, text), teacher.predict_noise(z, t, text), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "checkpointing"),
    [(True, False), (True, True), pytest.param("inductor", False, marks=[needs_compiler, pytest.mark.slow])],
)
def test_compiled_the_encoder_gives_the_same_gradient(
    pipeline: Path, teacher: Diffusion, how: Compile, checkpointing: bool
) -> None:
    compiled = Diffusion(str(pipeline), compile=how, checkpointing=checkpointing)
    for count in (1, 3) if how is True else (1,):  # OpenVINO mixed up weights at some sizes and not at others
        image, noise, found = torch.rand(count, 3, 16, 16), torch.randn(count, 4, 8, 8), []
        for encoder in (teacher, compiled):
            x = image.clone().requires_grad_()
            encoder.encode(x, noise).square().sum().backward()
            found.append(x.grad)
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compiled_in_bfloat16_it_errs_about_as_little_as_uncompiled(pipeline: Path, teacher: Diffusion) -> None:
    """Against float32: the gradient through the encoder, and the noise at timesteps that bfloat16 cannot tell apart."""
    t, text = torch.tensor([597, 751, 838, 889]), teacher.embed(["a bear"] * 4)
    image, z, errors = torch.rand(4, 3, 16, 16), torch.randn(4, 4, 8, 8), []
    expected: list[torch.Tensor] = []
    for how, dtype in ((False, "float32"), (False, "bfloat16"), (True, "bfloat16")):
        one, x = Diffusion(str(pipeline), dtype=dtype, vae_dtype=dtype, compile=how), image.clone().requires_grad_()
        one.encode(x).square().sum().backward()
        found = [one.predict_noise(z, t, text), x.grad]
        expected = expected or found
        errors.append([float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)])
    assert all(0 < compiled < 1.6 * plain < 0.05 for plain, compiled in zip(errors[1], errors[2], strict=True)), errors


def test_openvino_reports_nothing_over_the_network(pipeline: Path, teacher: Diffusion) -> None:
    Diffusion(str(pipeline), compile=True).encode(torch.rand(1, 3, 16, 16))
    assert type(sys.modules["openvino.tools.ovc"].telemetry).__module__ == "openvino.tools.ovc.telemetry_stub"


def test_of_convolutions_that_it_cannot_take_back_openvino_tells() -> None:
    network = nn.Conv2d(4, 4, 3, groups=2).requires_grad_(False)
    run = OpenVINO(network, network.forward)
    value = run(torch.rand(1, 4, 8, 8, requires_grad=True), dtype=torch.float32)
    with pytest.raises(ValueError, match="compile: on a CPU expected plain convolutions, got grouped"):
        value.sum().backward()


def test_checkpointing_keeps_less_and_gives_the_same_gradient(pipeline: Path, teacher: Diffusion) -> None:
    thrifty, image, found = Diffusion(str(pipeline), checkpointing=True), torch.rand(1, 3, 16, 16), []
    for encoder in (teacher, thrifty):
        x = image.clone().requires_grad_()
        kept = kept_bytes(partial(encoder.encode, x))
        encoder.encode(x).square().sum().backward()
        found.append((kept, x.grad))
    torch.testing.assert_close(found[1][1], found[0][1])
    assert found[1][0] < 0.5 * found[0][0]
