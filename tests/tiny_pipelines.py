"""A tiny random pipeline of each family, saved by diffusers' own classes in the hub's layout."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn

from peekaboo.pretraining.tokenizer import build_tokenizer

LATENT = 8  # places a side
WIDTH = 24  # of the language models
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LETTERS = [*string.ascii_letters, *string.digits, *string.punctuation, "▁", "\n"]


def varied(network: nn.Module, spread: float = 0.05) -> nn.Module:
    """Gives values to what starts as zeros or undefined, so that every input counts."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.isfinite().all() or float(parameter.abs().max()) in (0.0, 1.0) or float(parameter.abs().max()) > 100:
                start = 1.0 if parameter.isfinite().all() and float(parameter.min()) == 1 else 0.0
                parameter.copy_(start + spread * torch.randn(parameter.shape, generator=generator))
    return network


def letters(kind: str, *special: str, **rest: Any) -> Any:
    """A tokenizer of single characters, of one of transformers' classes."""
    if kind == "T5Tokenizer":
        scored = [*((name, 0.0) for name in ("<pad>", "</s>", "<unk>")), *((letter, -3.0) for letter in LETTERS)]
        return transformers.T5Tokenizer(vocab=scored, extra_ids=0)
    alphabet = sorted(ByteLevel.alphabet()) if kind == "Qwen2Tokenizer" else LETTERS
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*special, *alphabet]))}
    return getattr(transformers, kind)(vocab=vocabulary, merges=[], **rest)


