"""Every family of teachers against its own pipeline: latents, text, prediction and gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from direct import SIDE, Direct
from tiny_pipelines import TINY, save

from peekaboo.functional.random import Draws
from peekaboo.losses import ScoreDistillation
from peekaboo.teachers import Diffusion, Text
from peekaboo.teachers.families import REFUSED, families, family_of
from peekaboo.teachers.families.stable_diffusion import embed_guidance

PROMPTS = ["A red apple", "a teddy bear on the left"]
#: Whose networks do not say at which size they were trained.
UNSIZED = {"flux_dev", "flux_schnell", "z_image", "qwen_image"}
Load = Callable[..., Diffusion]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny pipeline, written when it is first asked for."""
    root = tmp_path_factory.mktemp("families")
    return lambda name: root / name if (root / name).exists() else save(name, root / name)


@pytest.fixture
def load(folders: Callable[[str], Path]) -> Load:
    def make(name: str, **rest: object) -> Diffusion:
        sized = {"resolution": SIDE} if name in UNSIZED else {}
        return Diffusion(str(folders(name)), **{**sized, **rest})  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize("name", TINY)
def test_latents_and_the_distillation_gradient_are_the_pipelines_own_in_float64(
    name: str, load: Load, folders: Callable[[str], Path]
) -> None:
    teacher, direct = load(name), Direct(name, folders(name))
    image, noise = torch.rand(2, 3, SIDE, SIDE), torch.randn(2, *teacher.latent_shape())
    z = teacher.encode(image, noise)
    for i in range(2):
        torch.testing.assert_close(z[i : i + 1].double(), direct.latent(image[i : i + 1], noise[i : i + 1]), rtol=0, atol=2e-6)

    guided = teacher.family.classifier_free and teacher.embedded_guidance is None
    asked = [(t, 3.0 if guided else 1.0) for t in (teacher.timesteps or (20, 500, 980))[:: 20 if teacher.timesteps else 1]]
    eps = torch.randn(2, *teacher.latent_shape())
    gradients: list[tuple[torch.Tensor, torch.Tensor]] = []
    for t, guidance in [*asked, *([(500, 0.0), (500, 1.0)] if guided else [])]:
        loss = ScoreDistillation(teacher, guidance=guidance, weighting="one")
        loss._noise = lambda draws, shape, t=t: (torch.full((2,), t), eps)  # type: ignore[method-assign]
        found = loss.gradient(z, PROMPTS, Draws([5, 6]))
        a, b = direct.signal_noise(t)
        for i, prompt in enumerate(PROMPTS):
            z_t = (a * z[i] + b * eps[i])[None].double()
            expected = direct.eps(z_t, t, prompt)
            if guidance != 1:
                uncond = direct.eps(z_t, t, "")
                expected = uncond + guidance * (expected - uncond)
            gradients.append((found[i].double(), (expected - eps[i])[0]))
    found, expected = (torch.stack(side) for side in zip(*gradients, strict=True))
    torch.testing.assert_close(
        found, expected, rtol=0, atol=1e-6 * float(expected.abs().max())
    )  # of the largest: ours is float32


@pytest.mark.parametrize("name", TINY)
def test_a_batch_of_prompts_of_different_lengths_equals_each_alone(name: str, load: Load) -> None:
    teacher, prompts = load(name), ["a", "a red apple beside a bear", ""]
    z, t = torch.randn(3, *teacher.latent_shape()), torch.tensor([19, 519, 979])
    together = teacher.predict_noise(z, t, teacher.embed(prompts))
    for i, prompt in enumerate(prompts):
        alone = teacher.predict_noise(z[i : i + 1], t[i : i + 1], teacher.embed([prompt]))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=5e-6)
    twice = teacher.predict_noise(z[:2], t[:2], teacher.embed(prompts)[torch.tensor([1, 1])])
    assert not torch.allclose(twice[0], together[0], atol=1e-5)  # the prompt counts


