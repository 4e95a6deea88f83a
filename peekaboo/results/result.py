"""What a finished mask is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..functional.masks import iou, otsu_threshold

Threshold = float | Literal["otsu"]


def fixed_threshold(threshold: Threshold) -> float:
    """Returns the threshold for masks on their way: 0.5 instead of Otsu's, which would move with them."""
    return 0.5 if threshold == "otsu" else float(threshold)


@dataclass(frozen=True)
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

    @property
    def mask(self) -> Tensor:
        """(H, W) bool: alpha above the threshold."""
        return self.alpha > self.threshold

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
    def otsu(self) -> float:
        """Otsu's threshold of the alpha, whether the mask uses it or not."""
        return float(otsu_threshold(self.alpha[None]))

    def save(self, folder: str | Path) -> Path:
        """Writes mask, alpha, cut-out, overlay, time-lapse and ``result.json``; see :func:`save_result`."""
        from .files import save_result

        return save_result(self, Path(folder))

    def summary(self, folder: Path) -> str:
        """Returns the line that ends a run."""
        record = self.record
        quality = "" if self.iou is None else f", IoU {self.iou:.3f}"
        sure = f", confidence {record['confidence']:.2f}" if record.get("confidence") is not None else ""
        covers = f"mask covers {float(self.mask.float().mean()):.1%}"
        if record.get("rejected"):
            covers = f"mask is empty, below min_confidence {record['min_confidence']}"
        return (
            f"{self.prompt!r}: {record['iterations']} iterations in {record['seconds']:.1f} s, "
            f"{covers}{quality}{sure}; pictures in {folder}"
        )


def make_result(image: Tensor, prompt: str, alpha: Tensor, threshold: Threshold, **rest: Any) -> Result:
    """Builds a :class:`Result`, finding the threshold where it is ``otsu``."""
    if threshold == "otsu":
        return Result(image, prompt, alpha, float(otsu_threshold(alpha[None])), "otsu", **rest)
    return Result(image, prompt, alpha, float(threshold), "fixed", **rest)
