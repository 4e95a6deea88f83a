"""The three kinds of autoencoders: what they make of an image, and how their latents are scaled for the denoiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .loading import ModelFolder


class Autoencoder(nn.Module):
    """AutoencoderKL: a gaussian posterior, scaled by a factor, behind a shift where there is one.

    Args:
        folder: of the pipeline.
        dtype: that it is loaded in; None for the file's.
        decoder: whether to keep the decoder.
        checkpointing: compute the encoder twice instead of keeping its activations.
    """

    kind: ClassVar[str] = "AutoencoderKL"

    def __init__(
        self, folder: ModelFolder, dtype: torch.dtype | None, decoder: bool = False, checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.check(folder)
        self.network: Any = folder.network(self.kind, "vae", dtype)
        self.has_decoder = decoder
        if not decoder:
            self.drop_decoder()
        if checkpointing:
            self.checkpoint()

    @classmethod
    def check(cls, folder: ModelFolder) -> None:
        """Refuses another autoencoder before its weights are read."""
        if (found := folder.config("vae").get("_class_name")) != cls.kind:
            raise ValueError(f"teacher: expected a {cls.kind} in vae/ of {folder.source!r}, got {found}")

    @classmethod
    def factor_of(cls, config: dict[str, Any]) -> int:
        """Pixels a side of a latent's place."""
        return int(2 ** (len(config.get("block_out_channels", [64])) - 1))

    @property
    def channels(self) -> int:
        """Channels of the latent."""
        return int(self.network.config.latent_channels)

    def drop_decoder(self) -> None:
        """Lets go of what segmentation does not need."""
        self.network.decoder = self.network.post_quant_conv = None

    def checkpoint(self) -> None:
        """Keeps the input of each block alone for the way back."""
        self.network.enable_gradient_checkpointing()

    def encode(self, image: Tensor) -> Tensor:
        """Maps (N, 3, H, W) in [-1, 1] to the posterior's mean and log-variance, (N, 2 C, h, w)."""
        parameters: Tensor = self.network.encode(image).latent_dist.parameters
        return parameters

    def sample(self, encoded: Tensor, noise: Tensor | None) -> Tensor:
        """Draws the latent (N, C, h, w) by ``noise`` of N(0, 1), or takes the mean."""
        z, log_variance = encoded.chunk(2, 1)
        if noise is not None:
            z = z + (0.5 * log_variance.clamp(-30, 20)).exp() * noise
        return z

    def scale(self, z: Tensor) -> Tensor:
        """Brings the encoder's latents (N, C, h, w) to what the denoiser was trained on."""
        config = self.network.config
        if getattr(config, "latents_mean", None) is not None and getattr(config, "latents_std", None) is not None:
            return (z - _channels(config.latents_mean, z)) * config.scaling_factor / _channels(config.latents_std, z)
        return (z - (config.shift_factor or 0)) * config.scaling_factor

    def unscale(self, z: Tensor) -> Tensor:
        """The way back from :meth:`scale`."""
        config = self.network.config
        if getattr(config, "latents_mean", None) is not None and getattr(config, "latents_std", None) is not None:
            return z * _channels(config.latents_std, z) / config.scaling_factor + _channels(config.latents_mean, z)
        return z / config.scaling_factor + (config.shift_factor or 0)

    def decode(self, z: Tensor) -> Tensor:
        """Maps unscaled latents to (N, 3, H, W) in about [-1, 1]."""
        image: Tensor = self.network.decode(z).sample
        return image


class DeepCompression(Autoencoder):
    """AutoencoderDC of Sana (Chen et al. 2024): no posterior, 32 pixels a place."""

    kind = "AutoencoderDC"

    @classmethod
    def factor_of(cls, config: dict[str, Any]) -> int:
        return int(2 ** (len(config.get("encoder_block_out_channels", [0] * 6)) - 1))

    def drop_decoder(self) -> None:
        self.network.decoder = None

    def checkpoint(self) -> None:
        for block in self.network.encoder.down_blocks:  # diffusers has no checkpointing for it
            block.forward = _twice(block.forward)

    def encode(self, image: Tensor) -> Tensor:
        latent: Tensor = self.network.encode(image).latent
        return latent

    def sample(self, encoded: Tensor, noise: Tensor | None) -> Tensor:
        return encoded

    def scale(self, z: Tensor) -> Tensor:
        return z * self.network.config.scaling_factor

    def unscale(self, z: Tensor) -> Tensor:
        return z / self.network.config.scaling_factor


class QwenImage(Autoencoder):
    """AutoencoderKLQwenImage, a video's autoencoder given one frame; each channel is normalised by itself."""

    kind = "AutoencoderKLQwenImage"

    @classmethod
    def factor_of(cls, config: dict[str, Any]) -> int:
        return int(2 ** len(config.get("temperal_downsample", [0] * 3)))

    @property
    def channels(self) -> int:
        return int(self.network.config.z_dim)

    def checkpoint(self) -> None:
        for block in self.network.encoder.down_blocks:
            block.forward = _twice(block.forward)

    def encode(self, image: Tensor) -> Tensor:
        # Not its own `encode`, which carries the frame before along in a cache: of one frame there is none.
        parameters: Tensor = self.network.quant_conv(self.network.encoder(image[:, :, None]))
        return parameters[:, :, 0]

    def scale(self, z: Tensor) -> Tensor:
        return (z - _channels(self.network.config.latents_mean, z)) / _channels(self.network.config.latents_std, z)

    def unscale(self, z: Tensor) -> Tensor:
        return z * _channels(self.network.config.latents_std, z) + _channels(self.network.config.latents_mean, z)

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z[:, :, None])[:, :, 0]


def _channels(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype)[:, None, None]


def _twice(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Runs a block again on the way back instead of keeping what is inside it."""

    def checkpointed(*inputs: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return run(*inputs)
        result: Tensor = checkpoint(run, *inputs, use_reentrant=False)
        return result

    return checkpointed