@pytest.mark.parametrize("name", TINY)
def test_in_half_precision_the_time_is_not_rounded(name: str, load: Load) -> None:
    """The time's embedding, in bfloat16, is that of the exact time: .889 of Flux would become .892, 889 of a U-Net 888."""
    if name == "z_image":
        pytest.skip("reads its time in float32, and embeds it in a function of its own")
    teacher, seen = load(name, dtype="bfloat16"), []
    names = ("timestep_embedder", "time_embedding", "time_step_proj")
    (embedder,) = (module for name, module in teacher.denoiser.named_modules() if name.endswith(names))
    embedder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    (table,) = (m for m in teacher.denoiser.modules() if type(m).__name__ == "TimestepTable")
    z, t = torch.randn(4, *teacher.latent_shape()), torch.tensor([597, 751, 838, 889])
    teacher.predict_noise(z, t, teacher.embed(["a"] * 4))
    assert seen[0].dtype == torch.bfloat16
    assert torch.equal(seen[0], table.table[t].to(torch.bfloat16))


def test_the_unconditional_text_of_sdxl_is_zeros(load: Load) -> None:
    text = load("sdxl").embed(["", "a bear"])
    assert text.pooled is not None
    assert not text.embeddings[0].any() and not text.pooled[0].any()
    assert text.embeddings[1].any() and text.pooled[1].any()


def test_stable_diffusion_3_can_leave_t5_out(load: Load) -> None:
    with_t5, without = load("sd3").embed(["a bear"]), load("sd3", t5=False).embed(["a bear"])
    assert with_t5.embeddings.shape == without.embeddings.shape
    assert with_t5.embeddings[:, 77:].any() and not without.embeddings[:, 77:].any()
    torch.testing.assert_close(with_t5.embeddings[:, :77], without.embeddings[:, :77])
    with pytest.raises(ValueError, match="t5: expected true for FluxPipeline"):
        load("flux_dev", t5=False)


def test_distilled_models_take_no_classifier_free_guidance(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("flux_schnell", "lcm"):
        with pytest.raises(ValueError, match=r"guidance: expected 1 for .*, which was distilled to do without, got 7.5"):
            ScoreDistillation(load(name), guidance=7.5)
    with pytest.raises(ValueError, match="embedded_guidance: expected none for FluxPipeline, whose network reads no guidance"):
        load("flux_schnell", embedded_guidance=3.0)
    ScoreDistillation(load("flux_dev"), guidance=1.0)
    assert "guidance" not in caplog.text
    ScoreDistillation(load("flux_dev"), guidance=7.5)
    assert "reads its guidance as an input (embedded_guidance: 3.5); a classifier-free scale of 7.5" in caplog.text


@pytest.mark.parametrize("name", ["flux_dev", "lcm"])
def test_the_embedded_guidance_reaches_the_network(name: str, load: Load) -> None:
    found = []
    for scale in (None, 1.5):
        teacher = load(name, embedded_guidance=scale)
        z, t = torch.ones(1, *teacher.latent_shape()), torch.tensor([499])
        found.append(teacher.predict_noise(z, t, teacher.embed(["a"])))
    assert not torch.allclose(*found, atol=1e-5)
    assert embed_guidance(3.0, 5).shape == (1, 5)


def test_a_student_is_asked_at_its_own_timesteps_alone(load: Load) -> None:
    lcm = load("lcm")
    assert lcm.timesteps == tuple(range(19, 1000, 20))
    loss = ScoreDistillation(lcm, guidance=1.0, t_min=20, t_max=980, schedule="annealed")

    def drawn(step: int) -> set[int]:
        return set(loss._noise(Draws(range(800), step=step, total=11), (1,))[0].tolist())

    assert drawn(0) == set(range(39, 980, 20))
    assert drawn(5) == set(range(39, 500, 20))
    assert drawn(10) == {39}
    turbo = load("sdxl", timesteps=[749, 249, 499])
    assert turbo.timesteps == (249, 499, 749)
    with pytest.raises(ValueError, match="t_min, t_max: expected some of the teacher's timesteps"):
        ScoreDistillation(turbo, guidance=1.0, t_max=200)
    with pytest.raises(ValueError, match="timesteps: expected some in 0..999, got \\[1000\\]"):
        load("sdxl", timesteps=[1000])


@pytest.mark.parametrize("name", ["sd3", "pixart_sigma"])
def test_compiled_on_a_cpu_it_predicts_the_same(name: str, load: Load) -> None:
    plain, compiled = load(name), load(name, compile=True)
    z, t = torch.randn(2, *plain.latent_shape()), torch.tensor([100, 838])
    found, expected = (teacher.predict_noise(z, t, teacher.embed(PROMPTS)) for teacher in (compiled, plain))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["flux_dev", "sana", "lumina2", "z_image", "qwen_image"])
