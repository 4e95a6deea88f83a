"""Makes the README's pictures: `python docs/pictures.py`, on the embedded teacher and the bundled scene."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from torchvision.utils import save_image

import peekaboo
from peekaboo.data.images import read_image
from peekaboo.data.masks import read_mask
from peekaboo.functional.compositing import composite
from peekaboo.results.drawing import checkerboard
from peekaboo.results.files import overlay
from peekaboo.results.result import Result

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "peekaboo" / "assets" / "examples"
IMAGES = ROOT / "docs" / "images"
SCENE = EXAMPLES / "apple_and_bear.png"
PROMPTS = {"a red apple": EXAMPLES / "apple_mask.png", "a teddy bear": EXAMPLES / "bear_mask.png"}
VARIANTS = ("raster", "clip", "fourier", "fourier_bilateral", "rgb_bilateral", "depth_bilateral")


def cutout(result: Result) -> torch.Tensor:
    """The image over a checkerboard, where alpha lets it through."""
    return composite(result.image, checkerboard(*result.alpha.shape), result.alpha)


def run(config: str) -> list[Result]:
    """Segments both objects of the scene."""
    segmenter = peekaboo.load(config)
    truth = read_mask(PROMPTS["a red apple"]).foreground
    first, second = peekaboo.segment(str(SCENE), list(PROMPTS), segmenter, mask=truth)
    return [first, second]


def main() -> None:
    """Writes first.png, a picture for each variant, and the figures beside them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", default=VARIANTS)
    place = IMAGES / "figures.json"
    figures = json.loads(place.read_text())
    for name in parser.parse_args().variants:
        apple, bear = run(name)
        second = replace(bear, target=read_mask(PROMPTS["a teddy bear"]).foreground)
        figures[name] = {
            "a red apple": round(apple.iou, 3),
            "a teddy bear": round(second.iou, 3),
            "seconds": apple.record["seconds"],
        }
        print(name, figures[name], flush=True)
        row = [apple.alpha.expand(3, -1, -1), overlay(apple.image, apple.mask[None].float()), cutout(bear)]
        save_image(row, IMAGES / f"{name}.png", nrow=len(row), padding=4, pad_value=1)
        if name == "rgb_bilateral":
            scene = read_image(SCENE)
            save_image(
                [scene, overlay(scene, apple.mask[None].float()), cutout(apple), cutout(bear)],
                IMAGES / "first.png",
                nrow=4,
                padding=4,
                pad_value=1,
            )
    place.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
