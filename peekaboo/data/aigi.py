"""AIGI: the AI-generated images on which LD-ZNet is evaluated.

"LD-ZNet: A Latent Diffusion Approach for Text-Based Image Segmentation", PNVR et al., ICCV 2023, arXiv 2303.12343.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .base import Sample, SampleData, Samples
from .checks import check_text, read_json, require, user_path
from .images import read_image
from .masks import check_foreground, read_mask
from .names import slug, stem, unique

LAYOUT = 'images and masks with an annotations.json {image: [{"prompt": ..., "mask": ...}]}'
SOURCE = "get AIGI through the LD-ZNet project (github.com/koutilya-pnvr/LD-ZNet) and write that file for it"


class AIGISamples(Samples):
    """Every prompt of every image, in the order of the annotations."""

    def __init__(self, root: str | Path, annotations: str) -> None:
        self.root = require(user_path(root), "root", LAYOUT, SOURCE)
        file = require(self.root / annotations, "annotations", LAYOUT, SOURCE)
        content = read_json(file, "annotations")
        if not isinstance(content, dict) or not all(isinstance(labels, list) for labels in content.values()):
            raise ValueError(f"annotations: expected {LAYOUT}, got something else in {str(file)!r}")
        self.items: list[tuple[str, Any]] = [(image, label) for image, labels in content.items() for label in labels]
        if not self.items:
            raise ValueError(f"annotations: expected at least one image with a prompt in {str(file)!r}, got none")
        for image, label in self.items:
            if not isinstance(label, dict) or not {"prompt", "mask"} <= set(label):
                raise ValueError(f"annotations: expected 'prompt' and 'mask' for {image!r} in {str(file)!r}, got no such")
        names = (f"{slug(stem(image))}-{slug(str(label['prompt']))}" for image, label in self.items)
        self.ids = unique(names, self.items)

    def files(self, index: int) -> list[Path]:
        name, label = self.items[index]
        return [self.root / name, self.root / str(label["mask"])]

    def annotation(self, index: int) -> Any:
        return self.items[index][1]

    def load(self, index: int) -> Sample:
        name, label = self.items[index]
        prompt = check_text(label["prompt"], f"annotations: 'prompt' of {name!r}")
        path = check_text(label["mask"], f"annotations: 'mask' of {name!r}")
        image = read_image(self.root / name, "annotations")
        foreground = check_foreground(label.get("foreground"), f"annotations: 'foreground' of {name!r}")
        mask = read_mask(self.root / path, (image.shape[1], image.shape[2]), "annotations", foreground)
        return Sample(self.ids[index], image, prompt, mask.foreground, mask.void)


class AIGIData(SampleData):
    """AIGI: 100 AI-generated images from lexica.art and 214 objects with categorical captions.

    Known: those numbers, and that the images and their labels lie in a shared folder that the LD-ZNet project names. How
    the folder is organised is said nowhere that we could read, and LD-ZNet's code has no loader for it. So the layout is
    ours, and needs one JSON file to be written next to the download: ``annotations.json`` maps an image's path to its
    objects, ``{"castle.png": [{"prompt": "castle", "mask": "masks/castle_0.png"}]}``, with paths relative to ``root`` and
    masks as large as their image; ``"foreground": 3`` says what of a mask is the object, where
    :func:`peekaboo.data.masks.read_mask` asks for it.

    Args:
        root: the folder.
        annotations: the JSON file, relative to ``root``.
        batch_size: pairs that are optimised side by side.
        limit: use only that many samples, evenly spread; None for all.
        num_workers: processes that read images.
    """

    def __init__(
        self,
        root: str = "data/AIGI",
        annotations: str = "annotations.json",
        batch_size: int = 8,
        limit: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        self.root, self.annotations = root, annotations

    def samples(self) -> AIGISamples:
        return AIGISamples(self.root, self.annotations)
