"""The published loop, written plainly from its description: the baseline that the ratios of the other benchmarks are against.

    python benchmarks/reference.py
    python benchmarks/reference.py --teacher FOLDER --side 256 --device cuda

Float32, eager, one pair. The timestep is a number on the host. The filter is 40 passes of 9 shifted products, all of which
autograd records. Distillation and penalty go backward one after the other. Plain SGD on the raw field.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from common import machine, median_seconds, print_table, reset_peak_memory, write_json
from torch import Tensor

from peekaboo.functional.bilateral import bilateral_weights
from peekaboo.results.records import peak_memory_mb
from peekaboo.teachers.base import locate

PASSES = 40


def plain_filter(x: Tensor, weights: Tensor, passes: int = PASSES) -> Tensor:
    """The bilateral filter as shifted products, recorded by autograd: (N, 1, H, W) and (N, 9, H, W) to (N, 1, H, W)."""
    height, width = x.shape[-2:]
    for _ in range(passes):
        padded = F.pad(x, (1, 1, 1, 1))
        total = torch.zeros_like(x)
        for k in range(9):
            dy, dx = divmod(k, 3)
            total = total + weights[:, k : k + 1] * padded[..., dy : dy + height, dx : dx + width]
        x = total
    return x


class Reference:
    """One mask in the making.

    Args:
        source: folder of a StableDiffusionPipeline.
        image: (1, 3, H, W) in [0, 1].
        prompt: what to segment.
        device: to run on.
        guidance, penalty, learning_rate: the published ones.
    """

    def __init__(
        self,
        source: str,
        image: Tensor,
        prompt: str,
        device: str = "cpu",
        guidance: float = 100.0,
        penalty: float = 0.05,
        learning_rate: float = 1e-5,
    ) -> None:
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        options = {"torch_dtype": torch.float32, "low_cpu_mem_usage": False}
        self.unet = UNet2DConditionModel.from_pretrained(source, subfolder="unet", **options).to(device).requires_grad_(False)
        self.vae = AutoencoderKL.from_pretrained(source, subfolder="vae", **options).to(device).requires_grad_(False)
        text_encoder = CLIPTextModel.from_pretrained(source, subfolder="text_encoder", dtype=torch.float32).to(device)
        tokenizer = CLIPTokenizer.from_pretrained(source, subfolder="tokenizer")
        schedule = DDIMScheduler.from_pretrained(source, subfolder="scheduler")
        self.alpha_bar = schedule.alphas_cumprod.to(device)
        with torch.no_grad():
            length = text_encoder.config.max_position_embeddings
            tokens = tokenizer(["", prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
            self.text = text_encoder(tokens.input_ids.to(device)).last_hidden_state
        self.image, self.guidance, self.penalty = image.to(device), guidance, penalty
        self.weights = bilateral_weights(self.image)
        self.raw = torch.randn(1, 1, *image.shape[-2:], device=device, requires_grad=True)
        self.optimiser = torch.optim.SGD([self.raw], lr=learning_rate)
        self.side = self.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The alpha, and the latents of its composite."""
        device = self.image.device
        alpha = torch.sigmoid(plain_filter(self.raw, self.weights))
        background = torch.tensor([random.random() for _ in range(3)], device=device)[None, :, None, None]
        composite = self.image * alpha + background * (1 - alpha)
        resized = F.interpolate(composite, (self.side, self.side), mode="bilinear")
        return alpha, self.vae.encode(2 * resized - 1).latent_dist.sample() * self.vae.config.scaling_factor

    def step(self) -> None:
        """One iteration."""
        device = self.image.device
        alpha, z = self.forward()
        t = torch.tensor(random.randint(20, 980), device=device)
        with torch.no_grad():
            noise = torch.randn_like(z)
            alpha_bar = self.alpha_bar[t]
            z_t = alpha_bar.sqrt() * z + (1 - alpha_bar).sqrt() * noise
            uncond, text = self.unet(torch.cat([z_t, z_t]), t, encoder_hidden_states=self.text).sample.chunk(2)
            gradient = (1 - alpha_bar) * (uncond + self.guidance * (text - uncond) - noise)
        z.backward(gradient=gradient, retain_graph=True)
        (self.penalty * alpha.sum()).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        alpha.mean().item()  # the loop prints as it goes: the host waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="embedded", help="`embedded` or a StableDiffusionPipeline folder")
    parser.add_argument("--side", type=int, default=128, help="of the alpha, in pixels; the published is 256")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    image = torch.rand(1, 3, options.side, options.side, generator=torch.Generator().manual_seed(0))
    reference = Reference(locate(options.teacher, "teacher", "model_index.json"), image, "a rocket", options.device)
    reset_peak_memory(options.device)
    seconds = median_seconds(reference.step, options.device, options.repeats)
    row = {"seconds": seconds, "peak_mb": peak_memory_mb(torch.device(options.device))}
    print(machine(options.device))
    print_table(["loop", "ms an iteration", "peak MB"], [["reference", 1000 * seconds, row["peak_mb"]]])
    write_json(options.output, machine=machine(options.device), teacher=options.teacher, side=options.side, reference=row)


if __name__ == "__main__":
    main()