def test_what_openvino_cannot_take_is_left_to_torch_compile(name: str, load: Load) -> None:
    teacher = load(name, compile=True)
    assert teacher._denoiser._on_cpu is teacher._encoder._on_cpu is None
    assert teacher._denoiser._run is not teacher._denoiser._plain


def test_rfds_is_the_difference_of_velocities(load: Load) -> None:
    """The gradient of |(eps - z) - v_hat|² / 2 on z, with v_hat held: v_hat - (eps - z)."""
    teacher = load("sd3")
    z, eps = torch.randn(2, 2, *teacher.latent_shape())
    loss = ScoreDistillation(teacher, guidance=1.0, weighting="rfds")
    loss._noise = lambda draws, shape: (torch.tensor([200, 900]), eps)  # type: ignore[method-assign]
    found = loss.gradient(z, PROMPTS, Draws([1, 2]))
    t = torch.tensor([200, 900])
    s = teacher.signal_noise(t)[1][:, None, None, None]
    velocity = teacher.family.denoise((1 - s) * z + s * eps, t, teacher.embed(PROMPTS))
    torch.testing.assert_close(found, velocity - (eps - z), rtol=0, atol=1e-4)  # divided by 1 - s


@pytest.mark.parametrize("name", TINY)
def test_decoding_and_checkpointing(name: str, load: Load) -> None:
    kept, thrifty = load(name, decoder=True), load(name, checkpointing=True)
    z = torch.randn(1, *kept.latent_shape())
    assert kept.decode(z).shape == (1, 3, SIDE, SIDE)
    gradients = []
    for teacher in (kept, thrifty):
        image = torch.full((1, 3, SIDE, SIDE), 0.4, requires_grad=True)
        (teacher.encode(image) * z).sum().backward()
        gradients.append(image.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-6)
    assert gradients[0] is not None and gradients[0].any()
    with pytest.raises(ValueError, match="decoder: expected true"):
        thrifty.decode(z)


@pytest.mark.parametrize("name", ["sdxl", "sana", "qwen_image"])
def test_decode_is_the_way_back_of_the_scaling(name: str, load: Load) -> None:
    autoencoder = load(name).family.autoencoder
    z = torch.randn(1, autoencoder.channels, 4, 4)
    torch.testing.assert_close(autoencoder.unscale(autoencoder.scale(z)), z, rtol=0, atol=1e-5)


# ---- text ----------------------------------------------------------------------------------------------------------------


def test_texts_are_joined_indexed_and_repeated_together() -> None:
    short = Text(torch.ones(1, 2, 3), torch.ones(1, 4), torch.ones(1, 2, dtype=torch.bool))
    long = Text(torch.full((2, 3, 3), 2.0), torch.full((2, 4), 2.0), torch.ones(2, 3, dtype=torch.bool))
    both = Text.cat([short, long])
    assert len(both) == 3 and both.embeddings.shape == (3, 3, 3)
    assert both.mask is not None and both.mask.tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert not both.embeddings[0, 2].any()
    assert both[1:].embeddings.unique().tolist() == [2.0]
    assert both[[2, 0]].repeat_interleave(2).pooled[:, 0].tolist() == [2, 2, 1, 1]  # type: ignore[index]
    assert both.nbytes == 4 * (27 + 12) + 9
    with pytest.raises(ValueError, match="text: expected one length without a mask, got 2, 3"):
        Text.cat([Text(torch.ones(1, 2, 3)), Text(torch.ones(1, 3, 3))])
    with pytest.raises(ValueError, match="text: expected all prompts to have the same tensors"):
        Text.cat([short, Text(torch.ones(1, 2, 3))])


# ---- who is known --------------------------------------------------------------------------------------------------------


def test_every_family_is_in_the_table_of_who_predicts_what() -> None:
    import peekaboo.teachers.families as package

    for pipeline, family in families().items():
        assert f"``{family.__module__.rsplit('.', 1)[1]}``" in (package.__doc__ or ""), pipeline
    assert not set(REFUSED) & set(families())


