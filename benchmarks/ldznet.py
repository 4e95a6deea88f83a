"""The questions of LD-ZNet's paper, asked of the embedded world.

    python benchmarks/ldznet.py networks --output networks.json        # trains what is not there yet, tests, tables, figure
    python benchmarks/ldznet.py networks --networks znet ldznet --seeds 0 --steps 300 --single 10 --pair 10
    python benchmarks/ldznet.py probes --output probes.json            # which block and which timestep: a heat map
    python benchmarks/ldznet.py networks --networks ldznet --seeds 0 --methods rgb_bilateral baselines/noise_difference

``networks``: are latents a better input than pixels, are the teacher's features better still, and do both gaps grow under a
shift of domain? RGBNet, ZNet, LD-ZNet and the concatenation are trained by their configs, on scenes of one look, once a seed,
and tested on that look (``fluent_3d``), on the looks of the other drawings (``others``) and on the look that nothing was trained
on (``unseen``). Each cell is the mean over seeds and, behind +-, their standard deviation. ``--methods`` are configs that need
no training, on the same scenes.

``probes``: for every block of the teacher and every timestep a linear probe (one 1x1 convolution, trained to convergence) from
the features under the phrase to the mask; average precision on scenes that it was not trained on (LD-ZNet, section 3.2.1 and
figure 4).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import machine, print_table, write_json
from torch import Tensor, nn

import peekaboo
from peekaboo.command_line.entry import main as command
from peekaboo.data.benchmark import LookSet, Scenes
from peekaboo.evaluation.batching import SampleModule
from peekaboo.evaluation.metrics import MaskMetrics, score
from peekaboo.functional.optional import pyplot
from peekaboo.functional.random import Draws
from peekaboo.ldznet import TrainingScenesData
from peekaboo.ldznet.conditions import Conditions
from peekaboo.ldznet.places import places_of
from peekaboo.teachers import Diffusion

NETWORKS = ("rgbnet", "znet", "ldznet", "concat")
SETS: tuple[LookSet, ...] = ("fluent_3d", "others", "unseen")
MEASURES = ("mIoU", "published_mIoU", "published_IoU_FG", "AP", "published_AP", "milliseconds")
BATCH = 8


# ---- networks ------------------------------------------------------------------------------------------------------------------


def train(network: str, seed: int, steps: int | None, folder: Path, arguments: Sequence[str]) -> Path:
    """Trains a network by its config, unless that was done before; returns its folder."""
    name = f"{network}-{seed}" + (f"-{steps}" if steps else "")
    output = folder / name
    if (output / "done").is_file():
        return output
    asked = ["fit", "--config", f"ldznet/{network}.yaml", "--model.output", str(output), "--model.seed", str(seed)]
    asked += ["--trainer.default_root_dir", str(folder / "logs" / name), *(["--trainer.max_steps", str(steps)] if steps else [])]
    if last := sorted((folder / "logs" / name).glob("lightning_logs/*/checkpoints/last.ckpt"), key=lambda f: f.stat().st_mtime):
        asked += ["--ckpt_path", str(last[-1])]  # of a run that was stopped
    if code := command([*asked, *arguments]):
        raise SystemExit(code)
    (output / "done").touch()
    return output


def measure(method: SampleModule, data: Scenes) -> dict[str, float]:
    """The measures of a method on some scenes, and the milliseconds of one."""
    metrics, own = MaskMetrics(), 0.0
    method.masks_of([data.load(0)])  # the first one loads and compiles
    for first in range(0, len(data), BATCH):
        samples = [data.load(i) for i in range(first, min(first + BATCH, len(data)))]
        started = time.perf_counter()
        results = method.masks_of(samples)
        own += time.perf_counter() - started
        for sample, result in zip(samples, results, strict=True):
            metrics.update(score(result.alpha[None], sample.mask[None]))
    found = metrics.compute()
    return {name: found[name] for name in MEASURES[:-1]} | {"milliseconds": 1000 * own / len(data)}


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Measures of every network and seed, and of every method, by set of looks."""
    counts = {"single": options.single, "pair": options.pair, "referring": options.referring}
    sets = {drawn: Scenes(counts, options.split, options.size, (drawn,)) for drawn in options.sets}
    found: dict[str, Any] = {}
    for network in options.networks:
        for seed in options.seeds:
            folder = train(network, seed, options.steps, options.folder, options.arguments)
            method = peekaboo.load("ldznet", folder=str(folder), device=options.device)
            found.setdefault(network, {})[str(seed)] = {drawn: measure(method, data) for drawn, data in sets.items()}
            print(f"{network}, seed {seed}: {found[network][str(seed)]}", flush=True)
    for config in options.methods:
        method = peekaboo.load(config, device=options.device)
        found[config] = {"0": {drawn: measure(method, data) for drawn, data in sets.items()}}
    return found


