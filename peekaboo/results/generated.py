"""What a generated image with transparency is, and its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.backgrounds import paint_background
from ..functional.compositing import composite
from ..functional.edges import spread_colours
from ..functional.framing import resize
from .drawing import checkerboard, to_picture
from .files import to_16_bit
from .summary import shown
from .writing import write_json, write_picture, write_timelapse

FRAME_SIDE = 128  # of a time-lapse
PHOTOGRAPH_SEED = 4
HALF = (0.05, 0.95)  # between these a pixel is half transparent


@dataclass(frozen=True)
class Generated:
    """One image that was learned with its alpha.

    Attributes:
        image: (3, H, W) in [0, 1], as it was learned.
        alpha: (H, W) in [0, 1].
        prompt: what it shows.
        frames: (T, 4, h, w) in [0, 1], image and alpha on their way, or None.
        ground: (3, H, W) in [0, 1], the background that was learned with it, or None.
        scene: prompt of the image over that background, or None.
        record: what else is known of the run: iterations, seconds, seed, ...
    """

    image: Tensor
    alpha: Tensor
    prompt: str
    frames: Tensor | None = None
    ground: Tensor | None = None
    scene: str | None = None
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def rgba(self) -> Tensor:
        """(4, H, W) in [0, 1]: straight alpha, the colours at its edge the object's own; see :func:`spread_colours`."""
        alpha = self.alpha[None, None]
        return torch.cat([spread_colours(self.image[None], alpha), alpha], 1)[0]

    def over(self, ground: Tensor) -> Tensor:
        """Returns the image over a background, (3, H, W), that broadcasts to it."""
        return over(self.rgba, ground)

    def describe(self) -> dict[str, Any]:
        """Returns what ``result.json`` holds."""
        own = {"prompt": self.prompt} if self.scene is None else {"prompt": self.prompt, "scene": self.scene}
        shape = {"area": self.area, "half_transparent": half_transparent(self.alpha)}
        return {**self.record, **own, **shape, "mean_alpha": float(self.alpha.mean())}

    @property
    def area(self) -> float:
        """Share of the image that is more opaque than not, in [0, 1]."""
        return float((self.alpha > 0.5).double().mean())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see: no pixel is half opaque."""
        return self.area == 0

    def summary(self, folder: Path, iterations: int) -> list[str]:
        """Returns the lines that end a run: what it shows, what it took, and which file to open."""
        record = self.record
        made = f"nothing made for {self.prompt!r}: the image is transparent" if self.empty else f"made {self.prompt!r}"
        took = f"seed {record['seed']}, {record['iterations']} of {iterations} iterations, {record['seconds']:.1f} s"
        return [f"{made}, alpha covers {self.area:.1%}", took, shown(folder / "image.png")]

    def save(self, folder: str | Path) -> Path:
        """Writes the files.

        ``image.png`` is the image with its alpha (RGBA, straight); ``on_checkerboard.png``, ``on_black.png``, ``on_white.png``
        and ``on_photograph.png`` show it over those; ``alpha.png`` has 16 bits; ``timelapse.gif`` the way there; ``result.json``
        says what was run. With a learned background there are ``foreground.png``, ``background.png`` and ``composite.png``, too.

        Raises:
            OSError: if it cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_picture(folder / "image.png", to_picture(self.rgba))
        write_picture(folder / "alpha.png", to_16_bit(self.alpha))
        for name, ground in grounds(self.alpha.shape[-2], self.alpha.shape[-1]).items():
            write_picture(folder / f"on_{name}.png", to_picture(self.over(ground)))
        if self.ground is not None:
            write_picture(folder / "foreground.png", to_picture(self.image))
            write_picture(folder / "background.png", to_picture(self.ground))
            write_picture(folder / "composite.png", to_picture(over(torch.cat([self.image, self.alpha[None]]), self.ground)))
        if self.frames is not None and len(self.frames):
            write_timelapse(folder / "timelapse.gif", [to_picture(frame) for frame in lapse(self.frames)])
        write_json(folder / "result.json", self.describe())
        return folder


def over(rgba: Tensor, ground: Tensor) -> Tensor:
    """Lays an image of four channels (4, H, W) over a background (3, H, W) that broadcasts to it."""
    return composite(rgba[None, :3], ground[None], rgba[None, 3:])[0]


def grounds(height: int, width: int) -> dict[str, Tensor]:
    """What transparent pictures are shown over, by name: each broadcasts to (3, height, width)."""
    side = max(height, width)
    return {
        "checkerboard": checkerboard(height, width, max(side // 16, 1)),
        "black": torch.zeros(3, 1, 1),
        "white": torch.ones(3, 1, 1),
        "photograph": photograph(side, PHOTOGRAPH_SEED)[:, :height, :width],
    }


def photograph(side: int, seed: int) -> Tensor:
    """Paints a ground that looks like a photograph's: (3, side, side) in [0, 1]."""
    painted = paint_background("photo", side, np.random.default_rng(seed))
    return torch.from_numpy(painted.copy()).permute(2, 0, 1)


def half_transparent(alpha: Tensor) -> float:
    """Share of an alpha (H, W) that is neither opaque nor transparent, in [0, 1]."""
    return float(((alpha > HALF[0]) & (alpha < HALF[1])).float().mean())


def lapse(frames: Tensor) -> list[Tensor]:
    """Shows the frames (T, 4, h, w) of a time-lapse over a checkerboard, at most 128 pixels wide."""
    height, width = frames.shape[-2:]
    scale = min(FRAME_SIDE / max(height, width), 1)
    small = resize(frames, (max(round(height * scale), 1), max(round(width * scale), 1)))
    board = checkerboard(small.shape[-2], small.shape[-1])
    return [over(frame, board) for frame in small]


def generation_pictures(image: Tensor, alpha: Tensor, ground: Tensor | None) -> dict[str, Tensor]:
    """Returns what there is to see of images on their way: ``image``, ``alpha``, ``composite/<ground>``, and ``background``.

    Args:
        image: (N, 3, H, W) in [0, 1].
        alpha: (N, 1, H, W) in [0, 1].
        ground: (N, 3, H, W) in [0, 1] of learned backgrounds, or None.
    """
    shown = {"image": image, "alpha": alpha}
    for name, one in grounds(image.shape[-2], image.shape[-1]).items():
        shown[f"composite/{name}"] = composite(image, one.to(image.device), alpha)
    return shown if ground is None else {**shown, "background": ground, "composite/scene": composite(image, ground, alpha)}
