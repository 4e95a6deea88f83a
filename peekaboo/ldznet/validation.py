"""A look at validation samples on the way of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..data.base import Sample, SampleData
from ..functional.random import Draws
from .conditions import Conditions
from .examples import squash
from .network import SegmentationNetwork
from .recipe import cross_entropy

BATCH = 8


@dataclass
class Look:
    """Sums over validation samples, squashed to squares; at the threshold 0.5.

    Attributes:
        loss: sum of the mean BCE of each.
        intersection, union: pixels of all of them.
        iou: sum of the IoU of each.
        samples: how many.
        failed: how many could not be read.
        shown: image, prompt, alpha, target and ignored pixels of each, while nothing is summed over ranks.
    """

    loss: float = 0.0
    intersection: float = 0.0
    union: float = 0.0
    iou: float = 0.0
    samples: float = 0.0
    failed: float = 0.0
    shown: list[tuple[Tensor, str, Tensor, Tensor, Tensor | None]] = field(default_factory=list)

    def summed(self, trainer: Any) -> Look:
        """Returns the sums over all ranks."""
        own = torch.tensor([self.loss, self.intersection, self.union, self.iou, self.samples, self.failed], dtype=torch.float64)
        if trainer.world_size > 1:
            device = trainer.strategy.root_device
            own = own.float() if device.type == "mps" else own
            own = trainer.strategy.reduce(own.to(device), reduce_op="sum").cpu()
        return Look(*own.tolist())

    def scalars(self) -> dict[str, float]:
        """The measures, by the names of their curves."""
        n = max(self.samples, 1)
        return {
            "validation/loss": self.loss / n,
            "validation/IoU_FG": self.intersection / max(self.union, 1),
            "validation/mIoU": self.iou / n,
        }

    def __str__(self) -> str:
        found = ", ".join(f"{name} {value:.3f}" for name, value in self.scalars().items())
        return f"{found} of {self.samples:.0f} samples" + (f", {self.failed:.0f} failed" if self.failed else "")


def look_at(
    network: SegmentationNetwork,
    conditions: Conditions,
    data: SampleData,
    places: range,
    side: int,
    template: str,
    timestep: int,
    device: torch.device,
) -> Look:
    """Runs a network over some samples of a data set, without anything random.

    Args:
        network: in eval mode.
        conditions: make its inputs.
        data: the samples, of which those without a mask are left out.
        places: of the samples.
        side: of the squares.
        template: of the prompts.
        timestep: where features are read.
        device: of the network.
    """
    look, opened = Look(), data.opened()
    for start in range(0, len(places), BATCH):
        read = [opened[place] for place in places[start : start + BATCH]]
        samples = [one for one in read if isinstance(one, Sample) and one.mask is not None]
        look.failed += len(read) - len(samples)
        if not samples:
            continue
        images = torch.stack([squash(sample.image, side).clamp(0, 1) for sample in samples]).to(device)
        draws = Draws([0] * len(samples), device=device, purpose="ldznet")
        t = torch.full((len(samples),), timestep, dtype=torch.int64, device=device)
        prompts = [template.format(sample.prompt) for sample in samples]
        logits = network(*conditions(images, prompts, draws, t, posterior=False).arguments()).float().cpu()
        for sample, image, own in zip(samples, images.cpu(), logits[:, 0], strict=True):
            _add(look, sample, image, own, side)
    return look


def _add(look: Look, sample: Sample, image: Tensor, logits: Tensor, side: int) -> None:
    assert sample.mask is not None
    target = squash(sample.mask[None].float(), side, "nearest")[0] > 0.5
    ignore = None if sample.ignore is None else squash(sample.ignore[None].float(), side, "nearest")[0] > 0.5
    counts = torch.ones_like(target) if ignore is None else ~ignore
    found = logits > 0
    inside, either = int((found & target & counts).sum()), int(((found | target) & counts).sum())
    look.loss += float(cross_entropy(logits, target.float(), counts))
    look.intersection += inside
    look.union += either
    look.iou += inside / either if either else 1.0
    look.samples += 1
    look.shown.append((image, sample.prompt, logits.sigmoid(), target, ignore))
