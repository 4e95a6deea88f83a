"""What a start gains: masks after some iterations, from noise and from the starts of docs/start.md, on scenes to choose with.

    python benchmarks/starts.py --precision 32-true
    python benchmarks/starts.py --rows none attention --single 20 --pair 20
    python benchmarks/starts.py --rows attention --single 3 --pair 3 --pictures start.png

Each cell is the mean IoU at the threshold .5, in brackets at Otsu's, then at the one threshold that is best for the group (chosen
with the truth: the order of the pixels, whatever their height), and the share of masks at .5 that are empty, as results count it.
"map" is the alpha that the optimisation begins with: the start's map as the alpha filters it. Groups: Fluent 3D is the look that
the shipped models know, ``set_aside`` a look that no training saw.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import load, machine, print_table, write_json
from iteration import PRECISIONS
from torch import Tensor
from torchvision.utils import save_image

from peekaboo.data.base import Sample
from peekaboo.data.benchmark import Scenes
from peekaboo.functional.masks import iou, otsu_threshold
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.results.files import overlay
from peekaboo.results.result import is_empty
from peekaboo.starts import Attention, NoiseDifference, Start

ROWS: dict[str, Callable[[], Start | None]] = {
    "none": lambda: None,
    "attention": Attention,
    "attention, scale 1": lambda: Attention(scale=1.0),
    "attention, scale 3": lambda: Attention(scale=3.0),
    "attention, mirror": lambda: Attention(mirror=True),
    "attention, content": lambda: Attention(words="content"),
    "noise difference": NoiseDifference,
}
LEVELS = torch.arange(1, 20) / 20


def figures(alphas: Tensor, truths: Tensor) -> dict[str, float]:
    """IoUs of (N, H, W) alphas against their truths at several thresholds, and the share that is empty at .5."""
    best = max(float(iou(alphas > level, truths).mean()) for level in LEVELS)
    return {
        "iou": float(iou(alphas > 0.5, truths).mean()),
        "otsu": float(iou(alphas > otsu_threshold(alphas)[:, None, None], truths).mean()),
        "best": best,
        "empty": sum(is_empty(alpha > 0.5) for alpha in alphas) / len(alphas),
    }


def follow(segmenter: Segmenter, scenes: list[Sample], start: Start | None, at: list[int]) -> dict[int, Tensor]:
    """The alphas of some scenes (N, H, W) at some iterations; 0 is where they begin."""
    segmenter.settings = replace(segmenter.settings, iterations=max(at), settled=None)
    seeds = [segmenter.sample_seed(scene.id) for scene in scenes]
    seen: dict[int, Tensor] = {}

    def look(step: int) -> None:
        if step in at:
            seen[step] = torch.stack([result.alpha for result in segmenter.results(step)])

    if 0 in at:
        segmenter.begin(scenes, seeds, start, timelapse=False)
        look(0)
    segmenter.segment(scenes, seeds, report=look, start=start, timelapse=False)
    return seen


def pictures(path: Path, scenes: list[Sample], seen: dict[int, Tensor]) -> None:
    """A line a scene: image, truth, the alphas in their order, and the last one's mask."""
    rows = []
    for i, scene in enumerate(scenes):
        assert scene.mask is not None
        alphas = [alpha[i].expand(3, -1, -1) for alpha in seen.values()]
        rows += [scene.image, scene.mask.float().expand(3, -1, -1), *alphas, overlay(scene.image, (alphas[-1][:1] > 0.5).float())]
    save_image(rows, path, nrow=3 + len(seen), padding=4, pad_value=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rgb_bilateral")
    parser.add_argument("--set", default="", help="argument=value,... of the config")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--at", type=int, nargs="+", default=[0, 20, 40], help="iterations; 0 is the map alone")
    parser.add_argument("--single", type=int, default=10, help="scenes of each look")
    parser.add_argument("--pair", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed", choices=list(PRECISIONS))
    parser.add_argument("--pictures", type=Path, help="PNG of the scenes with the last row's alphas")
    parser.add_argument("--output", type=Path, help="JSON file for the rows")
    options = parser.parse_args()
    data = Scenes({"single": options.single, "pair": options.pair}, "tuning", looks=("fluent_3d", "set_aside"))
    groups: dict[str, list[Sample]] = {}
    for i, name in enumerate(data.ids):
        groups.setdefault(name.rpartition("-")[0], []).append(data.load(i))
    segmenter = load(options.config, options.set, options.device)
    segmenter.precision = options.precision
    rows: list[dict[str, Any]] = []
    shown: list[tuple[Sample, dict[int, Tensor]]] = []

    def measured() -> Iterator[list[Any]]:
        for name in options.rows:
            cells: dict[int, list[str]] = {step: [] for step in options.at}
            shown.clear()
            for group, scenes in groups.items():
                seen = follow(segmenter, scenes, ROWS[name](), options.at)
                truths = torch.stack([scene.mask for scene in scenes if scene.mask is not None])
                for step, alphas in seen.items():
                    found = figures(alphas, truths)
                    rows.append({"row": name, "group": group, "iterations": step, **found})
                    cells[step].append("{iou:.3f} ({otsu:.3f}) {best:.3f}, {empty:.0%}".format(**found))
                shown.extend(
                    (scene, {step: alphas[i : i + 1] for step, alphas in seen.items()}) for i, scene in enumerate(scenes)
                )
            for step, row in cells.items():
                yield [name, step or "map", *row]

    print(machine(options.device))
    print_table(["start", "iterations", *groups], measured())
    write_json(options.output, machine=machine(options.device), rows=rows)
    if options.pictures:
        steps = {step: torch.cat([seen[step] for _, seen in shown]) for step in shown[0][1]}
        pictures(options.pictures, [scene for scene, _ in shown], steps)


if __name__ == "__main__":
    main()
