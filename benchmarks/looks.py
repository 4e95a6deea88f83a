"""Every figure of the embedded world in many looks: masks by group for several methods, CLIP by look, depth, samples.

    python benchmarks/looks.py --output looks.json                              # the shipped models; hours on two CPU cores
    python benchmarks/looks.py --folder FOLDER --single 15 --pair 15 --referring 15 --configs rgb_bilateral
    python benchmarks/looks.py --tuning --configs rgb_bilateral                 # to choose with: no scene of the benchmark

Groups without a prefix are the scenes of Fluent 3D. ``seen_...``: the same scenes in all looks of the trainings; ``unseen_...``:
in the look that no training and no tuning sees; ``set_aside_...``: in the one that stands in for it when something is chosen.
Each cell is the mean IoU at the config's own threshold; of pairs, also that with the other object and the share of pairs where
the named one is ahead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from common import print_table, write_json

import peekaboo
from peekaboo.command_line.names import find_config
from peekaboo.data.benchmark import LOOK_SETS, SEEDS, LookSet, Scenes, Split
from peekaboo.data.scenes import Kind, compose
from peekaboo.evaluation.batching import SampleModule
from peekaboo.functional.masks import iou
from peekaboo.guides import Depth
from peekaboo.pretraining.quality import clip_top1, depth_errors, prefers_named, sample_recognition
from peekaboo.teachers import CLIP, Diffusion
from peekaboo.teachers.base import ASSETS

CONFIGS = ("rgb_bilateral", "depth_bilateral", "rgbd_bilateral", "baselines/border_colour", "baselines/noise_difference")
CONFIGS += ("baselines/cross_attention",)
PARTS = {"Diffusion": "teacher", "CLIP": "clip", "Depth": "depth", "RGBDepth": "depth"}
BENCHMARK: tuple[LookSet, ...] = ("fluent_3d", "seen", "unseen")
TUNING: tuple[LookSet, ...] = ("fluent_3d", "seen", "set_aside")


def build(node: Any, folder: Path) -> Any:
    """Makes the object of a config's ``class_path`` and ``init_args``, with its embedded networks from ``folder``."""
    if isinstance(node, list):
        return [build(item, folder) for item in node]
    if not isinstance(node, dict):
        return node
    if "class_path" not in node:
        return {key: build(value, folder) for key, value in node.items()}
    module, _, name = node["class_path"].rpartition(".")
    arguments = {key: build(value, folder) for key, value in node.get("init_args", {}).items()}
    if name in PARTS:
        arguments["path"] = str(folder / PARTS[name])
    return getattr(import_module(module), name)(**arguments)


def load(config: str, folder: Path) -> SampleModule:
    """The method of a config with its embedded networks from ``folder``."""
    node = yaml.safe_load(Path(find_config(config)).read_text())["model"]
    if not node["class_path"].endswith(".Segmenter"):
        return build(node, folder)
    arguments = node["init_args"]
    teacher, guide = arguments["loss"]["init_args"]["teacher"], arguments["alpha"]["init_args"].get("guide")
    overrides = {}
    for place, part in (("loss__teacher", teacher), ("alpha__guide", guide)):
        kind = PARTS.get(part["class_path"].rpartition(".")[2]) if part else None
        if kind:
            overrides[f"{place}__path"] = str(folder / kind)
    return peekaboo.load(config, device="cpu", **overrides)


def masks(config: str, folder: Path, data: Scenes, batch: int) -> dict[str, dict[str, float]]:
    """The figures of one config by group: ``iou``, ``other``, ``ahead`` (of scenes that have another object), ``scenes``."""
    method = load(config, folder)
    rows: dict[str, list[tuple[float, float]]] = {}
    for first in range(0, len(data), batch):
        samples = [data.load(i) for i in range(first, min(first + batch, len(data)))]
        for sample, result in zip(samples, method.masks_of(samples), strict=True):
            found = result.mask[None]
            pair = float(iou(found, sample.mask[None])), float(iou(found, sample.others[None]))
            rows.setdefault(sample.id.rpartition("-")[0], []).append(pair)
        print(f"{config}: {min(first + batch, len(data))} of {len(data)}", end="\r", flush=True)
    return {
        group: {
            "iou": sum(own for own, _ in values) / len(values),
            "other": sum(other for _, other in values) / len(values),
            "ahead": sum(own > other for own, other in values) / len(values),
            "scenes": len(values),
        }
        for group, values in rows.items()
    }


