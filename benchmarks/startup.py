"""Seconds from the command line to the first iteration, and to the end of a run of one iteration.

    python benchmarks/startup.py
    python benchmarks/startup.py --config depth_bilateral.yaml --repeats 5

Every run is a process of its own, `python cli.py fit --config NAME.yaml --model.iterations 1`, with a callback that notes the
time before the first iteration. One more run counts the imports by package, with Python's `-X importtime`, which slows them.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lightning import Callback

HERE = Path(__file__).resolve().parent
SHOWN = 8  # packages


class FirstStep(Callback):
    """Says when the first iteration begins."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            print(f"first iteration: {time.time()}", file=sys.stderr, flush=True)


def start(config: str, *python: str) -> tuple[float, float, str]:
    """Runs one fit of one iteration: seconds to the iteration, to the end, and what the process said on stderr."""
    places = [str(HERE), os.environ.get("PYTHONPATH", "")]
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--config", config, "--model.iterations", "1", "--trainer.callbacks", "startup.FirstStep"]
        command = [sys.executable, *python, str(HERE.parent / "cli.py"), "fit", *arguments, "--trainer.default_root_dir", folder]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
        begin = time.time()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        end = time.time()
    first = re.search(r"first iteration: (\S+)", done.stderr)
    if done.returncode or first is None:
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return float(first[1]) - begin, end - begin, done.stderr


def import_seconds(stderr: str) -> Counter[str]:
    """Seconds of `-X importtime`'s "self" column, by package."""
    packages: Counter[str] = Counter()
    for own, name in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)", stderr, flags=re.MULTILINE):
        packages[name.split(".")[0]] += int(own)
    return Counter({name: microseconds / 1e6 for name, microseconds in packages.items()})


def main() -> None:
    from common import machine, print_table, write_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rgb_bilateral.yaml")
    parser.add_argument("--repeats", type=int, default=5, help="runs, after one that fills the file cache and does not count")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    print(machine())
    start(options.config)
    runs = [start(options.config)[:2] for _ in range(options.repeats)]
    names = ["to the first iteration", "to the end"]
    figures = {name: [run[i] for run in runs] for i, name in enumerate(names)}
    table = [[name, statistics.median(values), min(values), max(values)] for name, values in figures.items()]
    print_table(["seconds", "median", "least", "most"], table)
    packages = import_seconds(start(options.config, "-X", "importtime")[2])
    print()
    print_table(["imports of", "s"], [["all", sum(packages.values())], *packages.most_common(SHOWN)])
    write_json(options.output, machine=machine(), config=options.config, seconds=figures, imports=dict(packages))


if __name__ == "__main__":
    main()
