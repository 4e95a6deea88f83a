"""The Fourier field: a network from pixel coordinates to opacity, the paper's "neural neural texture"."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..functional.random import Draws
from .base import Alpha


class Fourier(Alpha):
    """Gaussian Fourier features of (x, y) and a per-pixel MLP (Tancik et al. 2020; Burgert et al. 2022).

    The features are [sin(2 pi B p), cos(2 pi B p)] of p in [0, 1)^2, with B ~ N(0, scale^2) fixed. The MLP is a stack of 1x1
    convolutions with batch normalisation over the pixels of its own image. Every pair has a network of its own; they run
    as one batched product.

    Args:
        features: number of frequencies; the MLP sees twice as many channels.
        scale: standard deviation of the frequencies, in cycles an image side: larger for finer detail.
        width: channels of the hidden layers.
        depth: number of hidden layers.
        channels: outputs a pixel; 1 for an alpha, more for an image.
    """

    frequencies: Tensor
    encoding: Tensor
    weights: nn.ParameterList
    biases: nn.ParameterList

    def __init__(self, features: int = 128, scale: float = 10.0, width: int = 256, depth: int = 3, channels: int = 1) -> None:
        super().__init__()
        if min(features, width, depth, channels) < 1:
            raise ValueError(
                f"features, width, depth, channels: expected at least 1, got {features}, {width}, {depth}, {channels}"
            )
        self.features, self.scale, self.width, self.depth, self.channels = features, scale, width, depth, channels

    def reset(self, image: Tensor, seeds: list[int]) -> None:
        self.size = image.shape[-2:]
        draws = Draws(seeds, device=image.device)
        self.register_buffer("frequencies", self.scale * draws.normal(self.features, 2), persistent=False)
        self.register_buffer("encoding", self._encode(image.device), persistent=False)
        sizes = [2 * self.features, *[self.width] * self.depth, self.channels]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in zip(sizes, sizes[1:], strict=False):
            bound = 1 / math.sqrt(before)  # PyTorch's own initial values of a convolution
            self.weights.append(nn.Parameter(bound * (2 * draws.uniform(before, after) - 1)))
            self.biases.append(nn.Parameter(bound * (2 * draws.uniform(1, after) - 1)))
        ones = torch.ones(len(seeds), 1, self.width, device=image.device)
        self.gains = nn.ParameterList(nn.Parameter(ones.clone()) for _ in range(self.depth))
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros_like(ones)) for _ in range(self.depth))

    def _encode(self, device: torch.device) -> Tensor:
        """Fourier features of all pixels: (N, H * W, 2 * features)."""
        height, width = self.size
        y, x = torch.arange(height, device=device) / height, torch.arange(width, device=device) / width
        points = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1).flatten(0, 1)
        phase = 2 * torch.pi * points @ self.frequencies.transpose(1, 2)
        return torch.cat([phase.sin(), phase.cos()], -1)

    def logits(self) -> Tensor:
        # A processor's caches hold the maps of one network, not of a batch of them; a GPU wants the batch.
        networks = len(self.encoding)
        together = networks if self.encoding.device.type == "cuda" else 1
        parts = [self._outputs(slice(first, first + together)) for first in range(0, networks, together)]
        return torch.cat(parts).transpose(1, 2).unflatten(2, self.size)

    def _outputs(self, own: slice) -> Tensor:
        """Runs some of the networks: (n, H * W, channels)."""
        h, weight, bias = self.encoding[own], self.weights[0][own], self.biases[0][own]
        for i in range(self.depth):
            h = F.relu(torch.baddbmm(bias, h, weight))
            variance, mean = torch.var_mean(h, 1, keepdim=True, correction=0)
            # The normalisation is linear in h: folded into the next product it costs nothing a pixel.
            gain = self.gains[i][own] * torch.rsqrt(variance + 1e-5)
            following = self.weights[i + 1][own]
            weight = gain.transpose(1, 2) * following
            bias = self.biases[i + 1][own] + (self.shifts[i][own] - mean * gain) @ following
        return torch.baddbmm(bias, h, weight)
