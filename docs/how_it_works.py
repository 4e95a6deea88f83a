"""Makes the picture of docs/how_it_works.md, one optimisation step by step: `python docs/how_it_works.py`."""

from __future__ import annotations

import torch
from pictures import IMAGES, SCENE
from torchvision.utils import save_image

import peekaboo
from peekaboo.data.base import Sample
from peekaboo.data.images import read_image
from peekaboo.functional.compositing import composite
from peekaboo.functional.random import Draws
from peekaboo.results.files import overlay

PROMPT = "a teddy bear"
STEPS = (1, 5, 10, 15, 20, 30)


def main() -> None:
    """Writes optimisation.png: a column a step; what the teacher judged, alpha, and the mask over the image."""
    segmenter = peekaboo.load("rgb_bilateral", settled=None, iterations=60)
    columns = []

    def look(step: int) -> None:
        if step in STEPS:
            run = segmenter.running
            draws = Draws(run.seeds, step - 1, run.settings.iterations, 0, run.device, "step")
            with torch.no_grad():
                alpha = run.opacity()
                seen = composite(run.images, segmenter.objective.background(run.images, draws.of("background")), alpha)
                columns.append((seen[0], alpha[0].expand(3, -1, -1), overlay(run.images, (alpha > 0.5).float())[0]))

    segmenter.segment([Sample("0", read_image(SCENE), PROMPT)], [0], report=look)
    rows = [picture for row in zip(*columns, strict=True) for picture in row]
    save_image([picture.cpu() for picture in rows], IMAGES / "optimisation.png", nrow=len(columns), padding=3, pad_value=1)
    print("iterations:", ", ".join(map(str, STEPS)))


if __name__ == "__main__":
    main()
