"""What a finished mask is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..functional.masks import iou, otsu_threshold
from ..functional.pieces import box, largest_share, polygons
from ..functional.run_lengths import encode
from .drawing import label_of, outlined, side_by_side, to_picture
from .finish import SPECK, Finish

Threshold = float | Literal["otsu"]
FULL = 0.99  # share of an image beyond which a mask sets nothing apart


def is_empty(mask: Tensor) -> bool:
    """Whether a mask (H, W) shows nothing: no piece of it covers :data:`SPECK` of the image, however many there are."""
    return float(mask.float().mean()) < SPECK or largest_share(mask.cpu().numpy()) < SPECK


def fixed_threshold(threshold: Threshold) -> float:
    """Returns the threshold for masks on their way: 0.5 instead of Otsu's, which would move with them."""
    return 0.5 if threshold == "otsu" else float(threshold)


@dataclass(frozen=True, repr=False)
class Result:
    """One segmented (image, prompt) pair, at the image's own size.

    Attributes:
        image: (3, H, W) in [0, 1].
        prompt: what was segmented.
        alpha: (H, W) in [0, 1].
        threshold: that made the mask of the alpha.
        threshold_method: ``fixed`` or ``otsu``.
        target: (H, W) bool ground truth, or None.
        ignore: (H, W) bool, pixels that do not count, or None.
        frames: (T, h, w) in [0, 1], the alpha on its way, or None.
        record: what else is known of the run: iterations, seconds, seed, ...
        finish: what is done to the alpha for the cut-out, and to the mask for what is exported.
    """

    image: Tensor
    prompt: str
    alpha: Tensor
    threshold: float
    threshold_method: str
    target: Tensor | None = None
    ignore: Tensor | None = None
    frames: Tensor | None = None
    record: dict[str, Any] = field(default_factory=dict)
    finish: Finish = field(default_factory=Finish)

    @property
    def mask(self) -> Tensor:
        """(H, W) bool: alpha above the threshold."""
        return self.alpha > self.threshold

    @property
    def area(self) -> float:
        """Share of the image that the mask covers, in [0, 1]."""
        return float(self.mask.double().mean())

    @cached_property
    def empty(self) -> bool:
        """Whether nothing was found: see :func:`is_empty`."""
        return is_empty(self.mask)

    @property
    def full(self) -> bool:
        """Whether nothing was set apart: the mask covers more than 99 % of the image."""
        return self.area > FULL

    @property
    def iou(self) -> float | None:
        """Intersection over union of the mask with the ground truth; None without one."""
        return self.iou_at(self.threshold)

    def iou_at(self, threshold: float) -> float | None:
        """The same at another threshold."""
        if self.target is None:
            return None
        ignore = None if self.ignore is None else self.ignore[None]
        return float(iou((self.alpha > threshold)[None], self.target[None], ignore))

    @property
    def scale(self) -> float:
        """How many times as large as it was optimised the alpha is; 1 where nobody says."""
        resolution = self.record.get("resolution")
        shorter = self.record.get("framing") == "crop"
        return 1.0 if not resolution else (min if shorter else max)(self.alpha.shape) / resolution

    @property
    def otsu(self) -> float:
        """Otsu's threshold of the alpha, whether the mask uses it or not."""
        return float(otsu_threshold(self.alpha[None]))

    @property
    def shape(self) -> Tensor:
        """(H, W) bool: the mask with pieces dropped and holes filled as ``finish`` asks; box, rle and polygons are its."""
        return self.finish.shape(self.mask)

    @cached_property
    def cutout_tensor(self) -> Tensor:
        """(4, H, W) in [0, 1]: the cut-out's colours and opacity; see :class:`peekaboo.results.finish.Finish`."""
        return self.finish.cut_out(self.image, self.alpha, self.threshold, self.scale)

    @property
    def cutout(self) -> Image.Image:
        """The object alone, RGBA."""
        return to_picture(self.cutout_tensor)

    @property
    def overlay(self) -> Image.Image:
        """The image with the shape outlined, tinted and labelled."""
        return outlined(self.image, [self.shape], [label_of(self)])

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of the shape in pixels; None of an empty one."""
        return box(self.shape.numpy())

    @property
    def rle(self) -> dict[str, Any]:
        """The shape in COCO's compressed run lengths, ``{"size": [H, W], "counts": str}``; needs pycocotools."""
        return encode(self.shape.numpy())

    @property
    def polygons(self) -> list[NDArray[np.float64]]:
        """(P, 2) points x, y in pixels around each piece of the shape, exactly; a hole is a part of its piece's."""
        return polygons(self.shape.numpy())

    def finished(self, **changes: Any) -> Result:
        """Returns the same result with another finish: ``result.finished(cutout="hard", largest=True).cutout``.

        Raises:
            ValueError: for a value that means nothing.
        """
        return replace(self, finish=replace(self.finish, **changes))

    def tidied(self) -> Result:
        """Returns the result whose mask is this one's ``shape``: what the finish drops and fills is dropped and filled in the
        alpha itself, so that every picture and every file shows it.
        """
        alpha = self.finish.pieces(self.alpha, self.threshold)
        done = replace(self.finish, largest=False, fill_holes=False, min_area=0.0)
        return replace(self, alpha=alpha, finish=done, record={**self.record, "finish": asdict(self.finish)})

    def show(self) -> None:
        """Opens image, overlay and cut-out in the system's viewer."""
        side_by_side(self).show(title=self.prompt)

    def save(self, path: str | Path) -> Path:
        """Writes all files into a folder (see :func:`peekaboo.results.files.save_result`), or the cut-out alone.

        Args:
            path: of a folder; or of the cut-out, if it ends in ``.png`` or ``.webp``.

        Returns:
            The path.

        Raises:
            OSError: if it cannot be written.
        """
        from .files import save_result
        from .writing import write_picture

        target = Path(path)
        if target.suffix.lower() not in (".png", ".webp") or target.is_dir():
            return save_result(self, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_picture(target, self.cutout)
        return target

    def __repr__(self) -> str:
        height, width = self.alpha.shape
        iou = "" if self.iou is None else f", IoU {self.iou:.3f}"
        iterations = f", {self.record['iterations']} iterations" if "iterations" in self.record else ""
        seconds = f", {self.record['seconds']:.1f} s" if "seconds" in self.record else ""
        return f"Result({self.prompt!r}, {width}x{height}, {self.area:.1%} of the image{iou}{iterations}{seconds})"

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        content = BytesIO()
        side_by_side(self).save(content, "png")
        return content.getvalue()

    def summary(self, folder: Path, iterations: int) -> list[str]:
        """Returns the lines that end a run of at most so many iterations; see :func:`peekaboo.results.summary.summary`."""
        from .summary import summary

        return summary(self, folder, iterations)


def make_result(image: Tensor, prompt: str, alpha: Tensor, threshold: Threshold, **rest: Any) -> Result:
    """Builds a :class:`Result`, finding the threshold where it is ``otsu``."""
    if threshold == "otsu":
        return Result(image, prompt, alpha, float(otsu_threshold(alpha[None])), "otsu", **rest)
    return Result(image, prompt, alpha, float(threshold), "fixed", **rest)
