"""Masks an hour against the batch size, and against one and two processes.

    python benchmarks/scaling.py --batches 1 2 4 8 16 32 --processes 1 2

Every process takes its share of the cores. A few iterations are timed, all processes at once, behind a common start; masks an
hour are of as many iterations as the config has. Loading and compiling are not counted.
"""

from __future__ import annotations

import argparse
import os
import queue
import time
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as multiprocessing
from common import load, machine, print_table, synchronise, tuning_scenes, write_json
from iteration import PRECISIONS, Loop


def work(options: argparse.Namespace, processes: int, batch: int, barrier: Any, results: Any) -> None:
    """One process: reports its iterations a second and the iterations of a mask."""
    torch.set_num_threads(max((os.cpu_count() or 1) // processes, 1))
    segmenter = load(options.config, options.set, options.device)
    loop = Loop(segmenter, tuning_scenes(0, batch), options.precision)
    for _ in range(2):
        loop.step()
    synchronise(options.device)
    barrier.wait()
    start = time.perf_counter()
    for _ in range(options.iterations):
        loop.step()
    synchronise(options.device)
    results.put((options.iterations / (time.perf_counter() - start), segmenter.iterations))
    barrier.wait()  # none lets go of the cores while another still counts


def rates_of(options: argparse.Namespace, processes: int, batch: int) -> list[tuple[float, int]]:
    """Of each process: iterations a second, all at work side by side, and the iterations of a mask."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=work, args=(options, processes, batch, barrier, results)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    rates: list[tuple[float, int]] = []
    while len(rates) < processes:
        try:
            rates.append(results.get(timeout=1))
        except queue.Empty:
            if any(worker.exitcode for worker in workers):  # the others would wait for it for ever
                for worker in workers:
                    worker.kill()
                raise SystemExit("scaling: a process failed, see above") from None
    for worker in workers:
        worker.join()
    return rates


def masks_an_hour(rates: list[tuple[float, int]], batch: int) -> float:
    """What processes that finish ``batch`` masks at a time make together."""
    return sum(3600 * batch * rate / iterations for rate, iterations in rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rgb_bilateral")
    parser.add_argument("--set", default="", help="argument=value,... of the config")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--iterations", type=int, default=10, help="that are timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed", choices=list(PRECISIONS))
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    print(machine(options.device))
    rows: list[dict[str, Any]] = []

    def measured() -> Any:
        for processes in options.processes:
            for batch in options.batches:
                made = masks_an_hour(rates_of(options, processes, batch), batch)
                row = {"processes": processes, "batch": batch, "masks_an_hour": made}
                row["times_first"] = row["masks_an_hour"] / (rows[0]["masks_an_hour"] if rows else row["masks_an_hour"])
                rows.append(row)
                yield [processes, batch, row["masks_an_hour"], row["times_first"]]

    print_table(["processes", "batch", "masks an hour", "against the first row"], measured())
    arguments = {key: str(value) for key, value in vars(options).items()}
    write_json(options.output, machine=machine(options.device), arguments=arguments, rows=rows)


if __name__ == "__main__":
    main()
