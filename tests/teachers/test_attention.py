"""Attention to the words of a prompt, against the layers' own projections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from tiny_pipelines import save
from torch import Tensor

from peekaboo.baselines.cross_attention import CrossAttention
from peekaboo.baselines.noise_difference import NoiseDifference
from peekaboo.data.base import Sample
from peekaboo.teachers import Diffusion, Text
from peekaboo.teachers.attention import attention_maps, prompt_map, word_tokens

PROMPTS = ["a red apple", "the bear"]
T = torch.tensor([100, 900])


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Diffusion]:
    root = tmp_path_factory.mktemp("families")
    return lambda name: Diffusion(str(save(name, root / name) if not (root / name).exists() else root / name), resolution=16)


def heads(x: Tensor, attn: Any) -> Tensor:
    return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)


def direct(name: str, attn: Any, seen: dict[str, Any]) -> Tensor:
    """Probabilities (N, places, tokens) from a layer's inputs, by its projections."""
    image, text = seen["hidden_states"], seen["encoder_hidden_states"]
    if name in ("unet", "pixart_sigma"):
        logits = heads(attn.to_q(image), attn) @ heads(attn.to_k(text), attn).transpose(2, 3) * attn.scale
        if seen.get("attention_mask") is not None:
            logits = logits + seen["attention_mask"][:, None]
        return logits.softmax(-1).mean(1)
    query, key = (
        torch.cat([heads(own(image), attn), heads(added(text), attn)], 2)
        for own, added in ((attn.to_q, attn.add_q_proj), (attn.to_k, attn.add_k_proj))
    )
    places = image.shape[1]
    if name == "sd3":
        return (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)[:, :, :places, places:].mean(1)
    joined = []
    for x, norm, added in ((query, attn.norm_q, attn.norm_added_q), (key, attn.norm_k, attn.norm_added_k)):
        x = torch.cat([added(x[:, :, places:]), norm(x[:, :, :places])], 2).transpose(1, 2)
        joined.append(apply_rotary_emb(x, seen["image_rotary_emb"], sequence_dim=1).transpose(1, 2))
    query, key = joined
    words = text.shape[1]
    return (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)[:, :, words:, :words].mean(1)


@pytest.mark.parametrize("name", ["unet", "pixart_sigma", "sd3", "flux_dev"])
def test_attention_is_what_the_layers_projections_say(name: str, load: Callable[[str], Diffusion], pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline)) if name == "unet" else load(name)
    layer, seen = teacher.family.attention_layers()[1], {}
    hook = layer.register_forward_pre_hook(
        lambda _, args, kwargs: seen.update({"hidden_states": args[0]} if args else {}, **kwargs), with_kwargs=True
    )
    z, text = torch.randn(2, *teacher.latent_shape()), teacher.embed(PROMPTS)
    before = teacher.predict_noise(z, T, text)
    (found,) = attention_maps(teacher, z, T, text, [1])
    hook.remove()
    expected = direct(name, layer, seen)
    torch.testing.assert_close(found.flatten(1, 2), expected, rtol=0, atol=1e-6)
    assert float(expected.std()) > 0
    assert torch.equal(teacher.predict_noise(z, T, text), before)  # listening changes nothing
    assert not layer._forward_hooks and not layer._forward_pre_hooks


def test_all_cross_attention_of_a_unet_and_the_middle_of_a_transformer(load: Callable[[str], Diffusion], pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline))
    z = torch.randn(2, *teacher.latent_shape())
    maps = attention_maps(teacher, z, T, teacher.embed(PROMPTS))
    assert len(maps) == len(teacher.family.attention_layers()) > 2
    assert all(torch.allclose(m.sum(-1), torch.ones(m.shape[:-1]), atol=1e-5) for m in maps)
    total = sum(
        F.interpolate(m[0, ..., [2, 3]].mean(-1)[None, None], (8, 8), mode="bilinear")[0, 0] for m in maps
    )  # "red apple": DAAM's mean over words, layers and heads
    assert torch.allclose(prompt_map(teacher, z, T, PROMPTS)[0], total, atol=1e-6)
    assert len(attention_maps(load("sd3"), z, T, load("sd3").embed(PROMPTS))) == 1


