"""The teachers' configurations as they are on the hub, without weights: to count, and to run with random ones.

Each has the denoiser, the scheduler, the autoencoder and the text encoders, and what the hub says of the number of parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from stable_diffusion_14 import TEXT, UNET, VAE
from torch import nn

from peekaboo.teachers.families import Choices, Family, family_of
from peekaboo.teachers.loading import ModelFolder

Config = dict[str, Any]

VAE_16: Config = {**VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False, "sample_size": 1024}
VAE_DC: Config = {
    "latent_channels": 32,
    "encoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    "decoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    "encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "decoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "encoder_layers_per_block": [2, 2, 2, 3, 3, 3],
    "decoder_layers_per_block": [3, 3, 3, 3, 3, 3],
    "encoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "downsample_block_type": "conv",
    "upsample_block_type": "interpolate",
    "scaling_factor": 0.41407,
}
BIG_G: Config = {
    **TEXT,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}
OPEN_CLIP_H: Config = {
    **TEXT,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
}
CLIP_L: Config = {**TEXT, "projection_dim": 768}
T5_XXL: Config = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
}
PILE_T5_XL: Config = {**T5_XXL, "d_model": 2048, "d_ff": 5120, "num_heads": 32}
GEMMA_2B: Config = {"vocab_size": 256000}
QWEN3_4B: Config = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
SCALED: Config = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
LINEAR: Config = {"_class_name": "DPMSolverMultistepScheduler", "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
SDXL: Config = {
    **UNET,
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}
SD3: Config = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}
LARGE = {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "qk_norm": "rms_norm"}
MEDIUM = {"qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13)), "pos_embed_max_size": 384}
LUMINA2: Config = {
    "sample_size": 128,
    "hidden_size": 2304,
    "num_layers": 26,
    "num_refiner_layers": 2,
    "num_attention_heads": 24,
    "num_kv_heads": 8,
    "multiple_of": 256,
    "axes_dim_rope": (32, 32, 32),
    "axes_lens": (300, 512, 512),
    "cap_feat_dim": 2304,
}
SANA_600M: Config = {
    "num_attention_heads": 36,
    "num_layers": 28,
    "num_cross_attention_heads": 16,
    "cross_attention_head_dim": 72,
    "cross_attention_dim": 1152,
}


def flow(shift: float | None = None, **rest: Any) -> Config:
    """A FlowMatch scheduler of a static shift, or a dynamic one."""
    own = {"use_dynamic_shifting": True, "base_shift": 0.5} if shift is None else {"shift": shift}
    return {"_class_name": "FlowMatchEulerDiscreteScheduler", **own, **rest}


SANA_FLOW: Config = {
    "_class_name": "DPMSolverMultistepScheduler",
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
}
QWEN25_VL_7B: Config = {
    "text_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "rope_parameters": {"mrope_section": [16, 24, 24], "rope_type": "default", "rope_theta": 1e6},
    },
    "vision_config": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584},
    "tie_word_embeddings": False,
}
KL4, KL16 = ("AutoencoderKL", VAE), ("AutoencoderKL", VAE_16)
TWO_CLIPS: list[Config] = [CLIP_L, BIG_G]

#: name: pipeline, denoiser, scheduler, autoencoder, text encoders, millions of parameters of the denoiser.
TEACHERS: dict[str, tuple[str, Config, Config, tuple[str, Config], list[Config], float]] = {
    "sd14": ("StableDiffusionPipeline", UNET, SCALED, KL4, [TEXT], 859.5),
    "sd21": (
        "StableDiffusionPipeline",
        {**UNET, "sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20)}
        | {"use_linear_projection": True},
        SCALED,
        KL4,
        [OPEN_CLIP_H],
        865.9,
    ),
    "sdxl": ("StableDiffusionXLPipeline", SDXL, SCALED, KL4, TWO_CLIPS, 2567.5),
    "sd3": ("StableDiffusion3Pipeline", SD3, flow(3.0), KL16, [*TWO_CLIPS, T5_XXL], 2028),
    "sd35_medium": ("StableDiffusion3Pipeline", {**SD3, **MEDIUM}, flow(3.0), KL16, [*TWO_CLIPS, T5_XXL], 2243),
    "sd35_large": ("StableDiffusion3Pipeline", {**SD3, **LARGE}, flow(3.0), KL16, [*TWO_CLIPS, T5_XXL], 8057),
    "flux_dev": ("FluxPipeline", {"guidance_embeds": True}, flow(max_shift=1.15), KL16, [CLIP_L, T5_XXL], 11901),
    "flux_schnell": ("FluxPipeline", {}, flow(1.0), KL16, [CLIP_L, T5_XXL], 11891),
    "sana": ("SanaPipeline", {}, SANA_FLOW, ("AutoencoderDC", VAE_DC), [GEMMA_2B], 1604),
    "sana_600m": ("SanaPipeline", SANA_600M, SANA_FLOW, ("AutoencoderDC", VAE_DC), [GEMMA_2B], 592),
    "pixart_sigma": (
        "PixArtSigmaPipeline",
        {"sample_size": 128, "use_additional_conditions": False, "caption_channels": 4096},
        LINEAR,
        KL4,
        [T5_XXL],
        611,
    ),
    "lumina2": ("Lumina2Pipeline", LUMINA2, flow(6.0), KL16, [GEMMA_2B], 2610),
    "aura_flow": ("AuraFlowPipeline", {"pos_embed_max_size": 4096, "sample_size": 128}, flow(1.73), KL4, [PILE_T5_XL], 6842.9),
    "z_image": ("ZImagePipeline", {}, flow(6.0), KL16, [QWEN3_4B], 6155),
    "qwen_image": (
        "QwenImagePipeline",
        {},
        flow(max_shift=0.9, max_image_seq_len=8192),
        ("AutoencoderKLQwenImage", {}),
        [QWEN25_VL_7B],
        20430,
    ),
}


class RandomFolder(ModelFolder):
    """A pipeline of the true configuration that is in no folder: its networks are built where they are asked for.

    Args:
        name: of :data:`TEACHERS`.
        device: ``meta`` for shapes alone; weights are random elsewhere.
        dtype: of denoiser and autoencoder.
    """

    def __init__(self, name: str, device: str = "meta", dtype: torch.dtype = torch.bfloat16) -> None:
        pipeline, denoiser, scheduler, (vae, vae_config), texts, _ = TEACHERS[name]
        self.source, self.name, self.variant = name, name, None
        self.index = {"_class_name": pipeline, "text_encoder_3": ["transformers", "T5EncoderModel"]}
        self.kind = family_of(pipeline, name)
        self._device, self._dtype, self._schedule = device, dtype, scheduler
        self._configs = {
            self.kind.part: {"_class_name": self.kind.network, **denoiser},
            "vae": {"_class_name": vae, **vae_config},
        }
        self._configs |= {part.part: text for part, text in zip(self.kind.text_parts, texts, strict=True)}
        self._encoders = {part.part: part.kind for part in self.kind.text_parts}

    def fetch(self, parts: list[str]) -> None:
        pass

    def config(self, part: str) -> Config:
        return self._configs[part]

    def scheduler(self) -> Config:
        return self._schedule

    def dtype(self, part: str) -> torch.dtype:
        return torch.bfloat16

    def network(self, kind: str, part: str, dtype: torch.dtype | None = None) -> nn.Module:
        import diffusers
        import transformers

        config = {key: value for key, value in self._configs[part].items() if key != "_class_name"}
        with torch.device("meta"):
            if part in self._encoders:  # never run
                cls = getattr(transformers, kind)
                return cls(cls.config_class(**config)).to(torch.bfloat16)
            network = getattr(diffusers, kind)(**config)
        network = nn.Module.to(network, self._dtype).requires_grad_(False).eval()
        if self._device != "meta":
            network = network.to_empty(device=self._device)
            with torch.no_grad():
                for tensor in [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]:
                    tensor.normal_(std=0.02)
        return network

    def tokenizer(self, kind: str, part: str, vocabulary: int) -> Any:
        return type("NoTokenizer", (), {})()


def build(name: str, resolution: int | None = None, device: str = "meta", dtype: torch.dtype = torch.bfloat16) -> Family:
    """Builds a teacher's networks at their true size, with its real adapter."""
    folder = RandomFolder(name, device, dtype)
    family = folder.kind(folder, Choices(resolution=resolution))
    return family.to(device)
