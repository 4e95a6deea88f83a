"""One prediction of each family as its pipeline makes it, in float64, with the objects of diffusers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img import LatentConsistencyModelPipeline
from torch import Tensor, nn

SIDE = 16  # of the images


class Direct:
    """The pipeline's own text, latents and prediction of eps for one prompt."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        absent = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd3_without_t5" else {}
        self.pipe: Any = DiffusionPipeline.from_pretrained(folder, **absent)
        for network in self.pipe.components.values():
            if isinstance(network, nn.Module):
                network.double().eval()
        self.denoiser = self.pipe.unet if hasattr(self.pipe, "unet") else self.pipe.transformer

    def signal_noise(self, t: int) -> tuple[float, float]:
        """From the scheduler's own tables."""
        scheduler = self.pipe.scheduler
        if self.name in ("sdxl", "lcm", "pixart_alpha", "pixart_sigma"):
            alpha_bar = float(scheduler.alphas_cumprod[t])
            return alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        if self.name == "sana":
            u = (t + 1) / 1000
            s = 3 * u / (1 + 2 * u)
        elif scheduler.config.use_dynamic_shifting:
            from diffusers.pipelines.flux.pipeline_flux import calculate_shift

            config, tokens = scheduler.config, 16
            mu = calculate_shift(tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift)
            s = float(scheduler.time_shift(mu, 1.0, torch.tensor((t + 1) / 1000, dtype=torch.float64)))
        else:
            s = float(scheduler.sigmas.flip(0)[t])
        return 1 - s, s

    @torch.no_grad()
    def latent(self, image: Tensor, noise: Tensor) -> Tensor:
        """What image-to-image pipelines make of (1, 3, H, W) in [0, 1]."""
        vae, pixels = self.pipe.vae, 2 * image.double() - 1
        if self.name == "sana":
            return vae.encode(pixels).latent * vae.config.scaling_factor
        if self.name == "qwen_image":
            posterior = vae.encode(pixels[:, :, None]).latent_dist
            z = (posterior.mean + posterior.std * noise.double()[:, :, None])[:, :, 0]
            mean, std = (torch.tensor(x).double()[:, None, None] for x in (vae.config.latents_mean, vae.config.latents_std))
            return (z - mean) / std
        posterior = vae.encode(pixels).latent_dist
        z = posterior.mean + posterior.std * noise.double()
        return (z - (vae.config.shift_factor or 0)) * vae.config.scaling_factor

    @torch.no_grad()
    def eps(self, z_t: Tensor, t: int, prompt: str) -> Tensor:
        """The noise that is predicted at z_t (1, C, h, w)."""
        a, s = self.signal_noise(t)
        kind = {"sd3_without_t5": "sd3", "sd35": "sd3", "flux_dev": "flux", "flux_schnell": "flux"}.get(self.name, self.name)
        kind = kind.removesuffix("_alpha").removesuffix("_sigma")
        output: Tensor = getattr(self, f"_{kind}")(z_t.double(), t, s, prompt)
        if kind in ("sdxl", "lcm", "pixart"):
            return output
        return z_t - a * output if kind in ("lumina2", "z_image") else z_t + a * output

    def _lcm(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        text = self.pipe.encode_prompt(prompt, "cpu", 1, False)[0]
        embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
        w = embed(self.pipe, torch.tensor([8.5 - 1]), 32).double()
        return self.denoiser(z, t, timestep_cond=w, encoder_hidden_states=text).sample

    def _sdxl(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        text, uncond, pooled, no_pooled = self.pipe.encode_prompt(prompt or "x", device="cpu")
        if not prompt:
            text, pooled = uncond, no_pooled
        ids = torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]]).double()
        return self.denoiser(z, t, encoder_hidden_states=text, added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample

    def _sd3(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        text, _, pooled, _ = self.pipe.encode_prompt(prompt, prompt, prompt, device="cpu")
        time = torch.tensor([1000 * s], dtype=torch.float64)
        return self.denoiser(z, encoder_hidden_states=text, pooled_projections=pooled, timestep=time).sample

    def _flux(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        dev = self.denoiser.config.guidance_embeds
        text, pooled, text_ids = self.pipe.encode_prompt(prompt, prompt, max_sequence_length=512 if dev else 256)
        n, c, h, w = z.shape
        packed = self.denoiser(
            self.pipe._pack_latents(z, n, c, h, w),
            encoder_hidden_states=text,
            pooled_projections=pooled,
            timestep=torch.tensor([s], dtype=torch.float64),
            img_ids=self.pipe._prepare_latent_image_ids(n, h // 2, w // 2, "cpu", torch.float64),
            txt_ids=text_ids,
            guidance=torch.tensor([3.5]) if dev else None,
        ).sample
        return self.pipe._unpack_latents(packed, 2 * h, 2 * w, 2)

    def _sana(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        import inspect

        chi = inspect.signature(type(self.pipe).__call__).parameters["complex_human_instruction"].default
        text, mask, uncond, no_mask = self.pipe.encode_prompt(prompt or "x", complex_human_instruction=chi)
        if not prompt:
            text, mask = uncond, no_mask
        time = torch.tensor([1000 * s], dtype=torch.float64)
        return self.denoiser(z, text, time, encoder_attention_mask=mask).sample

    def _pixart(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        length = 300 if "Sigma" in type(self.pipe).__name__ else 120
        text, mask, _, _ = self.pipe.encode_prompt(prompt, max_sequence_length=length)
        extra: dict[str, Any] = {"resolution": None, "aspect_ratio": None}
        if self.denoiser.use_additional_conditions:
            size = torch.tensor([[SIDE, SIDE]]).double()
            extra = {"resolution": size, "aspect_ratio": torch.ones(1, 1).double()}
        options = {"encoder_hidden_states": text, "encoder_attention_mask": mask, "added_cond_kwargs": extra}
        return self.denoiser(z, timestep=torch.tensor([t]), **options).sample.chunk(2, 1)[0]

    def _lumina2(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        text, mask, uncond, no_mask = self.pipe.encode_prompt(prompt or "x")
        if not prompt:
            text, mask = uncond, no_mask
        return self.denoiser(z, torch.tensor([1 - s], dtype=torch.float64), text, mask).sample

    def _aura_flow(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        text = self.pipe.encode_prompt(prompt)[0]
        return self.denoiser(z, text, torch.tensor([s], dtype=torch.float64)).sample

    def _z_image(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        texts, _ = self.pipe.encode_prompt([prompt], do_classifier_free_guidance=False)
        (found,) = self.denoiser([z[0][:, None]], torch.tensor([1 - s], dtype=torch.float64), texts).sample
        return found[None, :, 0]

    def _qwen_image(self, z: Tensor, t: int, s: float, prompt: str) -> Tensor:
        text, mask = self.pipe.encode_prompt([prompt])
        n, c, h, w = z.shape
        packed = self.denoiser(
            self.pipe._pack_latents(z, n, c, h, w),
            encoder_hidden_states=text,
            encoder_hidden_states_mask=mask,
            timestep=torch.tensor([s], dtype=torch.float64),
            img_shapes=[[(1, h // 2, w // 2)]],
        ).sample
        return self.pipe._unpack_latents(packed, 2 * h, 2 * w, 2)[:, :, 0]
