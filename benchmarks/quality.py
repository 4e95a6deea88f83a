"""IoU against iterations and seconds on tuning scenes, for one or several settings of a config.

    python benchmarks/quality.py --config rgb_bilateral
    python benchmarks/quality.py --config rgb_bilateral --set loss.guidance=7.5 --set loss.guidance=30,penalty=0.2 --pairs 40

Each ``--set`` is one block of rows: arguments of the config to change, separated by commas. The scenes are composed with a seed
of the trainings, never the benchmark's: this is where settings are chosen. The last column says after how many of the looked-at
iterations the pairs had 98 % of their final IoU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import load, machine, print_table, tuning_scenes, write_json
from iteration import PRECISIONS

from peekaboo.data.base import Sample
from peekaboo.functional.masks import iou
from peekaboo.optimisation.segmenter import Segmenter

HEAD = ["setting", "iterations", "single", "pair", "other", "named ahead", "pair, Otsu", "s a mask", "98 % after"]
COLUMNS = ["single", "pair", "pair_other", "pair_named_ahead", "pair_otsu", "seconds_a_mask"]


def measure(segmenter: Segmenter, scenes: list[Sample], batch: int, at: list[int], precision_name: str) -> list[dict[str, Any]]:
    """Optimises all scenes and looks at the masks after each number of iterations in ``at``."""
    seen: dict[int, list[tuple[str, float, float, float]]] = {step: [] for step in at}
    seconds = dict.fromkeys(at, 0.0)
    segmenter.settings = replace(segmenter.settings, iterations=max(at))
    segmenter.precision = precision_name

    def note(step: int, part: list[Sample], spent: float) -> None:
        seconds[step] += spent
        for sample, result in zip(part, segmenter.results(step), strict=True):
            mask = result.mask[None]
            right, other = float(iou(mask, sample.mask[None])), float(iou(mask, sample.others[None]))
            seen[step].append((sample.id, right, other, float(result.iou_at(result.otsu))))

    for first in range(0, len(scenes), batch):
        part = scenes[first : first + batch]
        start = time.perf_counter()
        looked, ended = 0.0, 0

        def look(step: int, part: list[Sample] = part, start: float = start) -> None:
            nonlocal looked, ended
            ended = step
            if step in seen:
                now = time.perf_counter()
                note(step, part, now - start - looked)
                looked += time.perf_counter() - now

        segmenter.segment(part, [segmenter.sample_seed(sample.id) for sample in part], report=look)
        spent = time.perf_counter() - start - looked
        for step in (step for step in at if step > ended):  # all have settled: they stay as they are, and cost no more
            note(step, part, spent)
    return [summarise(step, rows, seconds[step] / len(scenes)) for step, rows in seen.items()]


def summarise(step: int, rows: list[tuple[str, float, float, float]], seconds: float) -> dict[str, Any]:
    def mean(values: list[float]) -> float:
        return round(sum(values) / max(len(values), 1), 4)

    singles = [r for r in rows if r[0].startswith("single")]
    pairs = [r for r in rows if r[0].startswith("pair")]
    return {
        "iterations": step,
        "single": mean([r[1] for r in singles]),
        "pair": mean([r[1] for r in pairs]),
        "pair_other": mean([r[2] for r in pairs]),
        "pair_named_ahead": mean([float(r[1] > r[2]) for r in pairs]),
        "pair_otsu": mean([r[3] for r in pairs]),
        "seconds_a_mask": round(seconds, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rgb_bilateral")
    parser.add_argument(
        "--set", action="append", default=[], help="argument=value,... of one block; none for the config as it is"
    )
    parser.add_argument("--singles", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--at", type=int, nargs="+", default=[20, 40, 60, 80, 100, 150, 200])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed", choices=list(PRECISIONS))
    parser.add_argument("--output", type=Path, help="JSON file for the rows")
    options = parser.parse_args()
    scenes = tuning_scenes(options.singles, options.pairs)
    rows: list[dict[str, Any]] = []

    def measured() -> Iterator[list[Any]]:
        for setting in options.set or [""]:
            segmenter = load(options.config, setting, options.device)
            block = measure(segmenter, scenes, options.batch, sorted(options.at), options.precision)
            enough = next(row["iterations"] for row in block if row["pair"] >= 0.98 * block[-1]["pair"])
            rows.extend({"config": options.config, "setting": setting, "98_percent_after": enough, **row} for row in block)
            for row in block:
                yield [setting or "as configured", row["iterations"], *(f"{row[c]:.3f}" for c in COLUMNS), enough]

    print(machine(options.device))
    print_table(HEAD, measured())
    write_json(options.output, machine=machine(options.device), rows=rows)


if __name__ == "__main__":
    main()
