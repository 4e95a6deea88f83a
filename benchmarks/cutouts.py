"""How good cut-outs are: boundary F and veil of each way to finish an alpha, on scenes larger than the optimisation.

    python benchmarks/cutouts.py --trainer.precision 32-true
    python benchmarks/cutouts.py --split tuning --scenes 4 --side 768

Every scene is optimised once at the config's resolution and finished in every way. "F" is the boundary F-measure (2 pixels
either way) of opacity over one half, "IoU" that of the same mask, "veil" the mean opacity of the true background further than
8 pixels from the object, "at the edge" the mean opacity of the true background within 8 pixels of it, "colour" the root mean
square error of the cut-out laid over white against the true object laid over white.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import load, print_table, write_json
from iteration import PRECISIONS
from scipy import ndimage

from peekaboo.data.base import Sample
from peekaboo.data.benchmark import Scenes
from peekaboo.functional.masks import iou
from peekaboo.functional.pieces import boundary_f
from peekaboo.results.finish import Finish
from peekaboo.results.result import Result

WAYS = {
    "raw": Finish("raw"),
    "clean, enlarged": Finish(edges="enlarged"),
    "clean, filtered, with specks": Finish(min_area=0),
    "clean, filtered": Finish(),
    "clean, filtered, largest": Finish(largest=True, fill_holes=True),
    "hard, filtered": Finish("hard"),
}
EDGE = 8  # pixels


def measure(sample: Sample, result: Result, finish: Finish) -> dict[str, float]:
    """Measures one cut-out against the scene's ground truth."""
    assert sample.mask is not None
    picture = finish.cut_out(result.image, result.alpha, result.threshold, result.scale)
    opacity, mask = picture[3], picture[3] > (result.threshold if finish.cutout == "raw" else 0.5)
    distance = torch.from_numpy(ndimage.distance_transform_edt(~sample.mask.numpy()))
    true = sample.mask.float()
    over_white = picture[:3] * opacity + 1 - opacity
    wanted = sample.image * true + 1 - true
    near = distance <= EDGE
    return {
        "F": boundary_f(mask.numpy(), sample.mask.numpy()),
        "IoU": float(iou(mask[None], sample.mask[None])),
        "veil": float(opacity[~near].mean()),
        "at the edge": float(opacity[near & ~sample.mask].mean()),
        "colour": float((over_white - wanted).square().mean().sqrt()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rgb_bilateral")
    parser.add_argument("--set", default="", help="argument=value,... of the config to change")
    parser.add_argument("--scenes", type=int, default=4, help="single objects, and as many pairs")
    parser.add_argument("--side", type=int, default=512, help="of the scenes, in pixels")
    parser.add_argument("--split", default="benchmark", choices=["benchmark", "tuning"])
    parser.add_argument("--matting", action="store_true", help="closed-form matting, too (needs pymatting)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", "--trainer.precision", default="bf16-mixed", choices=list(PRECISIONS))
    parser.add_argument("--output", type=Path, help="JSON file for the rows")
    options = parser.parse_args()
    segmenter = load(options.config, options.set, options.device)
    segmenter.precision = options.precision
    data = Scenes({"single": options.scenes, "pair": options.scenes}, options.split, size=options.side)
    samples = [data.load(i) for i in range(len(data))]
    results = segmenter.segment(samples, [segmenter.sample_seed(sample.id) for sample in samples], timelapse=False)
    ways = {**WAYS, **({"clean, matting": Finish(edges="matting")} if options.matting else {})}
    rows: list[dict[str, Any]] = []
    for name, finish in ways.items():
        found = [measure(sample, result, finish) for sample, result in zip(samples, results, strict=True)]
        rows.append({"way": name, **{key: float(np.mean([one[key] for one in found])) for key in found[0]}})
    print_table(list(rows[0]), ([row["way"], *(f"{row[k]:.3f}" for k in list(row)[1:])] for row in rows))
    write_json(options.output, arguments={k: str(v) for k, v in vars(options).items()}, rows=rows)


if __name__ == "__main__":
    main()
