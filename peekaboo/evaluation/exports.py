"""Masks of a run in the files that other programs open: COCO, YOLO segmentation, labelme."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..functional.pieces import Mask, box, polygons
from ..functional.run_lengths import encode
from ..results.finish import Finish
from ..results.writing import write_json, write_text
from .folder import RunFolder

LABELME = "5.5.0"  # the version of labelme whose files these are


@dataclass(frozen=True)
class Photograph:
    """One image of a run, with the samples that are of it.

    Attributes:
        name: of the file, below the folder that all images of the run share; the id of the sample where it has no file.
        source: the file, or None.
        rows: of its samples, one for each prompt.
    """

    name: str
    source: str | None
    rows: list[dict[str, Any]]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.name if self.source is None else str(Path(self.name).with_suffix(""))


@dataclass(frozen=True)
class Exports:
    """Writes the masks of a run's folder for other programs.

    Args:
        folder: with the masks.
        rows: of the run's samples.
        finish: which pieces of the masks to keep.
        tolerance: pixels that polygons may be off by, for fewer points.
    """

    folder: RunFolder
    rows: list[dict[str, Any]]
    finish: Finish
    tolerance: float = 0.0

    def photographs(self) -> list[Photograph]:
        """Returns the images, in order; names that differ by their suffix alone keep it twice, so that stems are unique."""
        done = [row for row in self.rows if row["error"] is None]
        by_file: dict[str, list[dict[str, Any]]] = {}
        for row in done:
            by_file.setdefault(row["source"] or f"id:{row['id']}", []).append(row)
        files = [os.path.abspath(file) for file in by_file if not file.startswith("id:")]
        root = os.path.commonpath([os.path.dirname(file) for file in files]) if files else ""
        found = []
        for key, rows in by_file.items():
            source = rows[0]["source"]
            name = rows[0]["id"] if source is None else Path(os.path.relpath(os.path.abspath(key), root)).as_posix()
            found.append(Photograph(name, source, rows))
        return found

    def categories(self) -> dict[str, int]:
        """Returns the prompts, numbered from 0."""
        return {prompt: i for i, prompt in enumerate(dict.fromkeys(row["prompt"] for row in self.rows if row["error"] is None))}

    def mask(self, row: dict[str, Any]) -> Mask:
        """Reads the mask of a sample, with its pieces as the finish has them."""
        return self.finish.shape(self.folder.mask(row["id"])).numpy()

    def write(self, names: Iterable[str]) -> None:
        """Writes some of :data:`FORMATS`."""
        for name in names:
            FORMATS[name](self)

    def _polygons(self, row: dict[str, Any]) -> list[list[list[float]]]:
        return [loop.tolist() for loop in polygons(self.mask(row), self.tolerance)]

    def coco(self, kind: str) -> Path:
        """Writes ``coco_<kind>.json``: every image with its file's name, every prompt a category.

        ``pycocotools.coco.COCO(path)`` reads it, and its ``annToMask`` gives the masks back.

        Args:
            kind: ``rle`` or ``polygons``; an empty mask has no polygons, and no annotation there.
        """
        categories = self.categories()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, photograph in enumerate(self.photographs(), 1):
            first = photograph.rows[0]
            size = {"height": first["height"], "width": first["width"]}
            images.append({"id": number, "file_name": photograph.name, **size, "source": photograph.source})
            for row in photograph.rows:
                mask = self.mask(row)
                rings = None if kind == "rle" else [loop.ravel().tolist() for loop in polygons(mask, self.tolerance)]
                if rings == []:
                    continue
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": categories[row["prompt"]] + 1,
                        "segmentation": encode(mask) if rings is None else rings,
                        "area": int(mask.sum()),
                        "bbox": [float(side) for side in box(mask) or (0, 0, 0, 0)],
                        "iscrowd": 0,
                        "sample": row["id"],
                    }
                )
        named = [{"id": number + 1, "name": prompt} for prompt, number in categories.items()]
        content = {"info": {"description": "masks made by peekaboo"}, "images": images, "annotations": annotations}
        target = self.folder.path / f"coco_{kind}.json"
        write_json(target, {**content, "categories": named}, indent=None)
        return target

    def yolo(self) -> Path:
        """Writes ``yolo/`` as Ultralytics reads it: ``labels/<name>.txt``, ``images/`` with links to the files, ``data.yaml``.

        A line is a piece: the number of its prompt, and x and y of its points, as shares of width and height.
        """
        root, categories = self.folder.path / "yolo", self.categories()
        for photograph, stem in self._stems():
            lines = []
            for row in photograph.rows:
                for loop in polygons(self.mask(row), self.tolerance):
                    shares = (loop / (row["width"], row["height"])).ravel()
                    lines.append(" ".join([str(categories[row["prompt"]]), *(f"{value:.7g}" for value in shares)]))
            target = root / "labels" / f"{stem}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_text(target, "".join(f"{line}\n" for line in lines))
            if photograph.source is not None:
                _link(Path(photograph.source), root / "images" / f"{stem}{Path(photograph.source).suffix}")
        root.mkdir(exist_ok=True)
        names = {number: prompt for prompt, number in categories.items()}
        about = {"path": str(root.resolve()), "train": "images", "val": "images", "names": names}
        write_text(root / "data.yaml", yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
        return root

    def labelme(self) -> Path:
        """Writes ``labelme/<name>.json``, which labelme opens with the image beside it: a polygon for each piece."""
        root = self.folder.path / "labelme"
        for photograph, stem in self._stems():
            first = photograph.rows[0]
            target = root / f"{stem}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            image = "" if photograph.source is None else os.path.relpath(photograph.source, target.parent)
            shapes = [
                {
                    "label": row["prompt"],
                    "points": points,
                    "group_id": number,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
                for number, row in enumerate(photograph.rows)
                for points in self._polygons(row)
            ]
            content: dict[str, Any] = {"version": LABELME, "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None}
            write_json(target, {**content, "imageHeight": first["height"], "imageWidth": first["width"]})
        return root

    def _stems(self) -> Iterator[tuple[Photograph, str]]:
        """Yields each image with a name for its files that no other has: ``a.jpg`` and ``a.png`` become ``a_jpg``, ``a_png``."""
        found = self.photographs()
        stems = [photograph.stem for photograph in found]
        for photograph, stem in zip(found, stems, strict=True):
            alone = stems.count(stem) == 1
            yield photograph, stem if alone else f"{stem}_{Path(photograph.name).suffix.lstrip('.')}"


#: What there is to write, by the name that asks for it.
FORMATS: dict[str, Callable[[Exports], Path]] = {
    "coco_rle": lambda exports: exports.coco("rle"),
    "coco_polygons": lambda exports: exports.coco("polygons"),
    "yolo": Exports.yolo,
    "labelme": Exports.labelme,
}


def _link(source: Path, target: Path) -> None:
    """Puts a file at another place, without a copy where the file system has links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
