"""What `fit` segments: one image, its prompts, and the ground truth if there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .base import Sample
from .images import read_image, read_mask
from .manifest import require_foreground

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Input:
    """One image and what to segment in it. Its parts belong together: a mask is of this image and of this prompt.

    Args:
        image: file to segment.
        prompt: what to segment in it; several give several masks in one run.
        mask: file with the ground truth of the (first) prompt, only to report IoU.

    An empty image or mask is none.
    """

    image: str | None = None
    prompt: str | list[str] | None = None
    mask: str | None = None

    def pairs(self) -> list[Sample]:
        """Reads the files: one (image, prompt) pair a prompt.

        Raises:
            ValueError, FileNotFoundError: for an image, a mask or a prompt that is wrong or missing.
        """
        if not self.image or self.prompt is None:
            raise ValueError("image, prompt: expected both for `fit`, e.g. `--model.image dog.jpg --model.prompt 'a dog'`")
        prompts = [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)
        if not prompts or any(not prompt.strip() for prompt in prompts):
            raise ValueError(f"prompt: expected some words, got {self.prompt!r}")
        image = read_image(bundled(self.image))
        mask = None
        if self.mask:
            mask = read_mask(bundled(self.mask), (image.shape[1], image.shape[2]))
            require_foreground(mask, f"mask {self.mask!r}")
        truths = [mask] + [None] * (len(prompts) - 1)
        pairs = enumerate(zip(prompts, truths, strict=True))
        return [Sample(str(i), image, prompt, truth, source=self.image) for i, (prompt, truth) in pairs]

    def over(self, before: Input | None) -> Input:
        """Returns this input with what it leaves open taken from another: a mask only where image and prompt are the other's.

        >>> Input(prompt="a bear").over(Input("a.png", "an apple", "apple.png"))
        Input(image='a.png', prompt='a bear', mask=None)
        """
        if before is None:
            return self
        same = self.image is None and self.prompt is None  # an empty text is a change, too
        return Input(
            before.image if self.image is None else self.image,
            before.prompt if self.prompt is None else self.prompt,
            before.mask if self.mask is None and same else self.mask,
        )


def bundled(path: str) -> Path:
    """Finds the examples of the configs also where the project is not the working directory."""
    return ROOT / path if path.startswith("peekaboo/assets/") and not Path(path).exists() else Path(path)