def cells(runs: dict[str, dict[str, dict[str, float]]], drawn: str) -> list[str]:
    """The measures of one method in one set of looks: mean and standard deviation over seeds."""
    out = []
    for name in MEASURES:
        values = [run[drawn][name] for run in runs.values()]
        digits = 0 if name == "milliseconds" else 3
        spread = f" +- {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        out.append(f"{statistics.mean(values):.{digits}f}{spread}")
    return out


def claims(found: dict[str, Any], sets: Sequence[str], measure: str = "mIoU") -> list[list[str]]:
    """The differences that the paper's claims are about, of the same seed, by set of looks."""
    rows = []
    for better, worse in (("znet", "rgbnet"), ("ldznet", "znet"), ("ldznet", "rgbnet"), ("ldznet", "concat")):
        if better not in found or worse not in found:
            continue
        row = [f"{better} - {worse}"]
        for drawn in sets:
            gaps = [found[better][seed][drawn][measure] - found[worse][seed][drawn][measure] for seed in found[better]]
            spread = f" +- {statistics.stdev(gaps):.3f}" if len(gaps) > 1 else ""
            row.append(f"{statistics.mean(gaps):+.3f}{spread}")
        rows.append(row)
    return rows


def plot_networks(found: dict[str, Any], sets: Sequence[str], file: Path) -> None:
    """Bars of mIoU, one group a set of looks."""
    figure, axis = pyplot(file.name).subplots(figsize=(2 + 1.6 * len(sets), 3.2), layout="constrained")
    width = 0.8 / len(found)
    for i, (name, runs) in enumerate(found.items()):
        means = [statistics.mean(run[drawn]["mIoU"] for run in runs.values()) for drawn in sets]
        spreads = [statistics.stdev([r[drawn]["mIoU"] for r in runs.values()]) if len(runs) > 1 else 0 for drawn in sets]
        axis.bar([j + i * width for j in range(len(sets))], means, width, yerr=spreads, capsize=2, label=name)
    axis.set_xticks([j + width * (len(found) - 1) / 2 for j in range(len(sets))], sets)
    axis.set(ylabel="mIoU at 0.5 (mean over samples)", ylim=(0, 1))
    axis.legend(fontsize=7)
    figure.savefig(file, dpi=120)


# ---- probes --------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def all_features(teacher: Diffusion, scenes: Sequence[Any], timestep: int) -> list[Tensor]:
    """The features of every block, under the scenes' phrases."""
    reader = Conditions(teacher, True, [place.number for place in places_of(teacher.denoiser)])
    parts: list[list[Tensor]] = []
    for first in range(0, len(scenes), BATCH):
        some = scenes[first : first + BATCH]
        images = torch.stack([sample.image for sample in some])
        draws = Draws(list(range(first, first + len(some))), purpose="ldznet/probes")
        t = torch.full((len(some),), timestep)
        parts.append(list(reader(images, [sample.prompt for sample in some], draws, t, posterior=False).features))
    return [torch.cat(block) for block in zip(*parts, strict=True)]


def probe(features: Tensor, masks: Tensor, steps: int = 100) -> nn.Conv2d:
    """The 1x1 convolution of least BCE, by L-BFGS, of standardised features against masks brought to their size."""
    layer = nn.Conv2d(features.shape[1], 1, 1)
    nn.init.zeros_(layer.weight)
    target = F.adaptive_avg_pool2d(masks, features.shape[-2:])
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(layer(features), target) + 1e-3 * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return layer


