"""Checkpoints of a fit: reading one that a user gave, and making one that a trainer goes on from wherever it was written."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from ..data.checks import user_path
from ..identity import differences

PROGRESS = "progress"  # the key of what this program keeps in a trainer's checkpoint


def find_checkpoint(given: str | Path) -> Path:
    """Returns the file of a checkpoint, once it has been read from its first byte to its last.

    Args:
        given: as the user wrote it, ``~`` included.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is a folder, broken, or no checkpoint of a fit.
    """
    path = user_path(given)
    if path.is_dir():
        inside = sorted(path.rglob("*.ckpt"))
        hint = f"; give the file, e.g. {str(inside[-1])!r}" if inside else ", with no checkpoint in it"
        raise ValueError(f"ckpt_path: expected a checkpoint file, got the folder {str(given)!r}{hint}")
    if not path.is_file():  # nor an address: a checkpoint is not downloaded
        raise FileNotFoundError(f"ckpt_path: expected a checkpoint file, got {str(given)!r}, which does not exist")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, BadZipFile) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(
            f"ckpt_path: expected a checkpoint of a fit, got {str(given)!r}, which is cut off, broken or something else "
            f"({reason[:120]})"
        ) from None
    if not isinstance(found, dict) or PROGRESS not in found or "loops" not in found:
        raise ValueError(f"ckpt_path: expected a checkpoint of a fit, got {str(given)!r}, which is of something else")
    return path


def check_same(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Makes sure that a checkpoint is of the masks that are to go on.

    Args:
        then, now: image, prompts and set-up of the checkpoint and of the run, as plain values.

    Raises:
        ValueError: if anything differs, with what does.
    """
    if changes := differences(then, now):
        raise ValueError(f"ckpt_path: expected a checkpoint of this image, prompt and set-up, got one of others: {changes}")


def go_on_after(checkpoint: dict[str, Any], batches: int) -> None:
    """Makes a trainer go on in the middle of its epoch, whatever it was doing when the checkpoint was written.

    A fit is one epoch. A checkpoint of its end says that all is done, one that was written behind a step that the step is not,
    and one from within a step that it has begun; here they all become: so many batches are done, and more may come.

    Args:
        checkpoint: Lightning's, changed in place.
        batches: that are done.
    """
    loops = checkpoint["loops"]["fit_loop"]
    epoch = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    done = {"ready": batches, "started": batches, "processed": batches, "completed": batches}
    loops["epoch_progress"] |= {"total": epoch, "current": dict(epoch)}
    loops["epoch_loop.batch_progress"] |= {"total": done, "current": dict(done), "is_last_batch": False}