def test_what_is_refused_says_why_and_what_there_is() -> None:
    with pytest.raises(ValueError, match="^teacher: expected one of ") as caught:
        family_of("Flux2Pipeline", "some/folder")
    assert "\n" not in str(caught.value)
    for part in ("StableDiffusionXLPipeline", "got a Flux2Pipeline (FLUX.2 is of another architecture) in 'some/folder'"):
        assert part in str(caught.value)


# ---- from the command line ---------------------------------------------------------------------------------------------------

OVERLAYS = {
    "lcm": "lcm",
    "sdxl": "sdxl",
    "sdxl_turbo": "sdxl",
    "sd3": "sd3_without_t5",
    "sd35": "sd35",
    "flux_dev": "flux_dev",
    "flux_schnell": "flux_schnell",
    "sana": "sana",
    "pixart_alpha": "pixart_alpha",
    "pixart_sigma": "pixart_sigma",
    "lumina2": "lumina2",
    "aura_flow": "aura_flow",
    "z_image": "z_image",
    "qwen_image": "qwen_image",
}


#: One of a U-Net, one that leaves an encoder out, one of a flow: the code is the same for the others, tested part by part above.
QUICK = ("lcm", "sd3", "flux_schnell")


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name not in QUICK])
def test_an_overlay_builds_its_teacher(overlay: str, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from peekaboo.command_line.entry import run
    from peekaboo.command_line.parser import CommandLine

    monkeypatch.setattr(CommandLine, "_run_subcommand", lambda self, subcommand: None)
    arguments = ["fit", "--config", "rgb_bilateral.yaml", "--config", f"teachers/{overlay}.yaml"]
    arguments += [f"--model.loss.teacher.path={folders(OVERLAYS[overlay])}", f"--model.loss.teacher.resolution={SIDE}"]
    teacher = run([*arguments, "--trainer.accelerator=cpu"]).model.objective.loss.teacher
    assert (teacher.name, teacher.resolution) == (str(folders(OVERLAYS[overlay])), SIDE)


@pytest.mark.parametrize("overlay", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in OVERLAYS])
def test_fit_with_an_overlay_leaves_a_mask_and_a_small_checkpoint(
    overlay: str, folders: Callable[[str], Path], image_file: Path
) -> None:
    from peekaboo.command_line.entry import main

    arguments = ["fit", "--config", "rgb_bilateral.yaml", "--config", f"teachers/{overlay}.yaml", "--model.iterations=3"]
    arguments += [f"--model.loss.teacher.path={folders(OVERLAYS[overlay])}", f"--model.loss.teacher.resolution={SIDE}"]
    arguments += [f"--model.image={image_file}", "--model.prompt=a red apple", "--model.resolution=16", "--model.mask=null"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    assert main([*arguments, *quiet]) == 0
    (mask,) = Path().rglob("mask.png")
    assert mask.stat().st_size > 0
    (checkpoint,) = Path().rglob("*.ckpt")
    assert checkpoint.stat().st_size < 2e6
    state = torch.load(checkpoint, weights_only=False)["state_dict"]
    assert state and not any("teacher" in key for key in state)


@pytest.mark.parametrize("verb", ["test", "predict"])
@pytest.mark.parametrize(
    "overlay", [name if name == "flux_schnell" else pytest.param(name, marks=pytest.mark.slow) for name in OVERLAYS]
)
def test_data_sets_too(verb: str, overlay: str, folders: Callable[[str], Path], image_file: Path) -> None:
    from peekaboo.command_line.entry import main

    arguments = [verb, "--config", "rgb_bilateral.yaml", "--config", f"teachers/{overlay}.yaml", "--model.iterations=2"]
    arguments += [f"--model.loss.teacher.path={folders(OVERLAYS[overlay])}", f"--model.loss.teacher.resolution={SIDE}"]
    data = ["--config", "data/scenes.yaml", "--data.single=1", "--data.pair=0", "--data.referring=0", "--data.size=32"]
    if verb == "predict":
        data = [f"--data.images={image_file.parent}", "--data.prompt=a red apple"]
    quiet = ["--model.resolution=16", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    assert main([*arguments, *data, *quiet]) == 0
    assert list(Path("runs").rglob("metrics.json" if verb == "test" else "masks/*.png"))