def probe_all(options: argparse.Namespace) -> dict[str, Any]:
    """Average precision of every (block, timestep)."""
    teacher = Diffusion(options.teacher)
    stream = TrainingScenesData(size=teacher.resolution).samples()
    trained = [stream.load(i) for i in range(options.train)]
    tested = [stream.load(10**6 + i) for i in range(options.test)]
    masks = [torch.stack([sample.mask.float()[None] for sample in some]) for some in (trained, tested)]
    table: dict[str, dict[str, float]] = {}
    for timestep in options.timesteps:
        known, new = (all_features(teacher, some, timestep) for some in (trained, tested))
        for place, own, other in zip(places_of(teacher.denoiser), known, new, strict=True):
            mean, deviation = own.mean((0, 2, 3), keepdim=True), own.std((0, 2, 3), keepdim=True).clamp(min=1e-6)
            layer = probe((own - mean) / deviation, masks[0])
            with torch.no_grad():
                logits = F.interpolate(layer((other - mean) / deviation), masks[1].shape[-2:], mode="bilinear")
            metrics = MaskMetrics()
            metrics.update(score(logits[:, 0].sigmoid(), masks[1][:, 0] > 0.5))
            table.setdefault(str(place.number), {})[str(timestep)] = metrics.compute()["AP"]
        print(f"t {timestep}: " + ", ".join(f"{block} {row[str(timestep)]:.3f}" for block, row in table.items()), flush=True)
    chance = float(masks[1].mean())
    return {"AP": table, "chance": chance, "blocks": [place.name for place in places_of(teacher.denoiser)]}


def plot_probes(found: dict[str, Any], file: Path) -> None:
    """The heat map."""
    blocks, times = list(found["AP"]), list(next(iter(found["AP"].values())))
    values = [[found["AP"][block][t] for t in times] for block in blocks]
    figure, axis = pyplot(file.name).subplots(figsize=(2 + 0.6 * len(times), 1.2 + 0.4 * len(blocks)), layout="constrained")
    picture = axis.imshow(values, aspect="auto", cmap="viridis")
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            axis.text(x, y, f"{value:.2f}", ha="center", va="center", color="white", fontsize=7)
    axis.set_xticks(range(len(times)), times)
    axis.set_yticks(range(len(blocks)), [f"{b} {n}" for b, n in zip(blocks, found["blocks"], strict=True)], fontsize=7)
    axis.set(xlabel="timestep", ylabel="block")
    figure.colorbar(picture, label="AP")
    figure.savefig(file, dpi=120)


# ---- command line --------------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    networks = commands.add_parser("networks", help="the four networks, and methods that need no training")
    networks.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    networks.add_argument("--methods", nargs="*", default=[], help="configs of other methods")
    networks.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    networks.add_argument("--steps", type=int, help="of each training; by default the config's")
    networks.add_argument("--folder", type=Path, default=Path("lightning_logs/ldznet/benchmark"), help="of the trained networks")
    networks.add_argument("--sets", nargs="+", default=list(SETS), help="of looks")
    networks.add_argument("--split", default="benchmark")
    networks.add_argument("--single", type=int, default=50, help="scenes in each set of looks")
    networks.add_argument("--pair", type=int, default=50)
    networks.add_argument("--referring", type=int, default=25)
    networks.add_argument("--size", type=int, default=128, help="side of the scenes")
    networks.add_argument("--device", default=None)
    networks.add_argument("--arguments", nargs=argparse.REMAINDER, default=[], help="further arguments of every `fit`; the last")
    probes = commands.add_parser("probes", help="which block and which timestep")
    probes.add_argument("--teacher", default="embedded")
    probes.add_argument("--timesteps", nargs="+", type=int, default=list(range(100, 1000, 100)))
    probes.add_argument("--train", type=int, default=200, help="scenes")
    probes.add_argument("--test", type=int, default=100, help="scenes")
    for one in (networks, probes):
        one.add_argument("--output", type=Path, help="JSON file; the figure lies beside it as a PNG")
    options = parser.parse_args(arguments)
    if options.command == "probes":
        found = probe_all(options)
        times = [str(t) for t in options.timesteps]
        rows = [[block, *(f"{row[t]:.3f}" for t in times)] for block, row in found["AP"].items()]
        print_table(["block", *(f"t {t}" for t in times)], rows)
        print(f"chance: {found['chance']:.3f}")
        draw = plot_probes, (found,)
    else:
        found = compare(options)
        for drawn in options.sets:
            print(f"\n{drawn}:")
            print_table(["method", "seeds", *MEASURES], [[name, len(runs), *cells(runs, drawn)] for name, runs in found.items()])
        print("\nDifferences of mIoU at 0.5, seed by seed:")
        print_table(["gap", *options.sets], claims(found, options.sets))
        draw = plot_networks, (found, options.sets)
    write_json(options.output, command=options.command, machine=machine(), found=found)
    if options.output is not None:
        draw[0](*draw[1], options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