@pytest.mark.parametrize("name", ["sd3", "flux_dev", "aura_flow", "qwen_image", "lumina2", "z_image"])
def test_in_joint_attention_rows_are_places_and_columns_tokens(name: str, load: Callable[[str], Diffusion]) -> None:
    """The last layer is given nothing but one place of the image, or one token, that differs: only its row, or column, moves."""
    teacher = load(name)
    layers = teacher.family.attention_layers()
    text = teacher.embed(["a red apple", "a bear"])
    place, token = 5, 2
    listened: list[Tensor] = []
    real = F.scaled_dot_product_attention

    def marked(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        listened.append(query)
        return real(query, key, value, *args, **kwargs)

    for sample in range(2):
        columns, rows = teacher.family.joint_places(text, sample)
        length = int(text.mask[sample].sum()) if text.mask is not None else text.embeddings.shape[1]
        z = torch.zeros(2, *teacher.latent_shape())
        maps = attention_maps(teacher, z, T, text, [0])
        moved_text = Text(text.embeddings.clone(), text.pooled, text.mask)
        moved_text.embeddings[sample, token] += 3 * torch.randn(text.embeddings.shape[-1])
        moved_z = z.clone()
        moved_z[sample, :, 2:4, 2:4] += 3  # tokens of 2 x 2 places, four a row: number 5
        assert rows.stop is None or rows.stop - rows.start == 16
        assert columns.stop - columns.start >= length
        by_text = (attention_maps(teacher, z, T, moved_text, [0])[0] - maps[0])[sample].abs().flatten(0, 1)
        by_place = (attention_maps(teacher, moved_z, T, text, [0])[0] - maps[0])[sample].abs().flatten(0, 1)
        # Every row is normalised, and refiners mix a little: what differs most is meant.
        assert int(by_text.sum(0).argmax()) == token
        assert int(by_place.sum(1).argmax()) == place
    assert layers


@pytest.mark.parametrize(
    "name", ["sdxl", "sd3", "flux_dev", "pixart_sigma", "sana", "lumina2", "aura_flow", "z_image", "qwen_image"]
)
def test_words_are_found_in_the_tokens_of_every_family(name: str, load: Callable[[str], Diffusion]) -> None:
    teacher, prompt = load(name), " A red apple on the left"
    tokens = teacher.family.tokens(prompt)

    def read(words: Any) -> str:
        spans = [tokens.spans[place] for place in word_tokens(teacher, prompt, words)]
        return " ".join(dict.fromkeys(prompt[a:b].strip() for a, b in (span for span in spans if span is not None))).lower()

    letters = read("content").replace(" ", "")
    if name == "sdxl":  # words are tokens; the others' tiny tokenizers spell
        assert read("content") == "red apple" and read("last") == "apple" and read("all") == prompt.strip().lower()
    assert set(letters) == set("redapple")
    assert set(read("last").replace(" ", "")) == set("apple")
    text = teacher.embed([prompt])
    ends = word_tokens(teacher, prompt, "end")
    assert 0 < max(word_tokens(teacher, prompt, "last")) < max(ends) < text.embeddings.shape[1]
    assert text.mask is None or text.mask[0, ends].all()
    assert word_tokens(teacher, "!", "content")


@pytest.mark.parametrize("name", ["flux_schnell", "sana"])
def test_both_baselines_take_a_transformer(name: str, load: Callable[[str], Diffusion], image: Tensor) -> None:
    samples = [Sample("disc", image, "a red apple", image[1] < 0.5), Sample("other", image, "a bear", None)]
    for baseline in (CrossAttention(load(name), timesteps=[400]), NoiseDifference(load(name), timesteps=[400], draws=1)):
        together = baseline.masks(samples)
        assert together[0].shape == image.shape[1:]
        assert float(together[0].max()) > 0.9 and float(together[0].min()) < 0.1
        torch.testing.assert_close(baseline.masks(samples[1:])[0], together[1], rtol=0, atol=2e-3)
