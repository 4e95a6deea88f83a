"""How much faster than the published loop, and by what: each of lower precision and the approximate filter alone, and together.

    python benchmarks/alike.py
    python benchmarks/alike.py --teacher sd14 --side 256 --device cuda

Every row does what the reference does: one pair, one noise sample, a 3 x 3 filter of 40 passes, guidance, penalty. "alike" is
alike in all else, too: float32, all 40 passes, nothing compiled. "bf16" runs the teacher's networks in bfloat16, "20 of 40" sums
the filter's passes up to an error of 0.002 with half as many, "compiled" compiles teacher and filter. Each row takes turns with
the reference, so that a slow moment of the machine meets both; "spread" is the smallest and the largest ratio of several rounds.
A precision that the processor would only emulate is not measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from common import load, machine, median_seconds_in_turn, print_table, tuning_scenes, write_json
from iteration import Loop
from reference import Reference

from peekaboo.evaluation.batching import usable_precision
from peekaboo.functional.framing import frame
from peekaboo.teachers.base import locate

#: The reference's filter and draws, whatever the variant has.
ALIKE = "alpha.kernel=3,alpha.dilation=1,alpha.gap_passes=0,alpha.passes=40,loss.noise_samples=1,settled=null"
ROWS = {
    "alike": ("32-true", 0.0, False),
    "20 of 40": ("32-true", 0.002, False),
    "bf16": ("bf16-mixed", 0.0, False),
    "bf16, 20 of 40": ("bf16-mixed", 0.002, False),
    "compiled": ("32-true", 0.0, True),
    "compiled, 20 of 40": ("32-true", 0.002, True),
    "compiled, bf16": ("bf16-mixed", 0.0, True),
    "compiled, bf16, 20 of 40": ("bf16-mixed", 0.002, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="embedded", help="`embedded` or a StableDiffusionPipeline folder")
    parser.add_argument("--side", type=int, default=128, help="of the alpha, in pixels; the published is 256")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15, help="iterations of each in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()

    pair = tuning_scenes(0, 1)
    image = frame(pair[0].image, options.side, "stretch")[None]
    reference = Reference(locate(options.teacher, "teacher", "model_index.json"), image, pair[0].prompt, options.device)
    about = machine(options.device)
    print(about)
    rows: list[dict[str, Any]] = []

    def measured() -> Iterator[list[Any]]:
        for name in options.rows:
            precision, error, compiled = ROWS[name]
            if usable_precision(precision, options.device) != precision:
                yield [name, *["not measured"] * 4]
                continue
            changes = f"{ALIKE},alpha.error={error},resolution={options.side},loss.teacher.path={options.teacher}"
            changes += f",loss.teacher.compile={str(compiled).lower()},alpha.compile={str(compiled).lower()}"
            torch._dynamo.reset()
            loop = Loop(load("rgb_bilateral", changes, options.device), pair, precision)
            both = [reference.step, loop.step]
            rounds = [median_seconds_in_turn(both, options.device, options.repeats) for _ in range(options.rounds)]
            ratios = sorted(plain / ours for plain, ours in rounds)
            plain, ours = sorted(rounds, key=lambda own: own[0] / own[1])[len(rounds) // 2]
            rows.append({"row": name, "ms": 1000 * ours, "reference_ms": 1000 * plain, "ratios": ratios})
            yield [name, 1000 * plain, 1000 * ours, plain / ours, f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]

    print_table(["row", "reference ms", "ms", "times as fast", "spread"], measured())
    write_json(options.output, machine=about, arguments={k: str(v) for k, v in vars(options).items()}, rows=rows)


if __name__ == "__main__":
    main()
