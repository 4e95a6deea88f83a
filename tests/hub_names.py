"""Stable Diffusion 1.4 as its checkpoint on the hub has it: key names and shapes, without the weights."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from stable_diffusion_14 import TEXT, UNET, VAE
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

#: The names that the checkpoint's autoencoder uses for its attention, from before diffusers 0.17.
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

#: A sample of the checkpoint's tensors, one of every kind.
UNET_KEYS: dict[str, tuple[int, ...]] = {
    "conv_in.weight": (320, 4, 3, 3),
    "time_embedding.linear_1.weight": (1280, 320),
    "time_embedding.linear_2.bias": (1280,),
    "down_blocks.0.resnets.0.time_emb_proj.weight": (320, 1280),
    "down_blocks.0.attentions.0.proj_in.weight": (320, 320, 1, 1),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": (320, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0.bias": (320,),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight": (2560, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.weight": (320, 1280),
    "down_blocks.0.attentions.1.transformer_blocks.0.norm3.weight": (320,),
    "down_blocks.0.downsamplers.0.conv.weight": (320, 320, 3, 3),
    "down_blocks.1.resnets.0.conv_shortcut.weight": (640, 320, 1, 1),
    "down_blocks.3.resnets.1.conv2.weight": (1280, 1280, 3, 3),
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight": (1280, 768),
    "mid_block.resnets.1.norm1.weight": (1280,),
    "up_blocks.0.resnets.2.conv1.weight": (1280, 2560, 3, 3),
    "up_blocks.0.upsamplers.0.conv.weight": (1280, 1280, 3, 3),
    "up_blocks.1.resnets.2.conv1.weight": (1280, 1920, 3, 3),
    "up_blocks.3.resnets.0.conv_shortcut.weight": (320, 960, 1, 1),
    "up_blocks.3.attentions.2.proj_out.weight": (320, 320, 1, 1),
    "conv_norm_out.weight": (320,),
    "conv_out.weight": (4, 320, 3, 3),
}
VAE_KEYS: dict[str, tuple[int, ...]] = {
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "encoder.down_blocks.0.downsamplers.0.conv.weight": (128, 128, 3, 3),
    "encoder.down_blocks.1.resnets.0.conv_shortcut.weight": (256, 128, 1, 1),
    "encoder.mid_block.attentions.0.group_norm.weight": (512,),
    "encoder.mid_block.attentions.0.query.weight": (512, 512),
    "encoder.mid_block.attentions.0.key.bias": (512,),
    "encoder.mid_block.attentions.0.value.weight": (512, 512),
    "encoder.mid_block.attentions.0.proj_attn.weight": (512, 512),
    "encoder.conv_norm_out.weight": (512,),
    "encoder.conv_out.weight": (8, 512, 3, 3),
    "quant_conv.weight": (8, 8, 1, 1),
    "post_quant_conv.weight": (4, 4, 1, 1),
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "decoder.mid_block.attentions.0.query.weight": (512, 512),
    "decoder.up_blocks.0.upsamplers.0.conv.weight": (512, 512, 3, 3),
    "decoder.up_blocks.2.resnets.0.conv_shortcut.weight": (256, 512, 1, 1),
    "decoder.up_blocks.3.resnets.2.conv2.weight": (128, 128, 3, 3),
    "decoder.conv_out.weight": (3, 128, 3, 3),
}
TEXT_KEYS: dict[str, tuple[int, ...]] = {
    "text_model.embeddings.token_embedding.weight": (49408, 768),
    "text_model.embeddings.position_embedding.weight": (77, 768),
    "text_model.encoder.layers.0.layer_norm1.weight": (768,),
    "text_model.encoder.layers.0.self_attn.q_proj.weight": (768, 768),
    "text_model.encoder.layers.11.self_attn.out_proj.bias": (768,),
    "text_model.encoder.layers.11.mlp.fc1.weight": (3072, 768),
    "text_model.encoder.layers.11.mlp.fc2.weight": (768, 3072),
    "text_model.final_layer_norm.bias": (768,),
}


def hub_vae(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames an autoencoder's tensors to what the checkpoint calls them."""
    out = {}
    for key, value in state.items():
        if ".attentions." in key:
            for new, old in OLD_ATTENTION.items():
                key = key.replace(f".{new}.", f".{old}.")
        out[key] = value
    return out


def hub_text(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames a text encoder's tensors to what the checkpoint calls them."""
    return {key if key.startswith("text_model.") else f"text_model.{key}": value for key, value in state.items()}


def on_meta_device() -> dict[str, dict[str, Tensor]]:
    """Returns the three networks' tensors at their full size, without memory, under the hub's names."""
    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(**UNET).state_dict(),
            "vae": hub_vae(AutoencoderKL(**VAE).state_dict()),
            "text_encoder": hub_text(CLIPTextModel(CLIPTextConfig(**TEXT)).state_dict()),
        }
