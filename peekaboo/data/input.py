"""What `fit` segments: one image, its prompts, and the ground truth if there is one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .base import Sample
from .checks import check_unicode, user_path
from .content import content_of, printable
from .images import read_image
from .masks import check_foreground, read_mask

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Input:
    """One image and what to segment in it. Its parts belong together: a mask is of this image and of this prompt.

    Args:
        image: file to segment.
        prompt: what to segment in it; several give several masks in one run.
        mask: file with the ground truth of the (first) prompt, only to report IoU.
        foreground: what of the mask is the object, where it could be more than one thing: an index, ``bright`` or ``opaque``;
            see :func:`peekaboo.data.masks.read_mask`.

    An empty image or mask is none.
    """

    image: str | None = None
    prompt: str | list[str] | None = None
    mask: str | None = None
    foreground: int | str | None = None

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
        for prompt in prompts:
            check_unicode(prompt, "prompt")
        file = bundled(self.image)
        image = read_image(file)
        pair = Sample("0", image, prompts[0], source=printable(file), content=content_of([file]))
        pairs = [replace(pair, id=str(i), prompt=prompt) for i, prompt in enumerate(prompts)]
        if self.mask:
            foreground = check_foreground(None if self.foreground == "" else self.foreground)
            truth = read_mask(bundled(self.mask), (image.shape[1], image.shape[2]), "mask", foreground)
            pairs[0] = replace(pairs[0], mask=truth.foreground, ignore=truth.void)
        return pairs

    def over(self, before: Input | None) -> Input:
        """Returns this input with what it leaves open taken from another: a mask only where image and prompt are the other's.

        >>> Input(prompt="a bear").over(Input("a.png", "an apple", "apple.png"))
        Input(image='a.png', prompt='a bear', mask=None, foreground=None)
        """
        if before is None:
            return self
        same = self.image is None and self.prompt is None and self.mask is None  # an empty text is a change, too
        return Input(
            before.image if self.image is None else self.image,
            before.prompt if self.prompt is None else self.prompt,
            before.mask if same else self.mask,
            before.foreground if same and self.foreground is None else self.foreground,
        )


def bundled(path: str) -> Path:
    """Finds the examples of the configs also where the project is not the working directory; ``~`` is the home folder."""
    return ROOT / path if path.startswith("peekaboo/assets/") and not Path(path).exists() else user_path(path)
