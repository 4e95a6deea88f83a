"""The Fourier field: a network from pixel coordinates to opacity, the paper's "neural neural texture"."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..functional.random import Draws
from .base import Alpha

FIT_STEPS, FIT_RATE = 60, 0.01  # of a fit to the logits that an optimisation begins at


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
        self.start(Draws(seeds, device=image.device), (image.shape[-2], image.shape[-1]))

    def start(self, draws: Draws, size: tuple[int, int]) -> None:
        """Starts N networks for maps of a size, with initial values of these draws; :meth:`reset` for what is no alpha."""
        self.size = size
        self.register_buffer("frequencies", self.scale * draws.normal(self.features, 2), persistent=False)
        self.register_buffer("encoding", self._encode(draws.device), persistent=False)
        sizes = [2 * self.features, *[self.width] * self.depth, self.channels]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in zip(sizes, sizes[1:], strict=False):
            bound = 1 / math.sqrt(before)  # PyTorch's own initial values of a convolution
            self.weights.append(nn.Parameter(bound * (2 * draws.uniform(before, after) - 1)))
            self.biases.append(nn.Parameter(bound * (2 * draws.uniform(1, after) - 1)))
        ones = torch.ones(len(draws), 1, self.width, device=draws.device)
        self.gains = nn.ParameterList(nn.Parameter(ones.clone()) for _ in range(self.depth))
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros_like(ones)) for _ in range(self.depth))

    def begin_at(self, logits: Tensor) -> None:
        """Fits the networks to the logits by some steps of Adam, each pair's to its own; no teacher is asked."""
        with torch.enable_grad(), torch.inference_mode(False):
            target = logits.detach().clone()
            optimizer = torch.optim.Adam(self.parameters(), lr=FIT_RATE)
            for _ in range(FIT_STEPS):
                optimizer.zero_grad()
                (self.logits() - target).square().mean((1, 2, 3)).sum().backward()
                optimizer.step()
        self.zero_grad(set_to_none=True)

    def _encode(self, device: torch.device) -> Tensor:
        """Fourier features of all pixels: (N, H * W, 2 * features)."""
        height, width = self.size
        y, x = torch.arange(height, device=device) / height, torch.arange(width, device=device) / width
        points = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1).flatten(0, 1)
        phase = 2 * torch.pi * points @ self.frequencies.transpose(1, 2)
        return torch.cat([phase.sin(), phase.cos()], -1)

    def logits(self) -> Tensor:
        # A processor's caches hold the maps of one network, not of a batch of them; a GPU wants the batch.
        together = len(self.encoding) if self.encoding.device.type == "cuda" else 1
        # Split, not sliced: the way back of a slice fills a zero gradient for all networks, once for each of them.
        groups = self.weights, self.biases, self.gains, self.shifts
        own = [zip(*(p.split(together) for p in group), strict=True) for group in groups]
        parts = [_outputs(*part) for part in zip(self.encoding.split(together), *own, strict=True)]
        return torch.cat(parts).transpose(1, 2).unflatten(2, self.size)


def _outputs(
    encoding: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], gains: Sequence[Tensor], shifts: Sequence[Tensor]
) -> Tensor:
    """Runs n networks on their (n, H * W, 2 * features) encodings: (n, H * W, channels)."""
    h, weight, bias = encoding, weights[0], biases[0]
    for gain, shift, following, following_bias in zip(gains, shifts, weights[1:], biases[1:], strict=True):
        h = F.relu(torch.baddbmm(bias, h, weight))
        mean, variance = _moments(h)
        # The normalisation is linear in h: folded into the next product it costs nothing a pixel.
        factor = gain * torch.rsqrt(variance + 1e-5)
        weight = factor.transpose(1, 2) * following
        bias = following_bias + (shift - mean * factor) @ following
    return torch.baddbmm(bias, h, weight)


def _moments(h: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of (n, P, C) over P: (n, 1, C) each.

    As plain means, forth and back a third of the time of `torch.var_mean`, which on a CPU does not vectorise over P.
    """
    mean = h.mean(1, keepdim=True)
    return mean, (h - mean).square().mean(1, keepdim=True)
