"""The networks: the published sizes, where features come in, and what they change."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from peekaboo.functional.diffusion import add_noise
from peekaboo.ldznet.features import FeatureReader
from peekaboo.ldznet.fusion import AttentionPool
from peekaboo.ldznet.network import Head, SegmentationNetwork
from peekaboo.ldznet.places import chosen_places, places_of, published_places
from peekaboo.teachers import Diffusion

SD14: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}
TINY: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "cross_attention_dim": 16,
}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def features_of(network: SegmentationNetwork, n: int = 2) -> list[Tensor]:
    return [torch.randn(n, place.channels, 8 // place.stride, 8 // place.stride) for place in network.places]


def test_ldznet_at_the_published_size() -> None:
    """925 M trainable parameters, and blocks 6 to 10."""
    with torch.device("meta"):
        plain = SegmentationNetwork(SD14, 48, 8)
        whole = SegmentationNetwork(SD14, 48, 8, fusion="attention")
        unet = UNet2DConditionModel.from_config(SD14)
    assert parameters(unet) == 859_520_964
    assert parameters(plain) == 859_520_964 - 8_643 + 55
    assert parameters(whole) == 925_882_936
    assert parameters(whole.fusions) == 66_370_560
    assert [place.number for place in whole.places] == [6, 7, 8, 9, 10]
    assert len(whole.fusions) == 5
    assert len(places_of(unet)) == 16
    assert [place.channels for place in whole.places] == [1280] * 5
    assert [48 // place.stride for place in whole.places] == [12, 6, 12, 12, 12]


def test_places_go_by_position() -> None:
    teacher = Diffusion()
    places = places_of(teacher.denoiser)
    assert [(place.channels, place.stride) for place in places] == [
        (64, 1), (128, 2), (192, 4), (128, 2), (128, 2), (64, 1), (64, 1),
    ]  # fmt: skip
    assert [place.number for place in published_places(places)] == [2, 3, 4, 5]
    assert [place.number for place in chosen_places(places, [7, 1])] == [1, 7]
    for wrong in ([], [8], [0], [2, 2]):
        with pytest.raises(ValueError, match=r"blocks: expected different ones of the blocks 1\.\.7"):
            chosen_places(places, wrong)


def test_the_head_as_published() -> None:
    head = Head(1, 3)
    kinds = "SiLU Conv2d" + " SiLU ConvTranspose2d SiLU Conv2d" * 3
    assert [type(layer).__name__ for layer in head] == kinds.split()
    assert parameters(head) == 55
    assert head(torch.randn(2, 1, 6, 9)).shape == (2, 1, 48, 72)


@pytest.mark.parametrize("kind", ["attention", "concatenation"])
def test_features_count_unless_what_brings_them_in_is_zero(kind: Any) -> None:
    network = SegmentationNetwork(TINY, 8, 2, head_width=4, fusion=kind, zero_start=True).eval()
    plain = SegmentationNetwork(TINY, 8, 2, head_width=4).eval()
    shared = plain.state_dict().keys() & network.state_dict().keys()
    assert shared == plain.state_dict().keys()
    plain.load_state_dict({name: network.state_dict()[name] for name in shared})
    x, text = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 16)
    features, others = features_of(network), features_of(network)
    with torch.no_grad():
        assert torch.equal(network(x, text, None, features), plain(x, text))
        assert torch.equal(network(x, text, None, features), network(x, text, None, others))
    random = SegmentationNetwork(TINY, 8, 2, head_width=4, fusion=kind).eval()
    with torch.no_grad():
        difference = (random(x, text, None, features) - random(x, text, None, others)).abs().max()
    assert difference > 1e-5
    assert random(x, text, None, features).shape == (2, 1, 16, 16)


def test_the_third_attention_stands_between_text_and_feed_forward() -> None:
    """The hooks give what a block with three attentions would give, written out."""
    network = SegmentationNetwork(TINY, 8, 2, fusion="attention").eval()
    fusion = network.fusions[0]
    block = network.unet.get_submodule(network.places[0].name).transformer_blocks[0]
    hidden, text, features = torch.randn(2, 64, 8), torch.randn(2, 5, 16), torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        fusion.condition(features)
        found = block(hidden, encoder_hidden_states=text)
        tokens = fusion.pool(features)
        reader = fusion.readers[0]
        h = hidden + block.attn1(block.norm1(hidden))
        h = h + block.attn2(block.norm2(h), encoder_hidden_states=text)
        h = h + reader.attention(reader.norm(h), encoder_hidden_states=tokens)
        parts = {name: layer.weight for name, layer in (("norm", block.norm3),)}
        normed = F.layer_norm(h, h.shape[-1:], parts["norm"], block.norm3.bias)
        feed_forward = block.ff.net[2](block.ff.net[1](block.ff.net[0](normed)))
        expected = h + feed_forward
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, hidden, atol=1e-2)


def test_the_attention_pool_against_pytorchs_own_attention() -> None:
    pool = AttentionPool(8, 3, heads=2)
    features = torch.randn(2, 8, 3, 3)
    tokens = features.flatten(2)
    tokens = torch.cat([tokens.mean(2, keepdim=True), tokens], 2) + pool.positions
    other = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        other.in_proj_weight.copy_(pool.qkv.weight[..., 0])
        other.in_proj_bias.copy_(pool.qkv.bias)
        other.out_proj.weight.copy_(pool.out.weight[..., 0])
        other.out_proj.bias.copy_(pool.out.bias)
        found = pool(features)
        sequence = tokens.transpose(1, 2)
        assert torch.allclose(found, other(sequence, sequence, sequence)[0], atol=1e-6)
    assert found.shape == (2, 10, 8)  # all tokens are kept
    assert pool(torch.randn(1, 8, 4, 6)).shape == (1, 25, 8)
    assert torch.equal(pool.positions_for(4, 6)[:, 0], pool.positions[:, 0])  # that of the mean is not resized


def test_checkpointed_blocks_have_the_same_gradients() -> None:
    x, text = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 16)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(3)
        network = SegmentationNetwork(TINY, 8, 2, fusion="attention").train()
        features = [torch.ones(1, place.channels, 8 // place.stride, 8 // place.stride) for place in network.places]
        if checkpointing:
            network.unet.enable_gradient_checkpointing()
        network(x, text, None, features).sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None and torch.allclose(one, other, atol=1e-6)


def test_a_copy_reads_its_own_features() -> None:
    """As the average of the weights is one."""
    network = SegmentationNetwork(TINY, 8, 2, head_width=2, fusion="attention").eval()
    twin = copy.deepcopy(network)
    x, text, features = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 16), features_of(network)
    with torch.no_grad():
        before = network(x, text, None, features)
        assert torch.equal(twin(x, text, None, features), before)
        for parameter in twin.fusions.parameters():
            parameter.add_(0.5)
        assert not torch.equal(twin(x, text, None, features), before)
        assert torch.equal(network(x, text, None, features), before)


def test_it_starts_from_the_teachers_weights(pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline))
    network = SegmentationNetwork(dict(teacher.denoiser.config), 8, 2, head_width=6, fusion="attention")
    assert network.start_from(teacher.denoiser) == []
    own, theirs = network.unet.state_dict(), teacher.denoiser.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in theirs if not name.startswith("conv_out"))
    assert torch.equal(own["conv_out.weight"][:4], theirs["conv_out.weight"])
    one = SegmentationNetwork(dict(teacher.denoiser.config), 8, 2)
    one.start_from(teacher.denoiser)
    assert torch.equal(one.unet.conv_out.weight, theirs["conv_out.weight"][:1])  # of four channels the first
    narrow = SegmentationNetwork(dict(teacher.denoiser.config), 8, 2, channels=[4, 8])
    assert len(narrow.start_from(teacher.denoiser)) > 10


def test_features_are_those_behind_the_spatial_transformers(pipeline: Path) -> None:
    teacher = Diffusion(str(pipeline))
    places = places_of(teacher.denoiser)
    z_t, t, text = torch.randn(2, 4, 8, 8), torch.tensor([300, 499]), teacher.embed(["a red apple", "the bear"])
    expected: dict[str, Tensor] = {}
    handles = [
        teacher.denoiser.get_submodule(place.name).register_forward_hook(
            lambda module, inputs, output, name=place.name: expected.__setitem__(name, output[0])
        )
        for place in places
    ]
    teacher.predict_noise(z_t, t, text)
    for handle in handles:
        handle.remove()
    for some in (places, places[:2], places[1:2]):
        found = FeatureReader(teacher, some)(z_t, t, text)
        assert len(found) == len(some)
        for place, one in zip(some, found, strict=True):
            assert torch.equal(one, expected[place.name])
            assert one.shape == (2, place.channels, 8 // place.stride, 8 // place.stride)
            assert not one.requires_grad
    assert not any(module._forward_hooks for module in teacher.denoiser.modules())  # they are gone
    noise = add_noise(z_t, z_t, *teacher.signal_noise(t))
    assert not torch.equal(FeatureReader(teacher, places)(noise, t, text)[0], expected[places[0].name])


def test_wrong_numbers_of_features_are_refused() -> None:
    network = SegmentationNetwork(TINY, 8, 2, fusion="attention")
    with pytest.raises(ValueError, match="features: expected those of 4 places, got 0"):
        network(torch.zeros(1, 4, 8, 8), torch.zeros(1, 5, 16))


def test_teachers_without_a_readable_unet_are_refused(tmp_path: Path) -> None:
    from tiny_pipelines import save

    with pytest.raises(ValueError, match=r"teacher: expected one around a U-Net"):
        FeatureReader(Diffusion(str(save("flux_schnell", tmp_path / "flux"))), [])


def test_features_are_read_in_a_compiled_teacher_too(pipeline: Path) -> None:
    z_t, t, found = torch.ones(1, 4, 8, 8), torch.tensor([400]), []
    for how in (False, True):
        teacher = Diffusion(str(pipeline), compile=how)
        found.append(FeatureReader(teacher, places_of(teacher.denoiser)[:2])(z_t, t, teacher.embed(["a bear"])))
    for plain, compiled in zip(*found, strict=True):
        assert torch.allclose(plain, compiled, atol=1e-6)


@pytest.mark.parametrize("name", ["sdxl", "lcm"])
def test_other_unets_are_sources_too(name: str, tmp_path: Path) -> None:
    from tiny_pipelines import save

    from peekaboo.functional.random import Draws
    from peekaboo.ldznet.conditions import Conditions

    teacher = Diffusion(str(save(name, tmp_path / name)))
    network = SegmentationNetwork(dict(teacher.denoiser.config), 8, 2, fusion="attention")
    network.start_from(teacher.denoiser)
    conditions = Conditions(teacher, True, [place.number for place in network.places])
    t = torch.tensor([400])
    inputs = conditions(torch.rand(1, 3, 16, 16), ["a bear"], Draws([0]), t)
    assert network(*inputs.arguments()).shape == (1, 1, 16, 16)