def models(folder: Path, looks: tuple[LookSet, ...], split: Split, count: int, each: int) -> dict[str, Any]:
    """What CLIP names and what captions prefer by looks, the error of the depth, the share of samples that CLIP names right."""
    clip, seed = CLIP(str(folder / "clip")), SEEDS[split]
    found: dict[str, Any] = {}
    found["clip_top1"] = {
        drawn: clip_top1(clip, [compose(seed, i, looks=LOOK_SETS[drawn]) for i in range(count)]) for drawn in looks
    }
    teacher = Diffusion(str(folder / "teacher"))
    found["prefers_named"] = {}
    kinds: tuple[Kind, ...] = ("pair", "referring")
    for kind in kinds:
        items = {drawn: [compose(seed, i, kind, looks=LOOK_SETS[drawn]) for i in range(count)] for drawn in looks}
        found["prefers_named"][kind] = {drawn: prefers_named(teacher, scenes) for drawn, scenes in items.items()}
    pairs = [compose(seed, i, "pair", looks=LOOK_SETS["seen"], grounded=True) for i in range(count)]
    found["depth"] = depth_errors(Depth(str(folder / "depth")), pairs)
    if each:
        found["samples_named_right"] = sample_recognition(folder / "teacher", clip, each)["share"]
    return found


def table(results: dict[str, dict[str, dict[str, float]]]) -> Iterator[list[Any]]:
    """Rows of config, and for each group the mean IoU; of pairs also the other object's and the share ahead."""
    for config, groups in results.items():
        cells = []
        for group, row in groups.items():
            cell = f"{row['iou']:.3f}"
            cells.append(f"{cell} ({row['other']:.3f}, {row['ahead']:.0%})" if group.endswith("pair") else cell)
        yield [config, *cells]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ASSETS, help="folder with teacher, clip and depth")
    parser.add_argument("--configs", nargs="*", default=list(CONFIGS), help="of the methods; none for the models alone")
    parser.add_argument("--tuning", action="store_true", help="scenes to choose with instead of the benchmark")
    parser.add_argument("--sets", nargs="+", choices=list(LOOK_SETS), help="of looks; by default all that the split may show")
    parser.add_argument("--single", type=int, default=30, help="scenes of each set of looks")
    parser.add_argument("--pair", type=int, default=30)
    parser.add_argument("--referring", type=int, default=30)
    parser.add_argument("--batch", type=int, default=10, help="scenes at a time")
    parser.add_argument("--count", type=int, default=100, help="scenes for CLIP and depth; 0 to leave the models out")
    parser.add_argument("--each", type=int, default=1, help="samples of each of the 122 names; 0 for none")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    split: Split = "tuning" if options.tuning else "benchmark"
    looks = tuple(options.sets or (TUNING if options.tuning else BENCHMARK))
    counts: dict[Kind, int] = {"single": options.single, "pair": options.pair, "referring": options.referring}
    content: dict[str, Any] = {"folder": str(options.folder), "split": split, "counts": counts, "masks": {}}
    if options.count:
        content["models"] = models(options.folder, looks, split, options.count, options.each)
        print(json.dumps(content["models"], indent=2), flush=True)
    data = Scenes(counts, split, looks=looks)
    for config in options.configs:
        content["masks"][config] = masks(config, options.folder, data, options.batch)
        groups = list(content["masks"][config])
        print_table(["config", *groups], list(table({config: content["masks"][config]})))
        write_json(options.output, **content)  # what is there stays if the next is interrupted


if __name__ == "__main__":
    main()
