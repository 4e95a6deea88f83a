"""The embedded depth model: a small DPT, trained as MiDaS is, without regard to scale and shift."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from .base import Pretraining

MEAN, DEVIATION = 0.5, 0.5
JUMP = 0.5  # of the depth between neighbours, in mean absolute deviations of the map, that is an edge


class DepthTraining(Pretraining):
    """Trains a `DPTForDepthEstimation` on the scenes' inverse depth (Ranftl et al. 2020, 2021).

    The loss is the scale- and shift-invariant one of MiDaS: L1 after aligning median and mean absolute deviation, plus the
    L1 of gradients at four scales, which keeps the edges sharp.

    Args:
        output: folder of the model and its image processor.
        start: folder of a depth model to go on from (`peekaboo/assets/depth`, say), with its sizes; None to begin anew.
        width, layers, patch: of the vision transformer.
        neck: channels of the decoder.
        edges: weight of the gradients at full resolution where the depth jumps.
        learning_rate, minutes, export_every: see :class:`Pretraining`.
    """

    def __init__(
        self,
        output: str,
        start: str | None = None,
        width: int = 192,
        layers: int = 4,
        patch: int = 8,
        neck: int = 32,
        edges: float = 0.0,
        learning_rate: float = 1e-3,
        minutes: float | None = None,
        export_every: int = 0,
    ) -> None:
        config = DPTConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=3 * width,
            image_size=128,
            patch_size=patch,
            backbone_out_indices=[(i + 1) * layers // 4 - 1 for i in range(4)],
            reassemble_factors=[2, 1, 0.5, 0.25],  # the head doubles twice: as many pixels come out as go in,
            neck_hidden_sizes=[neck, neck, 2 * neck, 2 * neck],
            fusion_hidden_size=neck,
            use_batch_norm_in_fusion_residual=False,
            add_projection=False,
            use_auxiliary_head=False,
        )
        network = DPTForDepthEstimation(config)
        # The library's initial values (deviation 0.02) die out in a decoder as narrow as this one, and its head ends in a ReLU.
        for module in (*network.neck.modules(), *network.head.modules()):
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        torch.nn.init.constant_(network.head.head[-2].bias, 5.0)
        if start is not None:
            network = DPTForDepthEstimation.from_pretrained(start, dtype=torch.float32)
        super().__init__(network, output, learning_rate=learning_rate, minutes=minutes)
        self.export_every, self.edges = export_every, edges

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        predicted = self.network((batch["image"] - MEAN) / DEVIATION).predicted_depth.float()
        truth = torch.nn.functional.interpolate(batch["depth"][:, None], predicted.shape[-2:], mode="nearest")[:, 0]
        loss = scale_shift_invariant_loss(predicted, truth, edges=self.edges)
        self.log("loss", loss, prog_bar=True)
        if self.global_step % 200 == 0:
            shown = torch.cat([truth[:6], align(predicted[:6], truth[:6])])
            self.show("depth | predicted", shown[:, None].expand(-1, 3, -1, -1))
        return loss

    def export(self, folder: Path) -> None:
        """Writes the averaged network in float16, with its image processor."""
        network = copy.deepcopy(self.average.module)
        side = network.config.image_size
        network.half().save_pretrained(folder)
        size = {"height": side, "width": side}
        DPTImageProcessor(size=size, image_mean=[MEAN] * 3, image_std=[DEVIATION] * 3).save_pretrained(folder)


def _normalise(depth: Tensor) -> Tensor:
    """Median 0 and mean absolute deviation 1 in each map (Ranftl et al. 2020, eq. 5)."""
    flat = depth.flatten(1)
    shifted = flat - flat.median(1, keepdim=True).values
    return (shifted / shifted.abs().mean(1, keepdim=True).clamp(min=1e-6)).view_as(depth)


def scale_shift_invariant_loss(predicted: Tensor, truth: Tensor, scales: int = 4, edges: float = 0.0) -> Tensor:
    """MiDaS's loss: L1 of the normalised maps, and half that of their gradients over scales; (N, H, W) twice.

    Args:
        predicted, truth: the maps.
        scales: of the gradients, each half as fine as the one before.
        edges: weight of one more term, the L1 of the finest gradients between two pixels where the truth jumps: they are so few
            that the mean over all pixels hardly tells a soft edge from a sharp one.
    """
    normalised = _normalise(truth)
    error = _normalise(predicted) - normalised
    loss = error.abs().mean()
    for k in range(scales):
        coarse = error[..., :: 2**k, :: 2**k]
        loss = loss + 0.5 / scales * (coarse.diff(dim=-1).abs().mean() + coarse.diff(dim=-2).abs().mean())
    for axis in (-1, -2) if edges else ():
        jumps = normalised.diff(dim=axis).abs() > JUMP
        loss = loss + edges * (error.diff(dim=axis).abs() * jumps).sum() / jumps.sum().clamp(min=1)
    return loss


def align(predicted: Tensor, truth: Tensor) -> Tensor:
    """Scales and shifts each predicted map to its truth by least squares: (N, H, W) twice."""
    x, y = predicted.flatten(1).float(), truth.flatten(1).float()
    centred = x - x.mean(1, keepdim=True)
    scale = (centred * y).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True).clamp(min=1e-9)
    return (scale * centred + y.mean(1, keepdim=True)).view_as(predicted)
