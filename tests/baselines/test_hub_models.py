"""GroupViT and CLIPSeg with small random weights in the hub's layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from peekaboo.baselines.clipseg import CLIPSeg
from peekaboo.baselines.groupvit import GroupViT
from peekaboo.data.base import Failure, Sample
from peekaboo.functional.framing import frame, unframe

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
}


def save_tokenizer(folder: Path) -> dict[str, int]:
    from transformers import CLIPImageProcessor, CLIPTokenizer

    from peekaboo.pretraining.tokenizer import build_tokenizer

    build_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]).save_pretrained(folder)
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


@pytest.fixture(scope="module")
def clipseg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    folder = tmp_path_factory.mktemp("clipseg")
    torch.manual_seed(0)
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = CLIPSegConfig(
        text_config={**TEXT, **save_tokenizer(folder)},
        vision_config=vision,
        projection_dim=16,
        extract_layers=[0, 1, 2],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def groupvit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import GroupViTConfig, GroupViTModel

    folder = tmp_path_factory.mktemp("groupvit")
    torch.manual_seed(0)
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "depths": [1, 1, 1],
        "num_hidden_layers": 3,
        "num_group_tokens": [8, 4, 0],
        "num_output_groups": [8, 4, 0],
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "assign_mlp_ratio": [0.5, 4],
    }
    text = {**TEXT, **save_tokenizer(folder)}
    GroupViTModel(
        GroupViTConfig(text_config=text, vision_config=vision, projection_dim=16, projection_intermediate_dim=32)
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def samples(image: Tensor) -> list[Sample]:
    return [Sample("disc", image, "a red apple"), Sample("turned", image.transpose(1, 2).contiguous(), "the bear on the left")]


def test_clipseg_gives_the_models_own_probabilities(samples: list[Sample], clipseg_folder: Path) -> None:
    baseline = CLIPSeg(str(clipseg_folder), resolution=32).eval()
    together = baseline.masks(samples)
    for sample, alpha in zip(samples, together, strict=True):
        assert alpha.shape == sample.image.shape[-2:]
        assert torch.allclose(baseline.masks([sample])[0], alpha, atol=1e-5)  # alone: no padding, and no batch dimension
        model = baseline.network.model
        mean, std = (torch.tensor(values)[:, None, None] for values in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]))
        pixels = (frame(sample.image, 32) - mean) / std
        tokens = baseline.network.tokenizer(sample.prompt, return_tensors="pt")
        with torch.no_grad():
            logits = model(pixel_values=pixels[None], input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).logits
        size = (sample.image.shape[1], sample.image.shape[2])
        assert torch.allclose(alpha, unframe(logits.view(32, 32).sigmoid(), size), atol=1e-5)


@pytest.mark.parametrize("against", [None, ["a field", "the sky"]])
def test_groupvit_scores_every_sample_with_its_own_prompt(
    samples: list[Sample], groupvit_folder: Path, against: list[str] | None
) -> None:
    baseline = GroupViT(str(groupvit_folder), against=against)
    found = baseline.predict_step(list(samples), 0)
    for sample, item in zip(samples, found, strict=True):
        assert not isinstance(item, Failure)
        alpha = item[1].alpha
        assert alpha.shape == sample.image.shape[-2:]
        assert alpha.min() >= 0
        assert alpha.max() <= 1
        alone = baseline.predict_step([sample], 0)[0]
        assert not isinstance(alone, Failure)
        assert torch.allclose(alone[1].alpha, alpha, atol=5e-3)  # untrained groups are nearly alike, and scaled to [0, 1]


def test_they_are_frozen_and_not_embedded(clipseg_folder: Path) -> None:
    network = CLIPSeg(str(clipseg_folder), resolution=32).train().network
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    with pytest.raises(ValueError, match="no clipseg is embedded"):
        CLIPSeg("embedded")
    with pytest.raises(FileNotFoundError, match="clipseg: expected"):
        CLIPSeg("./nowhere")
