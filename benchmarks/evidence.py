"""Which of two objects a single step favours, by the opacity at which it looks and by the timestep, on pairs of the tuning seed.

    python benchmarks/evidence.py --opacities 0.25 0.5 0.75 0.95
    python benchmarks/evidence.py --opacities 0.5 0.85 --timesteps 20-150 150-300 300-450 450-600

The alpha is the same everywhere. Its gradient, without the penalty and scaled to the root mean square 1, is averaged over draws
of colour, timestep and noise; below 0 a step raises the alpha. The columns are its means over the named object, the other one and
the ground, and the shares of the pairs in which the named object is favoured over the other, and in which the other is lowered.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from common import load, machine, print_table, tuning_scenes, write_json
from iteration import PRECISIONS, precision
from torch import Tensor

from peekaboo.data.base import Sample
from peekaboo.functional.compositing import REFERENCE_PIXELS
from peekaboo.functional.random import Draws
from peekaboo.losses import ScoreDistillation
from peekaboo.optimisation.segmenter import Segmenter

COLUMNS = ["named", "other", "ground", "named_favoured", "other_lowered"]
HEAD = ["opacity", "timesteps", "named", "other", "ground", "named favoured", "other lowered"]


def mean_gradient(segmenter: Segmenter, scenes: list[Sample], opacity: float, draws: int, precision_name: str) -> Tensor:
    """The gradient on a constant alpha, averaged over draws: (N, 1, H, W), of root mean square 1 in each draw."""
    device = segmenter.device
    images = torch.stack([scene.image for scene in scenes]).to(device)
    prompts = [scene.prompt for scene in scenes]
    seeds = [segmenter.sample_seed(scene.id) for scene in scenes]
    total = torch.zeros_like(images[:, :1])
    for step in range(draws):
        alpha = torch.full_like(total, opacity).requires_grad_()
        with precision(precision_name, str(device)):
            loss = segmenter.objective(alpha, images, prompts, Draws(seeds, step, draws, device=device))["loss"]
        (gradient,) = torch.autograd.grad(loss.sum(), alpha)
        total += gradient
    return total / draws * (total[0].numel() / REFERENCE_PIXELS)  # from the unit of `normalise_gradient`


def summarise(gradients: Tensor, scenes: list[Sample]) -> dict[str, float]:
    """Means over the regions of the scenes, and the shares of scenes with the named object favoured and the other lowered."""
    named = torch.stack([scene.mask for scene in scenes])[:, None].to(gradients.device)
    other = torch.stack([scene.others for scene in scenes])[:, None].to(gradients.device)
    means = [(gradients * area).sum((1, 2, 3)) / area.sum((1, 2, 3)) for area in (named, other, ~(named | other))]
    shares = [(means[0] < means[1]).float(), (means[1] > 0).float()]
    return {column: round(float(value.mean()), 3) for column, value in zip(COLUMNS, means + shares, strict=True)}


def timesteps(text: str) -> tuple[int, int]:
    """Reads "20-400"."""
    try:
        low, high = map(int, text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers as 20-400, got {text!r}") from None
    return low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rgb_bilateral")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--draws", type=int, default=32, help="steps, each of the config's noise samples")
    parser.add_argument("--opacities", type=float, nargs="+", default=[0.25, 0.5, 0.75, 0.95])
    parser.add_argument("--timesteps", type=timesteps, nargs="+", default=[(20, 600)], help="ranges, as 20-600")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed", choices=list(PRECISIONS))
    parser.add_argument("--output", type=Path, help="JSON file for the rows")
    options = parser.parse_args()
    settings = "background=peekaboo.backgrounds.RandomColour,normalise_gradient=true"
    segmenter = load(options.config, settings, options.device)
    if not isinstance(segmenter.objective.loss, ScoreDistillation):
        parser.error(f"argument --config: expected one with score distillation, got {options.config!r}")
    scenes = tuning_scenes(0, options.pairs)
    parts = [scenes[first : first + options.batch] for first in range(0, len(scenes), options.batch)]
    rows: list[dict[str, Any]] = []

    def measured() -> Iterator[list[Any]]:
        loss = segmenter.objective.loss
        for opacity in options.opacities:
            for low, high in options.timesteps:
                loss.t_min, loss.t_max = low, high
                gradients = [mean_gradient(segmenter, part, opacity, options.draws, options.precision) for part in parts]
                row = {"opacity": opacity, "timesteps": f"{low}-{high}", **summarise(torch.cat(gradients), scenes)}
                rows.append(row)
                yield [opacity, row["timesteps"], *(f"{row[column]:.2f}" for column in COLUMNS)]

    print(machine(options.device))
    print_table(HEAD, measured())
    write_json(options.output, machine=machine(options.device), rows=rows)


if __name__ == "__main__":
    main()
