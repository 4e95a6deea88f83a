"""Two steps of every training of the embedded models, and what they write is opened by its own library."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

from peekaboo.data.looks import ASSETS
from peekaboo.guides import Depth
from peekaboo.optimisation.checkpoint import find_checkpoint
from peekaboo.pretraining import average, latents, quality
from peekaboo.pretraining.clip import CLIPTraining
from peekaboo.pretraining.data import (
    Mixture,
    SceneStreamData,
    contradicted,
    held_out_scenes,
    to_tensor,
    training_caption,
    training_scene,
)
from peekaboo.pretraining.depth import DepthTraining, scale_shift_invariant_loss
from peekaboo.pretraining.latents import LatentSceneData
from peekaboo.pretraining.tokenizer import MAX_LENGTH, build_tokenizer, known_words
from peekaboo.pretraining.unet import UNetTraining, stable_diffusion_schedule
from peekaboo.pretraining.vae import VAETraining, fold_latent_scale
from peekaboo.results.interruption import Interrupted
from peekaboo.teachers import CLIP, Diffusion


def train(module: Any, data: Any, folder: Path) -> None:
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(max_steps=2, accelerator="cpu", devices=1, default_root_dir=str(folder), **options).fit(module, data)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the autoencoder, CLIP, the text encoder, the tokenizer and the teacher, each after two steps."""
    folder = tmp_path_factory.mktemp("embedded")
    torch.manual_seed(0)
    scenes = SceneStreamData(batch_size=2, num_workers=0)
    train(VAETraining(str(folder / "vae"), channels=[4, 4, 4, 4]), scenes, folder)
    train(CLIPTraining(str(folder), text_width=16, text_layers=1, vision_width=16, vision_layers=1, patch=64), scenes, folder)
    bank = LatentSceneData(str(folder / "vae"), str(folder / "latents"), count=4, batch_size=2, num_workers=0)
    train(UNetTraining(str(folder), str(folder / "teacher"), channels=[16, 16, 16]), bank, folder)
    return folder


def test_the_autoencoder_opens_and_its_latents_have_unit_scale(parts: Path) -> None:
    vae = AutoencoderKL.from_pretrained(parts / "vae")
    assert vae.config.scaling_factor == 1
    image = torch.rand(1, 3, 128, 128)
    z = vae.float().encode(2 * image - 1).latent_dist.mean
    assert z.shape == (1, 4, 16, 16)
    assert vae.decode(z).sample.isfinite().all()