def clip(projected: bool = False, width: int = 16) -> tuple[Any, Any]:
    """A CLIP text encoder with its tokenizer, whose vocabulary is the embedded world's."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        build_tokenizer(Path(folder))
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config), tokenizer


def t5() -> tuple[Any, Any]:
    tokenizer = letters("T5Tokenizer")
    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": len(tokenizer)}
    return transformers.T5EncoderModel(transformers.T5Config(**sizes)), tokenizer


def gemma() -> tuple[Any, Any]:
    tokenizer = letters("GemmaTokenizer", "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", add_bos_token=True)
    config = transformers.Gemma2Config(
        hidden_size=WIDTH,
        intermediate_size=32,
        head_dim=8,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=2,
        vocab_size=len(tokenizer),
    )
    return transformers.Gemma2Model(config), tokenizer


def vae(channels: int = 4, **rest: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=2 * LATENT,
        latent_channels=channels,
        **{"scaling_factor": 0.6, **rest},
    )


def unet(**rest: Any) -> Any:
    sizes = {
        "sample_size": LATENT,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "cross_attention_dim": 16,
    }
    return diffusers.UNet2DConditionModel(**{**sizes, **rest})


SCALED: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHIFTED = {"shift_factor": 0.1}


def lcm() -> Any:
    encoder, tokenizer = clip()
    return diffusers.LatentConsistencyModelPipeline(
        vae=vae(),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet(time_cond_proj_dim=32),
        scheduler=diffusers.LCMScheduler(**SCALED),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    (first, tokenizer), (second, tokenizer_2) = clip(), clip(projected=True)
    conditions = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 16,
        "cross_attention_dim": 32,
    }
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(scaling_factor=0.13025),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet(**conditions),
        scheduler=diffusers.EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1, **SCALED),
    )


def sd3(with_t5: bool = True, **rest: Any) -> Any:
    (first, tokenizer), (second, tokenizer_2) = clip(projected=True), clip(projected=True)
    third, tokenizer_3 = t5() if with_t5 else (None, None)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=LATENT,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=40 if not with_t5 else WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
        **rest,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(**SHIFTED),
        text_encoder=first,
        tokenizer=tokenizer,
        text_encoder_2=second,
        tokenizer_2=tokenizer_2,
        text_encoder_3=third,
        tokenizer_3=tokenizer_3,
    )


def flux(dev: bool = True) -> Any:
    (first, tokenizer), (second, tokenizer_2) = clip(), t5()
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=16,
        guidance_embeds=dev,
        axes_dims_rope=(4, 4, 8),
    )
    shift = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15} if dev else {"shift": 1.0}
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**shift),
        vae=vae(**SHIFTED),
        text_encoder=first,
        tokenizer=tokenizer,
        text_encoder_2=second,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )


def sana() -> Any:
    encoder, tokenizer = gemma()
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=WIDTH,
        mlp_ratio=1.0,
        sample_size=LATENT,
        patch_size=1,
    )
    autoencoder = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        scaling_factor=0.41407,
    )
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    return diffusers.SanaPipeline(tokenizer, encoder, autoencoder, transformer, diffusers.DPMSolverMultistepScheduler(**flow))


def pixart(sigma: bool = True) -> Any:
    encoder, tokenizer = t5()
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=LATENT,
        patch_size=2,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=3,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=24,
        caption_channels=WIDTH,
        use_additional_conditions=not sigma,
    )
    kind = diffusers.PixArtSigmaPipeline if sigma else diffusers.PixArtAlphaPipeline
    scheduler = diffusers.DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    return kind(tokenizer, encoder, vae(), transformer, scheduler)


def lumina2() -> Any:
    encoder, tokenizer = gemma()
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=LATENT,
        patch_size=2,
        in_channels=4,
        hidden_size=24,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=2,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 64, 64),
        cap_feat_dim=WIDTH,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=6.0)
    return diffusers.Lumina2Pipeline(transformer, scheduler, vae(**SHIFTED), encoder, tokenizer)


def aura_flow() -> Any:
    tokenizer = letters("LlamaTokenizer", "<unk>", "<s>", "</s>", "<pad>", pad_token="<pad>")
    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": len(tokenizer)}
    encoder = transformers.UMT5EncoderModel(transformers.UMT5Config(**sizes))
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=LATENT,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73)
    return diffusers.AuraFlowPipeline(tokenizer, encoder, vae(), transformer, scheduler)


def qwen_tokenizer() -> Any:
    tokenizer = letters("Qwen2Tokenizer", "<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT
    return tokenizer


def z_image() -> Any:
    tokenizer = qwen_tokenizer()
    encoder = transformers.Qwen3Model(
        transformers.Qwen3Config(
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
            vocab_size=len(tokenizer),
        )
    )
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[8, 4, 4],
        axes_lens=[512, 32, 32],
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=6.0)
    return diffusers.ZImagePipeline(scheduler, vae(**SHIFTED), encoder, tokenizer, transformer)


def qwen_image() -> Any:
    tokenizer = qwen_tokenizer()
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer),
        "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
    }
    seen = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    encoder = transformers.Qwen2_5_VLForConditionalGeneration(transformers.Qwen2_5_VLConfig(text_config=text, vision_config=seen))
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    autoencoder = diffusers.AutoencoderKLQwenImage(
        base_dim=12,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[True],
        latents_mean=[0.1, -0.2, 0.0, 0.3],
        latents_std=[1.0, 0.7, 1.4, 0.9],
    )
    shift = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192}
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**shift)
    return diffusers.QwenImagePipeline(scheduler, autoencoder, encoder, tokenizer, transformer)


#: What makes each tiny pipeline.
TINY: dict[str, Callable[[], Any]] = {
    "lcm": lcm,
    "sdxl": sdxl,
    "sd3": sd3,
    "sd3_without_t5": lambda: sd3(with_t5=False),
    "sd35": lambda: sd3(qk_norm="rms_norm", dual_attention_layers=(0,)),
    "flux_dev": flux,
    "flux_schnell": lambda: flux(dev=False),
    "sana": sana,
    "pixart_alpha": lambda: pixart(sigma=False),
    "pixart_sigma": pixart,
    "lumina2": lumina2,
    "aura_flow": aura_flow,
    "z_image": z_image,
    "qwen_image": qwen_image,
}


def save(name: str, folder: Path) -> Path:
    """Writes one into a folder, the same each time."""
    torch.manual_seed(11)
    pipeline = TINY[name]()
    for network in pipeline.components.values():
        if isinstance(network, nn.Module):
            varied(network)
    pipeline.save_pretrained(folder)
    return folder
