"""The embedded autoencoder: an `AutoencoderKL` with 4 latent channels at an eighth of the resolution."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from .base import Pretraining


class VAETraining(Pretraining):
    """Trains the autoencoder on crops: L1 + L1 of gradients + L1 of 4x4 means + a little KL.

    Crops of a quarter of the scene's side for the first third, of half of it afterwards: a convolutional autoencoder learns
    colours and edges as well on small crops, and several times as fast.

    Args:
        output: folder of the `AutoencoderKL`.
        channels: widths of the four levels.
        kl: weight of the Kullback-Leibler term.
        learning_rate, minutes, export_every: see :class:`Pretraining`.
    """

    latent_sum: Tensor

    def __init__(
        self,
        output: str,
        channels: list[int] = [16, 32, 64, 64],  # noqa: B006  (jsonargparse wants the default spelled out)
        kl: float = 1e-5,
        learning_rate: float = 8e-4,
        minutes: float | None = None,
        export_every: int = 0,
    ) -> None:
        levels = len(channels)
        network = AutoencoderKL(
            block_out_channels=tuple(channels),
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=1,
            norm_num_groups=2,  # must divide the narrowest block, and leaves it more than two channels a group
            sample_size=128,
            scaling_factor=1.0,
            mid_block_add_attention=False,
        )
        with torch.no_grad():
            initialise_as_resampler(network)
        super().__init__(network, output, learning_rate=learning_rate, minutes=minutes, export_every=export_every)
        self.kl = kl
        self.register_buffer("latent_sum", torch.zeros(3, 4))  # count, sum, sum of squares of each latent channel

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        image = _crops(batch["image"], *((4, 32) if self.progress() < 1 / 3 else (2, 12))) * 2 - 1
        posterior = self.network.encode(image).latent_dist
        z = posterior.sample()
        reconstruction = self.network.decode(z).sample
        loss = reconstruction_loss(reconstruction, image) + self.kl * posterior.kl().mean() / z[0].numel()
        self._count(posterior.mean.detach().float())
        mse = F.mse_loss(reconstruction.float(), image) / 4  # of images in [0, 1]
        self.log("psnr", -10 * torch.log10(mse), prog_bar=True)
        self.log("loss", loss)
        if self.global_step % 500 == 0:
            self.show("image | reconstruction", torch.cat([image[:8], reconstruction[:8]]) / 2 + 0.5)
        return loss

    def _count(self, mean: Tensor) -> None:
        statistics = torch.stack([torch.ones_like(mean), mean, mean**2]).mean((1, 3, 4))
        self.latent_sum.lerp_(statistics, 0.01)

    def export(self, folder: Path) -> None:
        """Writes the autoencoder with latents of zero mean and unit deviation.

        Mean and deviation of every channel are folded into the 1x1 convolutions on both sides of the latent, so that
        `scaling_factor` is 1 and no caller needs to know them.
        """
        network = copy.deepcopy(self.average.module).float()
        count, first, second = self.latent_sum.double()
        mean = first / count
        deviation = (second / count - mean**2).sqrt()
        with torch.no_grad():
            fold_latent_scale(network, mean.float(), deviation.float())
        network.half().save_pretrained(folder)


def initialise_as_resampler(vae: AutoencoderKL) -> None:
    """Starts the autoencoder as a linear one that averages down and repeats up, with weak residual blocks beside.

    From PyTorch's default the colours alone take hundreds of steps to get through; from here they are there almost at once.

    Args:
        vae: changed in place.
    """
    for block in vae.modules():
        if isinstance(block, ResnetBlock2D):
            block.conv2.weight *= 0.1
            if block.conv_shortcut is not None:
                weight = block.conv_shortcut.weight
                nn.init.dirac_(weight)
                if len(weight) > weight.shape[1]:  # more channels: the first ones twice
                    extra = min(weight.shape[1], len(weight) - weight.shape[1])
                    weight[weight.shape[1] :][:extra] = weight[:extra]
                block.conv_shortcut.bias.zero_()
        elif isinstance(block, Downsample2D | Upsample2D):
            weight, diagonal = block.conv.weight, torch.arange(len(block.conv.weight))
            weight *= 0.1
            if isinstance(block, Downsample2D):
                weight[diagonal, diagonal, :2, :2] += 0.25
            else:
                weight[diagonal, diagonal, 1, 1] += 1
            block.conv.bias.zero_()
    channels = vae.config.latent_channels
    vae.quant_conv.weight[:channels] *= 4
    vae.quant_conv.weight[channels:] *= 0.1
    vae.quant_conv.bias[channels:] = -5.0  # little posterior noise, or the decoder starts by ignoring the latent


def fold_latent_scale(vae: AutoencoderKL, mean: Tensor, deviation: Tensor) -> None:
    """Makes `vae` encode to (z - mean) / deviation and decode from it, by changing its two 1x1 convolutions.

    Args:
        vae: changed in place.
        mean, deviation: (C,) of each latent channel.
    """
    channels = len(mean)
    weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
    weight[:channels] /= deviation[:, None, None, None]
    bias[:channels] = (bias[:channels] - mean) / deviation
    bias[channels:] -= 2 * deviation.log()  # these are log-variances
    post = vae.post_quant_conv
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
    post.weight *= deviation[None, :, None, None]


def _crops(image: Tensor, parts: int, count: int) -> Tensor:
    """Cuts (N, 3, H, W) into parts x parts tiles at a random offset; returns (count, 3, H / parts, W / parts) of them."""
    side = image.shape[-1] // parts
    dy, dx = torch.randint(0, side, (2,)).tolist()
    tiles = image.roll((dy, dx), (2, 3)).unfold(2, side, side).unfold(3, side, side)
    tiles = tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    return tiles[torch.randperm(len(tiles), device=tiles.device)[:count]].contiguous()


def reconstruction_loss(reconstruction: Tensor, image: Tensor) -> Tensor:
    """L1 + L1 of horizontal and vertical differences + L1 of 4x4 means; a scalar."""
    error = (reconstruction - image).float()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + edges + F.avg_pool2d(error, 4).abs().mean()
