"""The folder of one evaluation: a small JSON file for every finished sample, and what says whose they are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..identity import differences, undeclared
from ..results.lock import RunLock, is_alive
from ..results.writing import PARTIAL, host, is_whole_png, write_json, write_picture, write_text

COUNTS = ("intersection", "union")  # of a row's scores, over thresholds
TOTALS = ("positives", "pixels")  # of a row's scores, which rows of older versions lack: those samples are done again
PICTURES = ("masks", "alphas", "cutouts")


def file_name(name: str) -> str:
    """Returns a sample's id as a file name; with percent signs where the file system's encoding has not all its letters."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return quote(name, safe=" ", errors="surrogatepass")
    return name


class RunFolder:
    """Where an evaluation keeps what it has.

    Args:
        path: of the folder.
        identity: what decides the results, as nested dicts of plain values.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path, self.rows, self.identity = path, path / "samples", identity
        self.lock = RunLock(path, "evaluation.folder")

    def check(self) -> None:
        """Makes sure that the folder is new, or holds this very run.

        Raises:
            ValueError: if it holds another one, with what differs; if the identity has something in it that is not plain.
        """
        if vague := undeclared(self.identity):
            raise ValueError(
                f"{vague[0]}: expected an argument that can be written down (numbers, text, tensors, parts of this program, "
                "named functions), so that the same run is known again"
            )
        then = self._identity_of()
        if then is not None and (changes := differences(then, self.identity)):
            raise ValueError(
                f"evaluation.folder: expected a new folder or one of this configuration, got {str(self.path)!r} with another: "
                f"{changes}"
            )

    def _identity_of(self) -> dict[str, Any] | None:
        """Reads the identity of the run that has the folder; None for a new folder."""
        file = self.path / "run.json"
        if not file.is_file():
            if self.rows.is_dir() and any(self.rows.glob("*.json")):
                raise ValueError(
                    f"evaluation.folder: expected a folder of this program, got {str(self.path)!r} with samples but no run.json"
                )
            return None
        try:
            found = json.loads(file.read_text(encoding="utf-8"))["identity"]
        except (ValueError, KeyError, TypeError):
            found = None
        if not isinstance(found, dict):
            raise ValueError(
                f"evaluation.folder: expected a folder of this program, got {str(self.path)!r}, whose run.json is broken or "
                "another's"
            )
        return found

    def open(self, about: dict[str, Any], config: str | None) -> None:
        """Makes the folder, takes it for this process and says whose it is; on one rank only.

        Args:
            about: what else ``run.json`` tells.
            config: YAML that repeats the run.

        Raises:
            ValueError: if another process is working in it, or it is another run's.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock.acquire()
        try:
            self.check()  # again, now that nobody else writes it
            self.rows.mkdir(exist_ok=True)
            write_json(self.path / "run.json", {**about, "identity": self.identity})
            if config is not None:
                write_text(self.path / "config.yaml", config)
            self._sweep()
        except BaseException:
            self.lock.release()
            raise

    def close(self) -> None:
        """Lets other processes work in it."""
        self.lock.release()

    def _sweep(self) -> None:
        """Removes what writers of this program that are dead have left half-written; nothing else, and no other's."""
        for folder in (self.path, self.rows, *(self.path / kind for kind in PICTURES)):
            for file in folder.iterdir() if folder.is_dir() else ():
                writer = PARTIAL.fullmatch(file.name)
                if writer and not (writer["host"] == host() and is_alive(int(writer["process"]))):
                    file.unlink(missing_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Keeps the row of a sample; call it when everything else about the sample is written."""
        write_json(self._row_file(row["id"]), row, indent=None)

    def forget(self, name: str) -> None:
        """Makes a sample unfinished."""
        self._row_file(name).unlink(missing_ok=True)

    def row(self, name: str) -> dict[str, Any] | None:
        """Returns the row of a sample, or None if it has not finished."""
        try:
            row = json.loads(self._row_file(name).read_text(encoding="utf-8"))
            for key in COUNTS if row["scores"] else ():
                row["scores"][key] = np.array(row["scores"][key], dtype=np.int64)  # a tenth of the memory of a list
            for key in TOTALS if row["scores"] else ():
                row["scores"][key] = int(row["scores"][key])
            return row if row["id"] == name and "error" in row else None
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # broken by something else than us: do the sample again
            return None

    def _row_file(self, name: str) -> Path:
        return self.rows / f"{file_name(name)}.json"

    def all(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Returns the rows of the finished samples among some, in their order."""
        return [row for row in map(self.row, ids) if row is not None]

    def good(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Returns the rows of the samples among some that finished without an error."""
        return [row for row in self.all(ids) if row["error"] is None]

    def has_pictures(self, row: dict[str, Any], kinds: Iterable[str]) -> bool:
        """Whether all pictures that a finished sample should have are there, whole, and of its size."""
        return all(is_whole_png(self.picture(kind, row["id"]), (row["width"], row["height"])) for kind in kinds)

    def picture(self, kind: str, name: str) -> Path:
        """Returns the place of a sample's picture of one of the :data:`PICTURES`."""
        return self.path / kind / f"{file_name(name)}.png"

    def mask(self, name: str) -> Tensor:
        """Reads a sample's mask, (H, W) bool."""
        with Image.open(self.picture("masks", name)) as picture:
            return torch.from_numpy(np.array(picture) > 127)

    def alpha(self, name: str) -> Tensor:
        """Reads a sample's alpha, (H, W) float32 in [0, 1]."""
        with Image.open(self.picture("alphas", name)) as picture:
            return torch.from_numpy(np.array(picture).astype(np.float32)) / 65535

    def save_picture(self, kind: str, name: str, picture: Image.Image) -> None:
        """Writes ``<kind>/<name>.png``."""
        target = self.picture(kind, name)
        target.parent.mkdir(exist_ok=True)
        write_picture(target, picture)
