"""What can be asked of the page, how much of it, and what is said of anything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..data.checks import check_text
from ..data.images import decode, to_rgb
from ..functional.framing import resize
from ..optimisation.segmenter import Segmenter
from ..results.drawing import PALETTE

MAX_PIXELS = 50_000_000  # of an upload, before it is made smaller


@dataclass(frozen=True)
class Limits:
    """How much one person may ask for.

    Attributes:
        max_side: pixels; larger images are made smaller.
        max_iterations: of an optimisation.
        max_waiting: people whose jobs wait for their turn.
        max_upload: bytes of an image file.

    Raises:
        ValueError: for a value that means nothing.
    """

    max_side: int = 1024
    max_iterations: int = 400
    max_waiting: int = 8
    max_upload: int = 32 * 2**20

    def __post_init__(self) -> None:
        for argument, least in (("max_side", 16), ("max_iterations", 1), ("max_waiting", 1), ("max_upload", 1)):
            if getattr(self, argument) < least:
                raise ValueError(f"{argument}: expected at least {least}, got {getattr(self, argument)}")


@dataclass(frozen=True)
class Offer:
    """What there is to choose from.

    Attributes:
        variants: names of configs, each with a line about it; the first is chosen.
        teachers: names; the first is chosen.
        load: builds the segmenter of a variant and a teacher.
        iterations: that a variant has with a teacher.
        explain: puts what was asked wrongly into one line; None for a mistake of the program.
    """

    variants: dict[str, str]
    teachers: tuple[str, ...]
    load: Callable[[str, str], Segmenter]
    iterations: Callable[[str, str], int]
    explain: Callable[[Exception], str | None]


@dataclass(frozen=True)
class Wish:
    """What one person asked for, checked.

    Attributes:
        image: (3, H, W) in [0, 1].
        before: its width and height before it was made smaller; None where it was not.
        prompts: a mask for each.
        variant, teacher: of those that are offered.
        iterations: at most.
        seed: of everything random.
    """

    image: Tensor
    before: tuple[int, int] | None
    prompts: list[str]
    variant: str
    teacher: str
    iterations: int
    seed: int


def wish(
    image: str | None, words: str, variant: str, teacher: str, iterations: float, seed: float, offer: Offer, limits: Limits
) -> Wish:
    """Checks what was asked for, whoever sent it.

    Args:
        image: the file that was uploaded.
        words: prompts, one a line.
        variant, teacher, iterations, seed: see :class:`Wish`.
        offer: what may be chosen.
        limits: how much may be asked for.

    Raises:
        ValueError: in one line, which names no path of this machine.
    """
    if image is None:
        raise ValueError("image: expected one, got none; drop one on the page, or click an example")
    prompts = list(dict.fromkeys(check_text(line, "prompt") for line in words.splitlines() if line.strip()))
    if not prompts:
        raise ValueError('prompt: expected what to look for, got none; say it: "a red apple"')
    if len(prompts) > len(PALETTE):
        raise ValueError(f"prompt: expected at most {len(PALETTE)}, one a line, got {len(prompts)}")
    for argument, value, known in (("variant", variant, offer.variants), ("teacher", teacher, offer.teachers)):
        if value not in known:
            raise ValueError(f"{argument}: expected one of {', '.join(known)}, got {str(value)[:80]!r}")
    numbers = (("iterations", iterations, 1, limits.max_iterations), ("seed", seed, 0, 2**31))
    for name, number, least, most in numbers:
        if number is None or not least <= number <= most or number != int(number):
            raise ValueError(f"{name}: expected a whole number from {least} to {most}, got {number}")
    picture, before = _read(Path(image), limits)
    return Wish(picture, before, prompts, variant, teacher, int(iterations), int(seed))


def _read(file: Path, limits: Limits) -> tuple[Tensor, tuple[int, int] | None]:
    """Reads an upload, and makes it as small as it has to be."""
    name = repr(file.name)
    try:
        with file.open("rb") as content:
            picture = to_rgb(decode(content, "image", name, max_pixels=MAX_PIXELS), "image", name)
    except OSError:
        raise ValueError("image: expected one that was uploaded, got one that is gone; drop it on the page again") from None
    height, width = picture.shape[-2:]
    small = shrunk(picture, limits.max_side)
    return small, None if small is picture else (width, height)


def shrunk(image: Tensor, side: int) -> Tensor:
    """Returns an image (3, H, W) whose longer side is at most so many pixels."""
    scale = side / max(image.shape[-2:])
    if scale >= 1:
        return image
    size = (max(round(image.shape[-2] * scale), 1), max(round(image.shape[-1] * scale), 1))
    return resize(image[None], size)[0].clamp(0, 1)
