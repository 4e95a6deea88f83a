"""The bilateral filter, forward and backward, against its plain form and against kornia's, iterated.

    python benchmarks/bilateral.py
    python benchmarks/bilateral.py --sides 256 512 --device cuda

"ours" makes an error of at most 0.002, as the variants do, and so applies the weights 20 times for 40 passes; "plain" is 40
passes of 9 shifted products that autograd records; "kornia" is `joint_bilateral_blur`, 3 x 3, as often, which computes the
weights anew in each pass; it runs in full up to ``--kornia-side``, beyond which its passes fill the memory. "kept" are the
bytes that the forward pass keeps for the backward one, weights included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import kept_bytes, machine, median_seconds_in_turn, print_table, write_json
from kornia.filters import joint_bilateral_blur
from reference import plain_filter
from torch import Tensor

from peekaboo.functional.bilateral import bilateral_filter, bilateral_weights, pad_weights

SIGMA_SPACE, TOLERANCE = 5.0, 0.08
FORMS = ("ours", "ours, all passes", "ours, compiled", "plain", "kornia")


def forms(guide: Tensor, passes: int, error: float) -> dict[str, Callable[[Tensor], Tensor]]:
    """The forms of one filter, ready for the guide."""
    weights = bilateral_weights(guide, 3, SIGMA_SPACE, TOLERANCE)
    padded = pad_weights(weights)

    def kornia(x: Tensor) -> Tensor:
        for _ in range(passes):
            x = joint_bilateral_blur(x, guide, 3, TOLERANCE, (SIGMA_SPACE, SIGMA_SPACE), color_distance_type="l2")
        return x

    return {
        "ours": lambda x: bilateral_filter(x, padded, passes, error=error),
        "ours, all passes": lambda x: bilateral_filter(x, padded, passes),
        "ours, compiled": lambda x: bilateral_filter(x, padded, passes, compiled=True, error=error),
        "plain": lambda x: plain_filter(x, weights, passes),
        "kornia": kornia,
    }


def forward_backward(run: Callable[[], Tensor]) -> None:
    run().sum().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--passes", type=int, default=40)
    parser.add_argument("--error", type=float, default=0.002, help="that ours may make, as the variants do, but for `all passes`")
    parser.add_argument("--kornia-side", type=int, default=512, help="largest side at which kornia is timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    print(machine(options.device))
    rows: list[dict[str, Any]] = []

    def measured() -> Any:
        for side in options.sides:
            generator = torch.Generator().manual_seed(0)
            guide = torch.rand(1, 3, side, side, generator=generator).to(options.device)
            x = torch.randn(1, 1, side, side, generator=generator).to(options.device).requires_grad_()
            names = [name for name in FORMS if name != "kornia" or side <= options.kornia_side]
            runs = [partial(forms(guide, options.passes, options.error)[name], x) for name in names]
            forward = median_seconds_in_turn(runs, options.device, options.repeats, 1)
            both = median_seconds_in_turn([partial(forward_backward, run) for run in runs], options.device, options.repeats, 1)
            own = []
            for i, name in enumerate(names):
                row = {"side": side, "form": name, "forward_ms": 1000 * forward[i]}
                own.append(row | {"both_ms": 1000 * both[i], "kept_mb": kept_bytes(runs[i]) / 2**20})
            rows.extend(own)
            ours = own[0]["both_ms"]
            for row in own:
                row["slower_than_ours"] = row["both_ms"] / ours
                yield [side, row["form"], row["forward_ms"], row["both_ms"], row["kept_mb"], row["slower_than_ours"]]

    head = ["side", "form", "forward ms", "forward + backward ms", "kept MB", "time against ours"]
    print_table(head, measured())
    write_json(options.output, machine=machine(options.device), passes=options.passes, rows=rows)


if __name__ == "__main__":
    main()
