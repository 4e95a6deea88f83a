"""Does the confidence of a mask tell what is there from what is not? Area under the ROC curve, and what it costs.

    python benchmarks/confidence.py --precision 32-true
    python benchmarks/confidence.py --precision 32-true --seed 1500 --calibrate

Scenes with one object and with two are each prompted with a word that is there and with one of the vocabulary that is not. Both
are optimised to the end, and judged. The scenes are those of the tuning set with another seed than the calibration's, which is
1500; ``--calibrate`` prints the weights and the bias of a logistic regression on the gains of the masks.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import load, machine, print_table, write_json
from iteration import PRECISIONS
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from peekaboo.data.base import Sample
from peekaboo.data.benchmark import as_sample
from peekaboo.data.looks import vocabulary
from peekaboo.data.scenes import Kind, compose, noun_phrase
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.teachers.confidence import PARTS

KINDS: tuple[Kind, ...] = ("single", "pair")
INVERSE_PENALTY = 10.0  # C of the logistic regression
HEAD = ["scenes", "present", "absent", "AUC", *(f"AUC, {part} alone" for part in PARTS)]
HEAD += ["confidence, present", "confidence, absent", "present kept at .5", "absent rejected at .5"]


def absent_word(names: tuple[str, ...], *key: int) -> str:
    """A word of the vocabulary that is not among some, by chance."""
    others = [word for word in vocabulary() if word not in names]
    return others[np.random.default_rng([*key, 9]).integers(len(others))]


def both_prompts(seed: int, count: int) -> list[tuple[Kind, bool, Sample]]:
    """Scenes of each kind, each with a word that is there (True) and one that is not."""
    found: list[tuple[Kind, bool, Sample]] = []
    for i in range(count):
        for number, kind in enumerate(KINDS):
            scene = compose(seed, i, kind)
            shown = replace(as_sample(f"{kind}-{i:03d}", scene), mask=None, others=None)
            absent = noun_phrase(absent_word(scene.names, seed, i, number))
            found.append((kind, True, shown))
            found.append((kind, False, replace(shown, id=f"{shown.id}-absent", prompt=absent)))
    return found


def measure(segmenter: Segmenter, scenes: list[tuple[Kind, bool, Sample]], batch: int) -> list[dict[str, Any]]:
    """Segments all, and returns a row for each: what it was, its confidence, its gains, and the seconds of both."""
    rows = []
    for first in range(0, len(scenes), batch):
        part = scenes[first : first + batch]
        samples = [sample for _, _, sample in part]
        results = segmenter.segment(samples, [segmenter.sample_seed(sample.id) for sample in samples], timelapse=False)
        for (kind, present, sample), result in zip(part, results, strict=True):
            record = result.record
            rows.append(
                {
                    "id": sample.id,
                    "kind": kind,
                    "present": present,
                    "prompt": sample.prompt,
                    "confidence": record["confidence"],
                    "gains": [record["confidence_gains"][name] for name in PARTS],
                    "area": float(result.mask.float().mean()),
                    "seconds": record["seconds"] / len(part),
                    "confidence_seconds": record["confidence_seconds"] / len(part),
                }
            )
    return rows


def summarise(name: str, rows: list[dict[str, Any]]) -> list[Any]:
    """The line of the table for some rows."""
    present = np.array([row["present"] for row in rows])
    sure, gains = np.array([row["confidence"] for row in rows]), np.array([row["gains"] for row in rows])
    areas = [roc_auc_score(present, sure), *(roc_auc_score(present, gains[:, i]) for i in range(len(PARTS)))]
    means = [sure[present].mean(), sure[~present].mean(), (sure[present] >= 0.5).mean(), (sure[~present] < 0.5).mean()]
    return [name, int(present.sum()), int((~present).sum()), *(f"{value:.3f}" for value in (*areas, *means))]


def calibrate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Weights and bias of a logistic regression of presence on the gains."""
    regression = LogisticRegression(C=INVERSE_PENALTY)
    regression.fit([row["gains"] for row in rows], [row["present"] for row in rows])
    weights = [round(float(value), 2) for value in regression.coef_[0]]
    return {"weights": weights, "bias": round(float(regression.intercept_[0]), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rgb_bilateral")
    parser.add_argument("--set", default="", help="argument=value,... of the config to change")
    parser.add_argument("--seed", type=int, default=1501, help="of the scenes")
    parser.add_argument("--scenes", type=int, default=16, help="of each kind")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--calibrate", action="store_true", help="print weights and bias for these scenes, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed", choices=list(PRECISIONS))
    parser.add_argument("--output", type=Path, help="JSON file for the rows")
    options = parser.parse_args()
    segmenter = load(options.config, ",".join(filter(None, ["confidence=true", options.set])), options.device)
    segmenter.precision = options.precision
    rows = measure(segmenter, both_prompts(options.seed, options.scenes), options.batch)
    print(machine(options.device))
    parts = {kind: [row for row in rows if row["kind"] == kind] for kind in KINDS} | {"all": rows}
    print_table(HEAD, (summarise(name, some) for name, some in parts.items()))
    seconds, judging = (sum(row[key] for row in rows) / len(rows) for key in ("seconds", "confidence_seconds"))
    print(f"\n{judging:.3f} s a confidence, {seconds:.3f} s a mask: {judging / seconds:.3f} of it")
    found = calibrate(rows) if options.calibrate else None
    if found is not None:
        print(f"weights {found['weights']}, bias {found['bias']}")
    write_json(options.output, machine=machine(options.device), rows=rows, calibration=found)


if __name__ == "__main__":
    main()
