"""Stable Diffusion 1.4's exact configuration, and a pipeline folder of it with random weights.

Speed does not depend on the values. `python benchmarks/stable_diffusion_14.py FOLDER` writes 2 GB, in float16.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 512,
}
TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}


def save_random(folder: Path, networks: dict[str, dict[str, Any]] | None = None) -> Path:
    """Writes a StableDiffusionPipeline folder with random weights, in float16.

    Args:
        folder: that is written.
        networks: configurations other than Stable Diffusion 1.4's, under ``unet``, ``vae`` and ``text_encoder``.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from peekaboo.pretraining.tokenizer import build_tokenizer

    sizes = {"unet": UNET, "vae": VAE, "text_encoder": TEXT, **(networks or {})}
    torch.manual_seed(0)
    build_tokenizer(folder / "tokenizer")
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(**sizes["vae"]),
        text_encoder=CLIPTextModel(CLIPTextConfig(**sizes["text_encoder"])),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", model_max_length=77),
        unet=UNet2DConditionModel(**sizes["unet"]),
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(save_random(parser.parse_args().folder))
