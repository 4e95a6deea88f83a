"""Seconds and peak memory of one iteration, split into its parts, beside the reference's in the same run.

    python benchmarks/iteration.py --pairs 1 4 16
    python benchmarks/iteration.py --set loss.teacher.compile=true
    python benchmarks/stable_diffusion_14.py sd14 && python benchmarks/iteration.py --teacher sd14 --side 256 --device cuda

Each row's iterations take turns with the reference's, so that a slow moment of the machine meets both: its ratio is of these two.
``--apart`` times the reference once, before all rows, and lets it go: for a teacher that does not fit into the memory twice.

"alpha" is the field, the filter and the sigmoid; "encode" the autoencoder's encoder; "backward" all of the way back: encoder,
composite and filter; "optimiser" the gradient's guard and the optimiser; "rest" compositing, noise and all that is left. The
parts are timed in iterations of their own, with a wait for the device behind each part; "ms" is of iterations without it. "kept"
is what autograd keeps for the way back; "peak" is of the GPU's memory, or of the process, all rows before included. "x limit" is
against the time that the teacher's products and convolutions, counted by PyTorch, would take at the rate of one large matrix
product in the same precision and run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from common import (
    kept_bytes,
    load,
    machine,
    matrix_rate,
    median_seconds,
    median_seconds_in_turn,
    print_table,
    reset_peak_memory,
    synchronise,
    tuning_scenes,
    write_json,
)
from reference import Reference
from torch.utils.flop_counter import FlopCounterMode

from peekaboo.data.base import Sample
from peekaboo.functional.framing import frame
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.results.records import peak_memory_mb
from peekaboo.teachers.base import locate

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
PARTS = ["alpha", "encode", "U-Net", "rest", "backward", "optimiser"]


def precision(name: str, device: str) -> AbstractContextManager[Any]:
    """The trainer's precision as `Optimisation.terms` sees it."""
    dtype = PRECISIONS[name]
    return nullcontext() if dtype is None else torch.autocast(device.split(":")[0], dtype)


