"""How good generated RGBA is: ``python -m peekaboo.generation.quality [--words WORD,...] [--seeds 4] [--folder FOLDER]``.

For each word and seed it generates a picture, makes the controls (a sprite with its true alpha, with alpha 1, with a random blob)
and the rival (a sample of the teacher, cut out by `rgb_bilateral`), and measures them all; see `docs/generation.md`. Pictures and
rows are written as they come, and the same command goes on where it was stopped. It leaves ``rows.csv``, ``table.md``,
``sheet.png`` and ``pictures/``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from ..api import load
from ..data.base import Sample
from ..data.looks import vocabulary
from ..data.scenes import noun_phrase
from ..evaluation.runs import weights_digest
from ..functional.framing import resize
from ..functional.masks import iou
from ..identity import differences
from ..optimisation.generator import Generator
from ..optimisation.segmenter import Segmenter
from ..results.captions import draw_caption
from ..results.drawing import checkerboard, to_picture
from ..results.generated import over, photograph
from ..results.lock import RunLock
from ..results.writing import is_whole_png, write_json, write_picture, write_text
from ..teachers.clip import CLIP
from .makers import Key, blob_sprite, cut_out, full_sprite, samples, true_sprite
from .measures import Judge, measured

#: Words that the shipped recipe was chosen on; all others are held back.
TUNING_WORDS = ("rocket", "teapot", "cat", "red apple", "chair", "owl")
CONTROLS = {"sprite": "sprite, true alpha", "sprite_full": "sprite, alpha 1", "sprite_blob": "sprite, random blob"}
SOURCES = {"generated": "generated", "sampled": "sampled, then cut out", **CONTROLS}
AGREEMENT_OF = ("generated", "sprite")  # what a second opinion is asked about
SHARES = ("named", "named_on_the_worst", "valid")
MEANS = ("area", "half", "border", "largest", "over_swapped", "over_complement", "spill", "agreement")
FIELDS = ("source", "word", "seed", "held_back", *SHARES, *MEANS)
CELL, LINE = 64, 14  # of the contact sheet
PHOTOGRAPH = 7  # seed of the ground that the second opinion is asked over


class Study:
    """One measurement in a folder of its own.

    Args:
        folder: where it is kept.
        words: of the vocabulary.
        seeds: pictures of each word, from seed 0 on.
        generator, segmenter: that make and cut out.
        batch: pictures that are made side by side.
    """

    def __init__(
        self, folder: Path, words: Sequence[str], seeds: int, generator: Generator, segmenter: Segmenter, batch: int
    ) -> None:
        self.folder, self.generator, self.segmenter, self.batch = folder, generator, segmenter, batch
        self.keys: list[Key] = [(word, seed) for word in words for seed in range(seeds)]
        self.side = generator.settings.resolution
        self.judge = Judge(CLIP(), self.side)

    def check(self) -> None:
        """Makes sure that the folder is this study's, or makes it.

        Raises:
            ValueError: for a folder of a study with other models or settings.
        """
        file = self.folder / "study.json"
        models = {"generator": self.generator, "segmenter": self.segmenter}
        now: dict[str, Any] = {name: model.configuration(decisive=True)["init_args"] for name, model in models.items()}
        now["weights"] = weights_digest(self.generator)
        if file.is_file():
            if changes := differences(json.loads(file.read_text(encoding="utf-8")), json.loads(json.dumps(now))):
                raise ValueError(f"folder: expected one of this study, got {str(self.folder)!r} of another: {changes}")
        else:
            write_json(file, now)

    # ---- pictures ------------------------------------------------------------------------------------------------------------

    def file(self, source: str, key: Key) -> Path:
        """Where a picture is kept."""
        return self.folder / "pictures" / source / f"{key[0].replace(' ', '_')}_{key[1]}.png"

    def picture(self, source: str, key: Key) -> Tensor:
        """Reads a picture (4, H, W) in [0, 1]: what is measured is what a file holds."""
        with Image.open(self.file(source, key)) as opened:
            return torch.from_numpy(np.asarray(opened.convert("RGBA")).copy()).permute(2, 0, 1) / 255

    def make(self) -> None:
        """Makes the pictures that are not there yet, and writes each batch when it is done."""
        for source in SOURCES:
            (self.folder / "pictures" / source).mkdir(parents=True, exist_ok=True)
            missing = [key for key in self.keys if not is_whole_png(self.file(source, key))]
            with tqdm(total=len(missing), desc=source, disable=not missing) as bar:
                for start in range(0, len(missing), self.batch):
                    some = missing[start : start + self.batch]
                    for key, rgba in zip(some, self._made(source, some), strict=True):
                        write_picture(self.file(source, key), to_picture(rgba))
                    bar.update(len(some))

    def _made(self, source: str, keys: list[Key]) -> Tensor:
        if source == "generated":
            found = self.generator.generate([noun_phrase(word) for word, _ in keys], [seed for _, seed in keys])
            return torch.stack([one.rgba for one in found])
        if source == "sampled":
            sampled = resize(samples(str(self.segmenter.teacher_name), keys), (self.side, self.side))
            return cut_out(self.segmenter, sampled, keys)
        if source == "sprite_blob":
            return torch.stack([blob_sprite(word, self.side, seed) for word, seed in keys])
        make = true_sprite if source == "sprite" else full_sprite
        return torch.stack([make(word, self.side) for word, _ in keys])

    # ---- figures -------------------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Measures what has not been measured yet; ``rows.csv`` grows by a batch at a time."""
        done = {(row["source"], row["word"], row["seed"]): row for row in self._kept()}
        todo = [(s, *key) for s in SOURCES for key in self.keys if (s, key[0], str(key[1])) not in done]
        with tqdm(total=len(todo), desc="measuring", disable=not todo) as bar:
            for start in range(0, len(todo), self.batch):
                some = todo[start : start + self.batch]
                agreement = self._agreement([one for one in some if one[0] in AGREEMENT_OF])
                for source, word, seed in some:
                    row = self._row(source, (word, seed)) | {"agreement": agreement.get((source, word, seed))}
                    shown = {name: "" if row[name] is None else row[name] for name in FIELDS}
                    done[source, word, str(seed)] = {name: str(value) for name, value in shown.items()}
                self._write(list(done.values()))
                bar.update(len(some))
        wanted = {(s, word, str(seed)) for s in SOURCES for word, seed in self.keys}
        return [_read(row) for key, row in done.items() if key in wanted]

    def _row(self, source: str, key: Key) -> dict[str, Any]:
        others = [other for other in self.keys if other[0] != key[0]]
        place = self.keys.index(key)
        other = next((o for o in [*self.keys[place + 1 :], *self.keys[:place]] if o[0] != key[0]), None) if others else None
        alpha = None if other is None else self.picture(source, other)[3]
        about = {"source": source, "word": key[0], "seed": key[1], "held_back": int(key[0] not in TUNING_WORDS)}
        return about | measured(self.judge, self.picture(source, key), key[0], alpha)

    def _agreement(self, some: list[tuple[str, str, int]]) -> dict[tuple[str, str, int], float]:
        """IoU at one half of alphas with what `rgb_bilateral` finds in their composites over a photograph-like ground."""
        if not some:
            return {}
        ground = photograph(self.side, PHOTOGRAPH)
        pictures = [self.picture(source, (word, seed)) for source, word, seed in some]
        pairs = [
            Sample(f"{word}/{seed}", over(rgba, ground), noun_phrase(word))
            for (_, word, seed), rgba in zip(some, pictures, strict=True)
        ]
        results = self.segmenter.segment(pairs, [seed for _, _, seed in some], timelapse=False)
        masks = torch.stack([result.mask for result in results])
        found = iou(masks, torch.stack([rgba[3] > 0.5 for rgba in pictures]))
        return {one: float(value) for one, value in zip(some, found, strict=True)}

    def _kept(self) -> list[dict[str, str]]:
        file = self.folder / "rows.csv"
        if not file.is_file():
            return []
        with file.open(newline="", encoding="utf-8") as opened:
            return list(csv.DictReader(opened))

    def _write(self, rows: list[dict[str, str]]) -> None:
        out = io.StringIO()
        writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.folder / "rows.csv", out.getvalue())

    # ---- what a person looks at ----------------------------------------------------------------------------------------------

    def table(self, rows: list[dict[str, Any]]) -> str:
        """Returns the means of all sources, over all words and over those that were held back, as a Markdown table."""
        names = (*SHARES, *MEANS)
        head = ["source", "words", "pictures", *(name.replace("_", " ") for name in names), "swapped worse", "diversity"]
        lines = [" | ".join(head), " | ".join("---" for _ in head)]
        for source, title in SOURCES.items():
            for group, held_back in (("all", (0, 1)), ("held back", (1,))):
                some = [row for row in rows if row["source"] == source and row["held_back"] in held_back]
                if some and (group == "all" or len(some) < sum(row["source"] == source for row in rows)):
                    cells = [title, f"{group} {len({row['word'] for row in some})}", str(len(some))]
                    cells += [_mean([row[name] for row in some]) for name in names]
                    cells += [_mean([None if (x := row["over_swapped"]) is None else float(x > 0) for row in some])]
                    lines.append(" | ".join([*cells, _mean(list(self._diversities(source, some)))]))
        return "\n".join(f"| {line} |" for line in lines) + "\n"

    def _diversities(self, source: str, rows: list[dict[str, Any]]) -> Iterator[float | None]:
        for word in dict.fromkeys(row["word"] for row in rows):
            seeds = [int(row["seed"]) for row in rows if row["word"] == word]
            yield self.judge.diversity([self.picture(source, (word, seed)) for seed in seeds])

    def sheet(self) -> Image.Image:
        """Draws all generated pictures over a checkerboard, and beside them what was sampled and cut out."""
        words = list(dict.fromkeys(word for word, _ in self.keys))
        seeds = sorted({seed for _, seed in self.keys})
        row = len(seeds) * CELL
        picture = Image.new("RGB", (2 * row + CELL // 4, len(words) * (CELL + LINE) + LINE), "white")
        draw = ImageDraw.Draw(picture)
        for i, source in enumerate(("generated", "sampled")):
            left = i * (row + CELL // 4)
            draw_caption(draw, (left + 2, 0), SOURCES[source], row)
            for j, word in enumerate(words):
                top = LINE + j * (CELL + LINE)
                draw_caption(draw, (left + 2, top), word, row)
                for k, seed in enumerate(seeds):
                    rgba = resize(self.picture(source, (word, seed))[None], (CELL, CELL))[0]
                    picture.paste(to_picture(over(rgba, checkerboard(CELL, CELL, 4))), (left + k * CELL, top + LINE))
        return picture


def _read(row: dict[str, str]) -> dict[str, Any]:
    numbers = {name: None if row[name] == "" else float(row[name]) for name in (*SHARES, *MEANS)}
    return {**row, **numbers, "held_back": int(row["held_back"])}


def _mean(values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    return f"{np.mean(found):.3f}" if found else ""


def words_of(given: str | None) -> list[str]:
    """Returns the words of a comma-separated list, or all.

    Raises:
        ValueError: for one that the embedded world does not have.
    """
    names = list(vocabulary())
    words = names if given is None else [word.strip() for word in given.split(",") if word.strip()]
    if unknown := [word for word in words if word not in names]:
        raise ValueError(
            f"words: expected some of the {len(names)} objects that `peekaboo words` lists, got {', '.join(unknown)}"
        )
    if not words:
        raise ValueError("words: expected at least one, got none")
    return list(dict.fromkeys(words))


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m peekaboo.generation.quality", description=__doc__)
    parser.add_argument("--config", default="rgba", help="of the generator")
    parser.add_argument("--teacher", default="embedded", help="of generator, sampler and segmenter")
    parser.add_argument("--words", help="comma-separated; all 122 without it")
    parser.add_argument("--seeds", type=int, default=4, help="pictures of each word")
    parser.add_argument("--batch", type=int, default=8, help="pictures that are made side by side")
    parser.add_argument("--iterations", type=int, help="of the generator; the config's without it")
    parser.add_argument("--device", help="cpu, cuda, mps; the best there is without it")
    parser.add_argument("--folder", type=Path, default=Path("rgba_quality"), help="where it is kept, and goes on")
    options = parser.parse_args(arguments)
    lock = None
    try:
        words = words_of(options.words)
        for name in ("seeds", "batch"):
            if getattr(options, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(options, name)}")
        given: dict[str, Any] = {"device": options.device, "loss__teacher__path": options.teacher}
        length = {} if options.iterations is None else {"iterations": options.iterations}
        generator, segmenter = load(options.config, **given, **length), load("rgb_bilateral", **given)
        if not isinstance(generator, Generator):
            raise ValueError(f"config: expected one of a Generator, got {type(generator).__name__}")
        options.folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(options.folder, "folder")
        lock.acquire()
        study = Study(options.folder, words, options.seeds, generator, segmenter, options.batch)
        study.check()
        study.make()
        table = study.table(study.rows())
        write_text(options.folder / "table.md", table)
        write_picture(options.folder / "sheet.png", study.sheet())
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on in {options.folder}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if lock is not None:
            lock.release()
    print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