def test_folding_the_scale_changes_the_latent_but_not_the_picture() -> None:
    torch.manual_seed(0)
    training = VAETraining("unused", channels=[4, 4, 4, 4])
    vae, image = training.network.double().eval(), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        before = vae.encode(image).latent_dist
        picture = vae.decode(before.mean).sample
        mean, deviation = torch.tensor([0.5, -1.0, 2.0, 0.0]).double(), torch.tensor([2.0, 0.5, 1.0, 3.0]).double()
        fold_latent_scale(vae, mean, deviation)
        after = vae.encode(image).latent_dist
        expected = (before.mean - mean[:, None, None]) / deviation[:, None, None]
        torch.testing.assert_close(after.mean, expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(after.std, before.std / deviation[:, None, None], rtol=0, atol=1e-10)
        torch.testing.assert_close(vae.decode(after.mean).sample, picture, rtol=0, atol=1e-10)


def test_clip_opens_and_its_text_tower_is_the_text_encoder(parts: Path) -> None:
    clip, tower = CLIPModel.from_pretrained(parts / "clip").float(), CLIPTextModel.from_pretrained(parts / "text_encoder").float()
    tokens = CLIPTokenizer.from_pretrained(parts / "clip")(["a red apple"], return_tensors="pt").input_ids
    assert CLIPImageProcessor.from_pretrained(parts / "clip").size == {"height": 128, "width": 128}
    with torch.no_grad():
        expected, found = clip.text_model(tokens).last_hidden_state, tower(tokens).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert CLIP(str(parts / "clip")).logits(torch.rand(1, 3, 50, 60), ["a red apple"]).shape == (1,)


def test_the_teacher_is_a_pipeline_and_knows_its_words(parts: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(parts / "teacher")
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    teacher = Diffusion(str(parts / "teacher"))
    assert teacher.resolution == 128
    assert teacher.known_words() == set(known_words())
    z = teacher.encode(torch.rand(1, 3, 128, 128))
    assert teacher.predict_noise(z, torch.tensor([500]), teacher.embed(["a rocket"])).isfinite().all()


@pytest.mark.parametrize("shipped", [False, True])
def test_a_pipeline_opens_and_samples_without_further_arguments(parts: Path, shipped: bool) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained((ASSETS if shipped else parts) / "teacher")
    pipeline.set_progress_bar_config(disable=True)
    (image,) = pipeline("a rocket", num_inference_steps=1, output_type="np").images
    assert image.shape == (128, 128, 3) and np.isfinite(image).all()


def test_the_bank_is_encoded_once_and_keeps_what_it_has(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "PART", 3)
    encoded: list[int] = []
    scene = latents.training_scene
    monkeypatch.setattr(
        latents, "training_scene", lambda seed, index, **rest: encoded.append(index) or scene(seed, index, **rest)
    )

    def bank(count: int, **rest: Any) -> Any:
        data = LatentSceneData(str(parts / "vae"), str(tmp_path), count=count, num_workers=0, **rest)
        encoded.clear()
        data.prepare_data()
        data.setup("fit")
        return data.bank

    first = bank(5)
    assert encoded == [0, 1, 2, 3, 4] and len(first) == 5
    again = bank(5)
    assert encoded == [] and again.captions == first.captions and torch.equal(again.mean, first.mean)
    (tmp_path / "000003-000005.safetensors").unlink()  # as if it had been interrupted there
    assert torch.equal(bank(5).mean, first.mean) and encoded == [3, 4]
    more = bank(6)
    assert encoded == [3, 4, 5] and torch.equal(more.mean[:5], first.mean) and more.captions[:5] == first.captions
    owls = bank(20, mixture=Mixture(emphasis=("owl",)))
    assert len(encoded) == 20 and sum("owl" in caption for caption in owls.captions) >= 4
    with pytest.raises(ValueError, match="emphasis: expected words of the embedded world, got hamer"):
        Mixture(emphasis=("owl", "hamer"))


def test_the_bank_holds_what_the_autoencoder_says(parts: Path, tmp_path: Path) -> None:
    data = LatentSceneData(str(parts / "vae"), str(tmp_path), count=2, num_workers=0)
    data.prepare_data()
    data.setup("fit")
    vae = AutoencoderKL.from_pretrained(parts / "vae", dtype=torch.float32, low_cpu_mem_usage=False).eval()
    image = torch.stack([to_tensor(training_scene(2000, i)) for i in range(2)])
    with torch.no_grad():
        posterior = vae.encode(image * 2 - 1).latent_dist
    torch.testing.assert_close(data.bank.mean.float(), posterior.mean, rtol=1e-2, atol=5e-3)
    torch.testing.assert_close(data.bank.deviation.float(), posterior.std, rtol=1e-2, atol=5e-3)


def test_the_mean_of_two_denoisers(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    other = tmp_path / "other"
    shutil.copytree(parts / "teacher", other)
    torch.manual_seed(1)
    network = UNet2DConditionModel.from_pretrained(other, subfolder="unet", low_cpu_mem_usage=False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    network.save_pretrained(other / "unet")
    command = ["average", str(parts / "teacher"), str(other), "--output", str(tmp_path / "mean"), "--share", "0.25"]
    monkeypatch.setattr("sys.argv", command)
    assert average.main() == 0
    first, second, mean = (
        UNet2DConditionModel.from_pretrained(folder, subfolder="unet", low_cpu_mem_usage=False).state_dict()
        for folder in (parts / "teacher", other, tmp_path / "mean")
    )
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor.float(), 0.75 * first[name].float() + 0.25 * second[name].float(), rtol=1e-3, atol=1e-3)
    Diffusion(str(tmp_path / "mean"))  # complete, and it opens
    assert average.main() == 1 and "output: expected a new folder" in capsys.readouterr().err
    for arguments, message in (
        ((parts, other, tmp_path / "x"), "expected the folder of a pipeline"),
        ((parts / "teacher", ASSETS / "teacher", tmp_path / "x"), "of the same sizes"),
        ((parts / "teacher", other, tmp_path / "x", 1.5), r"share: expected a number in \[0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            average.average_denoisers(*arguments)
    assert not (tmp_path / "x").exists()


def test_trainings_go_on_from_what_is_there(parts: Path, tmp_path: Path) -> None:
    clip = CLIPTraining(str(tmp_path), start=str(parts / "clip"))
    before = {k: v.clone() for k, v in clip.network.clip.state_dict().items()}
    train(clip, SceneStreamData(batch_size=2, num_workers=0), tmp_path)
    after = clip.network.clip.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("text_"))
    assert not torch.equal(before["visual_projection.weight"], after["visual_projection.weight"])
    shipped = CLIPTokenizer.from_pretrained(ASSETS / "clip").get_vocab()  # its ids are its own: a new tokenizer has others
    assert build_tokenizer(tmp_path / "new").get_vocab() != shipped
    CLIPTraining(str(tmp_path / "shipped"), start=str(ASSETS / "clip")).export(tmp_path / "shipped")
    for folder in ("clip", "tokenizer"):
        assert CLIPTokenizer.from_pretrained(tmp_path / "shipped" / folder).get_vocab() == shipped
    train(DepthTraining(str(tmp_path / "a"), width=16, patch=16, neck=8), SceneStreamData(2, num_workers=0), tmp_path)
    depth = DepthTraining(str(tmp_path / "b"), start=str(tmp_path / "a"))
    assert depth.network.config.hidden_size == 16


def test_a_training_that_a_signal_stops_keeps_its_last_step_and_the_command_line_goes_on_with_it(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stopped(UNetTraining):
        def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
            if self.global_step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().training_step(batch, batch_idx)

    def trainer(steps: int) -> Trainer:
        keep = ModelCheckpoint(str(tmp_path), save_last=True, save_top_k=0)
        options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "callbacks": [keep]}
        return Trainer(max_steps=steps, accelerator="cpu", devices=1, **options)  # type: ignore[arg-type]

    bank = LatentSceneData(str(parts / "vae"), str(parts / "latents"), count=4, batch_size=2, num_workers=0)
    Stopped.__name__ = "UNetTraining"
    with pytest.raises(Interrupted, match="SIGTERM"):
        trainer(9).fit(Stopped(str(parts), str(tmp_path / "out"), channels=[16, 16, 16]), bank)
    assert f"stopped after step 3; go on with --ckpt_path {tmp_path / 'last.ckpt'}" in capsys.readouterr().out
    checkpoint = find_checkpoint(tmp_path / "last.ckpt")  # as the command line reads it
    training = UNetTraining(str(parts), str(tmp_path / "out"), channels=[16, 16, 16])
    trainer(4).fit(training, bank, ckpt_path=str(checkpoint))
    assert training.global_step == 4 and training.seconds > 0
    depth = DepthTraining(str(tmp_path / "depth"), width=16, patch=16, neck=8)
    with pytest.raises(ValueError, match="ckpt_path: expected a checkpoint of a DepthTraining, got one of something else"):
        depth.on_load_checkpoint(torch.load(checkpoint, weights_only=True))


def test_a_training_with_a_frozen_text_tower_is_resumed(tmp_path: Path) -> None:
    def run(steps: int, checkpoint: str | None = None) -> CLIPTraining:
        sizes = {"text_width": 16, "text_layers": 1, "vision_width": 16, "vision_layers": 1, "patch": 64}
        training = CLIPTraining(str(tmp_path / "parts"), freeze_text_after=0.5, **sizes)
        keep = ModelCheckpoint(str(tmp_path), filename="last", save_on_train_epoch_end=True)
        options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "callbacks": [keep]}
        trainer = Trainer(max_steps=steps, accelerator="cpu", devices=1, **options)  # type: ignore[arg-type]
        trainer.fit(training, SceneStreamData(batch_size=2, num_workers=0), ckpt_path=checkpoint)
        return training

    first = run(4).network.clip.state_dict()
    checkpoint = str(tmp_path / "last.ckpt")
    training = run(6, checkpoint)
    assert training.text_frozen and training.global_step == 6
    after = training.network.clip.state_dict()
    assert all(torch.equal(first[k], after[k]) for k in first if k.startswith("text_"))
    assert not torch.equal(first["visual_projection.weight"], after["visual_projection.weight"])


def test_quality_says_what_a_folder_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["quality", "--folder", str(tmp_path)])
    assert quality.main() == 1
    assert "error: folder: expected teacher, clip and depth in" in capsys.readouterr().err


def test_what_clip_names_is_looked_at_on_looks_it_does_not_see(tmp_path: Path) -> None:
    """The shipped CLIP, which knows Fluent 3D: its names on held-out scenes are those that the quality's own way gives."""
    training = CLIPTraining(str(tmp_path), start=str(ASSETS / "clip"))
    shares = training.named_right(count=12)
    assert list(shares) == ["fluent_3d", "seen", "tuning"]
    for tag, share in shares.items():
        assert share == pytest.approx(quality.clip_top1(CLIP(str(ASSETS / "clip")), held_out_scenes(tag, 12)))
    assert shares["fluent_3d"] > 0.7 > shares["tuning"]


def test_the_caption_gap_is_a_number(parts: Path) -> None:
    training = UNetTraining(str(parts), "unused", channels=[16, 16, 16])
    gap = training.caption_gap(count=2)
    assert set(gap) == {f"{key}_{looks}" for key in ("gap", "gap_empty") for looks in ("fluent_3d", "seen", "tuning")}
    assert all(bool(value.isfinite()) for value in gap.values())


def test_six_in_ten_timesteps_come_from_the_focus(parts: Path) -> None:
    training = UNetTraining(str(parts), "unused", channels=[16, 16, 16], focus=(100, 200))
    t = training.timesteps(4000)
    # 0.6 + 0.4 * 0.1 fall into it; 4000 draws have a standard deviation of 0.008
    assert float(((t >= 100) & (t < 200)).float().mean()) == pytest.approx(0.64, abs=0.04)
    assert 0 <= int(t.min()) < 100 and 900 < int(t.max()) < 1000
    with pytest.raises(ValueError, match=r"focus: expected two timesteps, 0 <= first < last <= 1000, got \[300, 200\]"):
        UNetTraining(str(parts), "unused", focus=(300, 200))


def test_the_schedule_is_stable_diffusions() -> None:
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(stable_diffusion_schedule().alphas_cumprod, np.cumprod(1 - betas), rtol=0, atol=1e-6)


def test_every_known_word_is_one_token_and_any_other_is_spelled(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(tmp_path)
    for word in known_words():
        assert len(tokenizer(word).input_ids) == 3, word  # start, the word, end
    ids = tokenizer("a zeppelin").input_ids
    assert len(ids) > 4
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "a zeppelin"
    # a run that is resumed builds it anew
    assert all(build_tokenizer(tmp_path / str(i)).get_vocab() == tokenizer.get_vocab() for i in range(3))
    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert again("the red apple on the left").input_ids == tokenizer("the red apple on the left").input_ids
    assert len(again("a " * 50, truncation=True).input_ids) == MAX_LENGTH


def test_the_depth_model_opens_as_the_guide(tmp_path: Path) -> None:
    scenes = SceneStreamData(batch_size=2, num_workers=0)
    train(DepthTraining(str(tmp_path / "depth"), width=16, layers=4, patch=16, neck=8), scenes, tmp_path)
    depth = Depth(str(tmp_path / "depth"))(torch.rand(1, 3, 40, 60))
    assert depth.shape == (1, 1, 40, 60)
    assert float(depth.min()) >= 0 and float(depth.max()) <= 1


def test_the_depth_loss_knows_no_scale_and_no_shift_and_can_ask_for_edges() -> None:
    truth = torch.zeros(1, 16, 16)
    truth[..., 8:] = 1
    soft = truth.clone()
    soft[..., 7], soft[..., 8] = 0.4, 0.6
    for edges in (0.0, 0.5):
        assert float(scale_shift_invariant_loss(3 * truth + 2, truth, edges=edges)) == pytest.approx(0, abs=1e-5)
    plain, sharp = (float(scale_shift_invariant_loss(soft, truth, edges=edges)) for edges in (0.0, 0.5))
    # Mean deviations from the median: 0.5 from 0; 0.45 from 0.4 (seven columns of 0, one of 0.4, one of 0.6, seven of 1).
    assert plain > 0
    assert sharp - plain == pytest.approx(0.5 * (1 / 0.5 - 0.2 / 0.45), abs=1e-5)


def test_a_contradicted_caption_differs_in_one_thing() -> None:
    rng = np.random.default_rng(0)
    assert {contradicted("the small bus", rng) for _ in range(40)} >= {"the big bus"}
    assert {contradicted("the bus at the top", rng) for _ in range(40)} >= {"the bus at the bottom"}
    both = {contradicted("the bus on the left and the bus on the right", rng) for _ in range(40)}
    assert "the bus on the right and the bus on the left" not in both  # which would be true
    for scene in (training_scene(2000, i) for i in range(40)):
        caption = training_caption(scene, rng)
        wrong = contradicted(caption, rng)
        assert wrong != caption
        words, others = caption.split(), wrong.split()
        same_end = next((i for i, (a, b) in enumerate(zip(reversed(words), reversed(others), strict=False)) if a != b), 0)
        same_start = next(i for i, (a, b) in enumerate(zip([*words, ""], [*others, ""], strict=False)) if a != b)
        changed = " ".join(words[same_start : len(words) - same_end])
        assert changed.removeprefix("an ").removeprefix("a ") in caption and " and " not in changed
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", wrong)
    assert contradicted("a photo of water", rng) == "a photo of water"


def test_captions_are_told_apart_by_the_difference_of_their_errors() -> None:
    right = torch.tensor([0.1, 0.1], dtype=torch.float64, requires_grad=True)
    wrong = torch.tensor([0.3, 0.1], dtype=torch.float64, requires_grad=True)
    loss = UNetTraining.contrasted(right, wrong, sharpness=8.0)
    np.testing.assert_allclose(loss.detach(), [0.1 / 8 * np.log1p(np.exp(-16)), 0.1 / 8 * np.log(2)])
    loss.sum().backward()
    np.testing.assert_allclose(right.grad, [1 / (1 + np.exp(16)), 0.5])
    np.testing.assert_allclose(wrong.grad, -right.grad)


def test_a_training_with_contrast_asks_the_network_for_half_of_the_scenes_twice(parts: Path) -> None:
    training = UNetTraining(str(parts), "unused", channels=[16, 16, 16], contrast=0.5, caption_dropout=0.0)
    asked: list[list[str]] = []
    embed = training.embed
    training.embed = lambda captions: asked.append(captions) or embed(captions)  # type: ignore[method-assign,func-returns-value]
    training.log = lambda *args, **options: None  # type: ignore[method-assign]
    captions = ["a bus", "a rocket", "water", "an owl"]
    batch = {"mean": torch.randn(4, 4, 16, 16), "deviation": torch.zeros(4, 4, 16, 16), "caption": captions}
    training.training_step(batch, 0).backward()
    assert asked[0][:4] == captions and len(asked[0]) == 6
    assert all(a != b for a, b in zip(asked[0][4:], captions, strict=False))
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in training.network.parameters())
