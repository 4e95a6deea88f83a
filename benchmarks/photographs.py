"""How often scenes of the embedded world, and photographs of yours, are taken for photographs.

    python benchmarks/photographs.py
    python benchmarks/photographs.py FOLDER --first 60 --count 40

Prints the share over the threshold for each set of looks, and the score of each file; see
`peekaboo.teachers.familiarity.photograph_score`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from common import print_table

from peekaboo.data.benchmark import LOOK_SETS, Scenes
from peekaboo.data.images import read_image
from peekaboo.data.listing import Listing
from peekaboo.functional.framing import frame
from peekaboo.teachers.familiarity import LEAST, SIDE, photograph_score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="photographs, or drawings")
    parser.add_argument("--first", type=int, default=0, help="scene of each kind to begin at")
    parser.add_argument("--count", type=int, default=20, help="scenes of each kind and each set of looks")
    options = parser.parse_args()
    rows = []
    for looks in LOOK_SETS:
        data = Scenes({"single": options.first + options.count, "pair": options.first + options.count}, looks=(looks,))
        chosen = [i for i, name in enumerate(data.ids) if int(name.rpartition("-")[2]) >= options.first]
        scores = photograph_score(torch.stack([frame(data.load(i).image, SIDE) for i in chosen]))
        rows.append([looks, len(chosen), float((scores > LEAST).float().mean()), float(scores.max())])
    print_table(["scenes", "number", "taken for photographs", "highest score"], rows)
    if options.folder:
        files = Listing(options.folder, recursive=False).images
        scores = [float(photograph_score(frame(read_image(options.folder / file), SIDE)[None])) for file in files]
        print_table(["file", "score"], [[str(file), score] for file, score in zip(files, scores, strict=True)])
        print(f"{sum(score > LEAST for score in scores)} of {len(files)} taken for photographs")


if __name__ == "__main__":
    main()