class Loop:
    """The iteration of `Segmenter.segment`, one call at a time, whose parts can be timed."""

    def __init__(self, segmenter: Segmenter, pairs: list[Sample], precision_name: str) -> None:
        self.segmenter, self.precision, self.device = segmenter, precision_name, str(segmenter.device)
        self.running = segmenter.begin(pairs, list(range(len(pairs))))
        self.optimiser = segmenter.make_optimizer(self.running.parameters())
        self.taken: dict[str, float] | None = None
        self.step_number = 0
        teacher = segmenter.objective.loss.teacher
        segmenter.alpha.forward = self._timed("alpha", segmenter.alpha.forward)
        teacher.encode = self._timed("encode", teacher.encode)
        teacher.predict_noise = self._timed("U-Net", teacher.predict_noise)

    def _timed(self, part: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            if self.taken is None:
                return run(*args, **options)
            synchronise(self.device)
            start = time.perf_counter()
            out = run(*args, **options)
            synchronise(self.device)
            self.taken[part] += time.perf_counter() - start
            return out

        return wrapped

    def step(self) -> None:
        total = self._timed("terms", self.forward)()
        self._timed("backward", total.backward)()
        self._timed("optimiser", self._optimise)()
        self.step_number = (self.step_number + 1) % self.segmenter.iterations

    def forward(self) -> torch.Tensor:
        with precision(self.precision, self.device):
            return self.running.terms(self.step_number)["total"].sum()

    def _optimise(self) -> None:
        self.running.after_backward()
        self.running.before_step()
        self.optimiser.step()
        self.running.after_step()
        self.optimiser.zero_grad()

    def operations(self) -> int:
        """Floating-point operations of one iteration's products and convolutions, forth and back; uncompiled, to be counted."""
        teacher = self.segmenter.objective.loss.teacher
        networks = [patch.object(network, "_on_cpu", None) for network in (teacher._denoiser, teacher._encoder)]
        with networks[0], networks[1], torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
            self.step()
        return counter.get_total_flops()

    def split(self, repeats: int) -> dict[str, float]:
        """Median milliseconds of each part."""
        rows = []
        for _ in range(repeats):
            self.taken = defaultdict(float)
            self.step()
            self.taken["rest"] = self.taken["terms"] - self.taken["alpha"] - self.taken["encode"] - self.taken["U-Net"]
            rows.append(self.taken)
        self.taken = None
        return {part: 1000 * statistics.median(row[part] for row in rows) for part in PARTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rgb_bilateral")
    parser.add_argument("--set", action="append", default=[], help="argument=value,... of the config; one block of rows each")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--teacher", default="embedded", help="`embedded` or a StableDiffusionPipeline folder")
    parser.add_argument("--side", type=int, default=128, help="of the alpha, in pixels; the published is 256")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed", choices=list(PRECISIONS))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--apart", action="store_true", help="time the reference once, before all others")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()

    source = locate(options.teacher, "teacher", "model_index.json")
    pairs = tuning_scenes(0, max(options.pairs))
    rate = matrix_rate(options.device, PRECISIONS[options.precision] or torch.float32)
    about = machine(options.device) | {"matrix_gflop_s": round(rate / 1e9)}
    print(about)
    image = frame(pairs[0].image, options.side, "stretch")[None]

    def make_reference() -> Reference:
        return Reference(source, image, pairs[0].prompt, options.device)

    reset_peak_memory(options.device)
    reference = make_reference()
    first = median_seconds(reference.step, options.device, options.repeats)
    reference_mb, reference_kept_mb = peak_memory_mb(torch.device(options.device)), kept_bytes(reference.forward) / 2**20
    del reference
    rows: list[dict[str, Any]] = []

    def measured() -> Any:
        yield ["reference", 1, 1000 * first, 1000 * first, *[""] * len(PARTS), reference_kept_mb, reference_mb, "", 1.0, ""]
        for setting in options.set or [""]:
            changes = ",".join(filter(None, [setting, f"resolution={options.side}", f"loss.teacher.path={options.teacher}"]))
            segmenter = load(options.config, changes, options.device)
            for count in options.pairs:
                torch._dynamo.reset()  # as in a process of its own: after another batch size it would compile for any
                loop = Loop(segmenter, pairs[:count], options.precision)
                if options.apart:
                    plain, seconds = first, median_seconds(loop.step, options.device, options.repeats)
                else:
                    both = [make_reference().step, loop.step]
                    plain, seconds = median_seconds_in_turn(both, options.device, options.repeats)
                    del both
                reset_peak_memory(options.device)
                row = {"setting": setting or "as configured", "pairs": count, "ms": 1000 * seconds}
                row |= {"ms_a_pair": 1000 * seconds / count, "split_ms": loop.split(options.repeats)}
                row |= {"kept_mb": kept_bytes(loop.forward) / 2**20, "peak_mb": peak_memory_mb(torch.device(options.device))}
                row |= {
                    "reference_ms": 1000 * plain,
                    "times_reference": plain * count / seconds,
                    "gflop": loop.operations() / 1e9,
                }
                row |= {"times_limit": seconds * rate / (1e9 * row["gflop"])}
                rows.append(row)
                split = [row["split_ms"][part] for part in PARTS]
                yield [
                    row["setting"],
                    count,
                    row["ms"],
                    row["ms_a_pair"],
                    *split,
                    row["kept_mb"],
                    row["peak_mb"],
                    row["reference_ms"],
                    row["times_reference"],
                    row["times_limit"],
                ]

    print_table(
        ["setting", "pairs", "ms", "ms a pair", *PARTS, "kept MB", "peak MB", "reference", "x reference a pair", "x limit"],
        measured(),
    )
    write_json(
        options.output,
        machine=about,
        arguments={key: str(value) for key, value in vars(options).items()},
        reference={"ms": 1000 * first, "kept_mb": reference_kept_mb, "peak_mb": reference_mb},
        rows=rows,
    )


if __name__ == "__main__":
    main()
