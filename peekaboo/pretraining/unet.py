"""The embedded denoiser: a `UNet2DConditionModel` on the latents of the scenes, and the pipeline folder around it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from ..data.looks import vocabulary
from ..data.scenes import Scene, noun_phrase
from .base import Pretraining
from .data import HELD_OUT_LOOKS, contradicted, held_out_scenes, to_tensor
from .tokenizer import known_words

MAX_SHARD = "15MB"
TIMESTEPS = 1000


def stable_diffusion_schedule() -> DDIMScheduler:
    """Returns the noise schedule of Stable Diffusion 1.x: 1000 steps, scaled_linear, beta 0.00085 to 0.012."""
    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _new_unet(channels: list[int], text_width: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=tuple(channels),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        only_cross_attention=(True, False, False),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=16,
        cross_attention_dim=text_width,
    )


def _open_in_float32(config: Path) -> None:
    """Has transformers open a float16 file in float32, as diffusers opens the other parts of a pipeline by default.

    Left to itself it goes by the precision of the file, and a pipeline that is opened without arguments has two of them.
    """
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "dtype": "float32"}, indent=2, sort_keys=True) + "\n")


class UNetTraining(Pretraining):
    """Trains the denoiser to predict eps from z_t and a caption; the autoencoder and the text encoder are frozen.

    Args:
        parts: folder with ``vae``, ``text_encoder`` and ``tokenizer``, which a pipeline's folder has too.
        output: folder of the StableDiffusionPipeline.
        start: folder of a pipeline whose U-Net to go on from (`peekaboo/assets/teacher`, say); None to begin anew.
        channels: widths of the three levels.
        caption_dropout: share of empty captions, for classifier-free guidance.
        max_weight: the squared error is weighted by min(1 / alpha_bar, max_weight): the noisy timesteps decide what is there.
        focus: first timestep and the one behind the last of the range that six in ten draws come from; the others come from
            all of them.
        contrast: weight of what captions are told apart by: the noise of half of the scenes is predicted with a wrong caption,
            too, see :meth:`contrasted`. Costs half as much again. 0 for none.
        gap_every: steps between two measurements of the caption gap.
        compile: run the network through `torch.compile`: minutes to start, then 1.5 times as fast on two CPU cores.
        learning_rate, minutes, export_every: see :class:`Pretraining`.
    """

    alpha_bar: Tensor

    def __init__(
        self,
        parts: str,
        output: str,
        start: str | None = None,
        channels: list[int] = [64, 128, 192],  # noqa: B006
        caption_dropout: float = 0.1,
        max_weight: float = 20.0,
        focus: tuple[int, int] = (300, 950),
        contrast: float = 0.0,
        gap_every: int = 500,
        compile: bool = False,
        learning_rate: float = 1e-3,
        minutes: float | None = None,
        export_every: int = 500,
    ) -> None:
        if not 0 <= focus[0] < focus[1] <= TIMESTEPS:
            raise ValueError(f"focus: expected two timesteps, 0 <= first < last <= {TIMESTEPS}, got {list(focus)}")
        folder = Path(parts)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()
        network = _new_unet(channels, text_encoder.config.hidden_size)
        if start is not None:
            network = UNet2DConditionModel.from_pretrained(start, subfolder="unet", dtype=torch.float32, low_cpu_mem_usage=False)
        network.set_attn_processor(AttnProcessor())  # the fused kernel's backward is slow on a CPU
        network.to(memory_format=torch.channels_last)
        super().__init__(network, output, learning_rate=learning_rate, minutes=minutes, export_every=export_every)
        self._forward = [torch.compile(network) if compile else network]  # in a list: it is not a second module
        self.parts, self.caption_dropout, self.max_weight, self.gap_every = folder, caption_dropout, max_weight, gap_every
        self.focus, self.contrast = focus, contrast
        self.frozen = {"tokenizer": tokenizer, "text_encoder": text_encoder.requires_grad_(False)}  # not in the state
        self.register_buffer("alpha_bar", stable_diffusion_schedule().alphas_cumprod, persistent=False)
        self._embedded: dict[str, Tensor] = {}
        self._latents: dict[str, Tensor] = {}

    def embed(self, captions: list[str]) -> Tensor:
        """Returns the (N, L, D) text embeddings, each caption encoded once."""
        tokenizer = self.frozen["tokenizer"]
        new = sorted(set(captions) - set(self._embedded))
        if new:
            encoder = self.frozen["text_encoder"].to(self.device)
            options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                states = encoder(tokenizer(new, **options).input_ids.to(self.device)).last_hidden_state
            self._embedded.update(zip(new, states, strict=True))
        return torch.stack([self._embedded[caption] for caption in captions])

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        z = batch["mean"] + batch["deviation"] * torch.randn_like(batch["mean"])
        n = len(z)
        t, eps = self.timesteps(n), torch.randn_like(z)
        captions = [c if keep else "" for c, keep in zip(batch["caption"], torch.rand(n) >= self.caption_dropout, strict=True)]
        wrong = self._wrong(captions) if self.contrast else {}
        also = list(wrong)  # these are predicted a second time, in the same batch
        rows = [*range(n), *also]
        error = self._error(self._forward[0], z[rows], t[rows], eps[rows], [*captions, *wrong.values()])
        weight = (1 / self.alpha_bar[t]).clamp(max=self.max_weight)
        loss = (weight * error[:n]).sum() / weight.sum()
        if wrong:
            noise = 1 - self.alpha_bar[t[also]]
            told_apart = self.contrasted(error[also], error[n:])
            loss = loss + self.contrast * (weight[also] * noise * told_apart).sum() / weight[also].sum()
        self.log("loss", loss, prog_bar=True)
        return loss

    def _wrong(self, captions: list[str]) -> dict[int, str]:
        """A contradicted caption for up to half of them, by their place."""
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        asked = [i for i, caption in enumerate(captions) if caption][: len(captions) // 2]
        wrong = {i: contradicted(captions[i], rng) for i in asked}
        return {i: caption for i, caption in wrong.items() if caption != captions[i]}

    @staticmethod
    def contrasted(right: Tensor, wrong: Tensor, sharpness: float = 8.0) -> Tensor:
        """Returns how badly two captions are told apart by the errors of the noise that each predicts.

        The logistic loss of the errors' relative difference, as in a classifier made of a diffusion model (Li et al., "Your
        Diffusion Model is Secretly a Zero-Shot Classifier", 2023), in units of the error. Both errors have the same z_t and eps,
        so that what the noise adds to them cancels: of the plain loss's gradient little is about the caption.

        Args:
            right, wrong: (N,) mean squared errors with the right and with a wrong caption.
            sharpness: a wrong caption that is worse by much more than 1 / sharpness is told apart well enough.

        Returns:
            (N,) non-negative; its gradient sees the errors' mean as a constant.
        """
        scale = right.detach()
        return scale * torch.nn.functional.softplus(sharpness * (right - wrong) / scale) / sharpness

    def timesteps(self, n: int) -> Tensor:
        """Draws n timesteps, six in ten of them from ``focus``: (n,) int64."""
        focused, anywhere = (torch.randint(*span, (n,), device=self.device) for span in (self.focus, (0, TIMESTEPS)))
        return torch.where(torch.rand(n, device=self.device) < 0.6, focused, anywhere)

    def _error(self, network: Any, z: Tensor, t: Tensor, eps: Tensor, captions: list[str]) -> Tensor:
        alpha_bar = self.alpha_bar[t][:, None, None, None]
        z_t = (alpha_bar.sqrt() * z + (1 - alpha_bar).sqrt() * eps).contiguous(memory_format=torch.channels_last)
        prediction = network(z_t, t, encoder_hidden_states=self.embed(captions)).sample
        return ((prediction.float() - eps) ** 2).mean((1, 2, 3))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        if self.global_step % self.gap_every == 0:
            gaps = self.caption_gap()
            self.log_dict(gaps)
            print(f"step {self.global_step}:", ", ".join(f"{key} {float(gap):.3f}" for key, gap in gaps.items()), flush=True)
            self.show("samples", self.sample(["a rocket", "a leopard", "a banana", "a castle", "an owl", "a bus"]))

    @torch.no_grad()
    def caption_gap(self, count: int = 64) -> dict[str, Tensor]:
        """Measures, on held-out single objects, how much worse the noise is predicted with a wrong caption.

        Args:
            count: scenes of each of ``HELD_OUT_LOOKS``.

        Returns:
            For each of ``HELD_OUT_LOOKS`` (the last of which no training sees):
            ``gap_LOOKS``: error with a random other name over error with the right one, minus 1; t in 300..850, same noise.
            ``gap_empty_LOOKS``: the same with the empty caption.
        """
        network = self.average.module.eval()
        gaps = {}
        for tag in HELD_OUT_LOOKS:
            scenes = held_out_scenes(tag, count)
            z = self._encoded(tag, scenes)
            generator = torch.Generator().manual_seed(0)
            eps = torch.randn(z.shape, generator=generator).to(self.device)
            t = torch.randint(300, 850, (count,), generator=generator).to(self.device)
            names = list(vocabulary())
            draw = np.random.default_rng(0).integers(1, len(names), count)
            wrong = [names[(names.index(s.names[0]) + k) % len(names)] for s, k in zip(scenes, draw, strict=True)]
            captions = {"gap": [noun_phrase(w) for w in wrong], "gap_empty": [""] * count}
            right = self._error(network, z, t, eps, [s.prompt for s in scenes]).mean()
            for key, value in captions.items():
                gaps[f"{key}_{tag}"] = self._error(network, z, t, eps, value).mean() / right - 1
        return gaps

    def _encoded(self, tag: str, scenes: list[Scene]) -> Tensor:
        """The latents of the scenes, which are the same each time: encoded once."""
        if tag not in self._latents:
            vae = AutoencoderKL.from_pretrained(self.parts / "vae", dtype=torch.float32, low_cpu_mem_usage=False)
            images = torch.stack([to_tensor(scene) for scene in scenes]).to(self.device)
            self._latents[tag] = vae.to(self.device).eval().encode(images * 2 - 1).latent_dist.mean
        return self._latents[tag]

    @torch.no_grad()
    def sample(self, captions: list[str], guidance: float = 5.0, steps: int = 20) -> Tensor:
        """Returns (N, 3, 128, 128) images in [0, 1] sampled with the averaged network."""
        pipeline = self._pipeline(self.average.module).to(self.device)
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        options = {"num_inference_steps": steps, "guidance_scale": guidance, "generator": generator, "output_type": "pt"}
        return pipeline(captions, **options).images

    def _pipeline(self, network: UNet2DConditionModel) -> StableDiffusionPipeline:
        return StableDiffusionPipeline(
            vae=AutoencoderKL.from_pretrained(self.parts / "vae", dtype=torch.float32, low_cpu_mem_usage=False),
            text_encoder=self.frozen["text_encoder"],
            tokenizer=self.frozen["tokenizer"],
            unet=network,
            scheduler=stable_diffusion_schedule(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def export(self, folder: Path) -> None:
        """Writes a float16 StableDiffusionPipeline folder and the list of the words that it knows."""
        network = copy.deepcopy(self.average.module)
        pipeline = self._pipeline(network)
        pipeline.text_encoder = copy.deepcopy(self.frozen["text_encoder"])
        pipeline.to(dtype=torch.float16).save_pretrained(folder, max_shard_size=MAX_SHARD)
        _open_in_float32(folder / "text_encoder" / "config.json")
        (folder / "vocabulary.json").write_text(json.dumps(known_words(), indent=0))
