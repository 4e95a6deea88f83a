"""What the records of a run say of it: its parts by name, its memory."""

from __future__ import annotations

import hashlib
import shlex
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from .. import __version__
from ..alphas.base import Alpha
from ..guides.base import Guide
from ..losses.base import Loss
from ..teachers.base import Frozen


def describe(module: torch.nn.Module) -> str:
    """Names a composed module by its classes: ``Bilateral(Raster, Depth)``."""
    parts = [describe(child) for child in module.children() if isinstance(child, torch.nn.Module) and _is_ours(child)]
    return type(module).__name__ + (f"({', '.join(parts)})" if parts else "")


def _is_ours(module: torch.nn.Module) -> bool:
    return isinstance(module, Alpha | Guide | Loss | Frozen)


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MiB: of the run's tensors on a GPU, of the process elsewhere."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if sys.platform == "win32":
        return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def record_of(alpha: torch.nn.Module, loss: Loss, device: torch.device, seconds: float, iterations: int) -> dict[str, Any]:
    """What a run was made of and what it cost, for ``result.json``.

    Args:
        alpha, loss: its parts.
        device: where it ran.
        seconds: that it took, for ``iterations``.
    """
    return {
        "variant": describe(alpha),
        "teacher": loss.teacher_name,
        "loss": describe(loss),
        "seconds": round(seconds, 3),
        "seconds_per_iteration": round(seconds / max(iterations, 1), 5),
        "peak_memory_mb": peak_memory_mb(device),
        "device": str(device),
    }


def command() -> str:
    """Returns the command line of this process as it can be pasted again."""
    called = Path(sys.argv[0])
    module = called.name == "__main__.py" and called.parent.name == "peekaboo"
    start = ["python", "-m", "peekaboo"] if module else ["peekaboo"] if called.stem == "peekaboo" else ["python", sys.argv[0]]
    return shlex.join([*start, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Returns the versions of what decides a result; ``code`` stands for the state of this program's own files."""
    found = {"code": _code(), "peekaboo": __version__}
    for name in ("torch", "lightning", "diffusers", "transformers"):
        found[name] = version(name)
    return found


@cache
def _code() -> str:
    """A digest of the package's Python files; a checkout changes more often than its version."""
    root, digest = Path(__file__).resolve().parent.parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:12]
