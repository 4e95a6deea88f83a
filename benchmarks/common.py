"""What the benchmarks share: the clock, memory, the machine's description, tables and JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import peekaboo
from peekaboo.data.base import Sample
from peekaboo.data.benchmark import Scenes
from peekaboo.optimisation.segmenter import Segmenter


def machine(device: str = "cpu") -> dict[str, Any]:
    """Describes what a timing was taken on."""
    about = {"cpu": _cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if device.startswith("cuda"):
        about |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return about


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def synchronise(device: str | torch.device) -> None:
    """Waits until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(run: Callable[[], Any], device: str | torch.device, repeats: int, warmup: int = 2) -> float:
    """Median wall-clock seconds of ``run`` over ``repeats``, after ``warmup`` runs that do not count."""
    return median_seconds_in_turn([run], device, repeats, warmup, turn=repeats)[0]


def median_seconds_in_turn(
    runs: Sequence[Callable[[], Any]], device: str | torch.device, repeats: int, warmup: int = 2, turn: int = 5
) -> list[float]:
    """The same of several, which take turns, so that a slow moment of the machine meets all of them.

    Args:
        runs: what to time.
        device: that they run on.
        repeats: of each.
        warmup: runs before, and behind each change of turns, that do not count.
        turn: runs of one before the next one's turn.
    """
    taken: list[list[float]] = [[] for _ in runs]
    while any(len(own) < repeats for own in taken):
        for run, own in zip(runs, taken, strict=True):
            for _ in range(warmup):
                run()
            synchronise(device)
            for _ in range(min(turn, repeats - len(own))):
                start = time.perf_counter()
                run()
                synchronise(device)
                own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in taken]


def matrix_rate(device: str | torch.device, dtype: torch.dtype, repeats: int = 20) -> float:
    """Operations a second of a square matrix product: what the device can do at most, for limits of the same run."""
    side = 4096 if torch.device(device).type == "cuda" else 1024
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    return 2 * side**3 / median_seconds(lambda: a @ b, device, repeats)


def reset_peak_memory(device: str | torch.device) -> None:
    """Forgets the peak so far, where the device can; a process's resident memory only ever has one peak."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def kept_bytes(run: Callable[[], Any]) -> int:
    """Bytes of distinct storage that autograd keeps from the forward pass of ``run``."""
    storages: dict[int, int] = {}
    held = []  # or an address could be used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storages.values())


def load(config: str, settings: str = "", device: str | None = None) -> Segmenter:
    """Loads a config with ``argument=value,...`` changed, as ``loss.guidance=7.5,penalty=0.2``."""
    overrides = dict(item.split("=", 1) for item in settings.split(",") if item)
    named: dict[str, Any] = {key.replace(".", "__"): value for key, value in overrides.items()}
    return peekaboo.load(config, device=device, **{"confidence": False, **named})  # masks alone are timed


def tuning_scenes(single: int, pair: int) -> list[Sample]:
    """The first scenes of the tuning seed, never the benchmark's."""
    data = Scenes({"single": single, "pair": pair}, "tuning")
    return [data.load(i) for i in range(len(data))]


def print_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints a Markdown table, each row as soon as it is there."""
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|", flush=True)
    for row in rows:
        print("| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row) + " |", flush=True)


def write_json(path: Path | None, **content: Any) -> None:
    """Writes what was measured, if a path was given."""
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n")
