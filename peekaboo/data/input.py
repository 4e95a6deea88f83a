"""What `fit` is given: one image, its prompts, and the ground truth if there is one; or prompts alone, of images to make."""

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
    """One image and what to segment in it, or what to generate. Its parts belong together: a mask is of this image and prompt.

    Args:
        image: file to segment.
        prompt: what to segment in it, or to generate; several give several masks, or images, in one run.
        mask: file with the ground truth of the (first) prompt, only to report IoU.
        foreground: what of the mask is the object, where it could be more than one thing: an index, ``bright`` or ``opaque``;
            see :func:`peekaboo.data.masks.read_mask`.
        scene: what a generated image shows together with its background, where that is generated, too; one for each prompt.

    An empty image, mask or scene is none.
    """

    image: str | None = None
    prompt: str | list[str] | None = None
    mask: str | None = None
    foreground: int | str | None = None
    scene: str | list[str] | None = None

    def pairs(self) -> list[Sample]:
        """Reads the files: one (image, prompt) pair a prompt.

        Raises:
            ValueError, FileNotFoundError: for an image, a mask or a prompt that is wrong or missing.
        """
        if not self.image:
            raise ValueError("image, prompt: expected both for `fit`, e.g. `--model.image dog.jpg --model.prompt 'a dog'`")
        file = bundled(self.image)
        image = read_image(file)  # first: a wrong name is a nearer mistake than a prompt that is missing
        if self.prompt is None:
            raise ValueError(f"prompt: expected what to segment in {self.image!r}, got none; say it: --model.prompt 'a dog'")
        if self.scene:
            raise ValueError(f"scene: expected none for an image that is given, got {self.scene!r}")
        prompts = _texts(self.prompt, "prompt")
        pair = Sample("0", image, prompts[0], source=printable(file), content=content_of([file]))
        pairs = [replace(pair, id=str(i), prompt=prompt) for i, prompt in enumerate(prompts)]
        if self.mask:
            foreground = check_foreground(None if self.foreground == "" else self.foreground)
            truth = read_mask(bundled(self.mask), (image.shape[1], image.shape[2]), "mask", foreground)
            pairs[0] = replace(pairs[0], mask=truth.foreground, ignore=truth.void)
        return pairs

    def wishes(self) -> tuple[list[str], list[str] | None]:
        """Returns the prompts of images to generate, and those of their scenes, or None.

        Raises:
            ValueError: for a prompt or a scene that is wrong or missing, and for what belongs to an image that is given.
        """
        if extra := [part for part in ("image", "mask", "foreground") if getattr(self, part) not in (None, "")]:
            raise ValueError(f"{', '.join(extra)}: expected none for an image that is generated, got {getattr(self, extra[0])!r}")
        if self.prompt is None:
            raise ValueError("prompt: expected one for `fit`, e.g. `--model.prompt 'a rocket'`, got none")
        prompts = _texts(self.prompt, "prompt")
        if not self.scene:
            return prompts, None
        scenes = _texts(self.scene, "scene")
        if len(scenes) != len(prompts):
            raise ValueError(f"scene: expected one for each of {len(prompts)} prompts, got {len(scenes)}")
        return prompts, scenes

    def over(self, before: Input | None) -> Input:
        """Returns this input with what it leaves open taken from another, of which a prompt is of its image, and a mask of both.

        >>> Input(prompt="a bear").over(Input("a.png", "an apple", "apple.png"))
        Input(image='a.png', prompt='a bear', mask=None, foreground=None, scene=None)
        >>> Input("b.png").over(Input("a.png", "an apple", "apple.png"))
        Input(image='b.png', prompt=None, mask=None, foreground=None, scene=None)
        """
        if before is None:
            return self
        same = self.image is None and self.prompt is None and self.mask is None  # an empty text is a change, too
        of_another = bool(self.image and before.image) and self.image != before.image
        prompt = None if of_another else before.prompt
        return Input(
            before.image if self.image is None else self.image,
            prompt if self.prompt is None else self.prompt,
            before.mask if same else self.mask,
            before.foreground if same and self.foreground is None else self.foreground,
            before.scene if same and self.scene is None else self.scene,
        )


def _texts(given: str | list[str], argument: str) -> list[str]:
    """One text or several as a list.

    Raises:
        ValueError: where one has no words, or is no text.
    """
    texts = [given] if isinstance(given, str) else list(given)
    if not texts or any(not text.strip() for text in texts):
        raise ValueError(f"{argument}: expected some words, got {given!r}")
    return [check_unicode(text, argument) for text in texts]


def bundled(path: str) -> Path:
    """Finds the examples of the configs also where the project is not the working directory; ``~`` is the home folder."""
    return ROOT / path if path.startswith("peekaboo/assets/") and not Path(path).exists() else user_path(path)
