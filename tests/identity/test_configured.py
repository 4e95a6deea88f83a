"""Parts know the arguments that they were made with: all of them, from Python as from YAML, whatever happens to them later."""

from __future__ import annotations

import copy
import functools
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from peekaboo.alphas import Alpha, Bilateral, Raster
from peekaboo.guides import RGB
from peekaboo.identity import Configured, describe, differences, digest, undeclared


class Part(Configured):
    indifferent = frozenset({"workers"})

    def __init__(self, size: Any = 3, *more: int, name: str = "x", workers: int = 1) -> None:
        self.size = size


class Child(Part):
    def __init__(self, own: bool = True, **rest: Any) -> None:
        super().__init__(**rest)


@dataclass
class Point:
    x: float
    y: Path


def arguments(part: Configured, decisive: bool = False) -> dict[str, Any]:
    return part.configuration(decisive)["init_args"]


def test_arguments_and_defaults_count_however_they_are_given() -> None:
    assert arguments(Part()) == {"size": 3, "name": "x", "workers": 1}
    assert arguments(Part(4, 5, 6, name="y")) == {"size": 4, "more": [5, 6], "name": "y", "workers": 1}
    assert arguments(Child(own=False, size=4)) == {"own": False, "size": 4, "name": "x", "workers": 1}
    assert arguments(Child(size=3)) == arguments(Child())  # what jsonargparse hands on though it is a default
    assert Part().configuration()["class_path"] == f"{__name__}.Part"


def test_what_changes_no_result_is_left_out_at_every_depth() -> None:
    assert arguments(Part(Part([Part(workers=2)], workers=3), workers=4), decisive=True) == arguments(
        Part(Part([Part()])), decisive=True
    )
    assert arguments(Part(Part(workers=3))) != arguments(Part(Part()))
    assert arguments(Part(Part(5)), decisive=True) != arguments(Part(Part(6)), decisive=True)


def test_state_is_no_part_of_it() -> None:
    class Disc(Alpha):
        def __init__(self, size: int | None = None) -> None:
            super().__init__()
            self.size = size

        def reset(self, image: torch.Tensor, seeds: list[int]) -> None:
            self.size = self.height = image.shape[-2]
            self.disc = nn.Parameter(torch.zeros(1))

    disc = Disc()
    before = disc.configuration()
    disc.reset(torch.zeros(1, 3, 5, 5), [0])
    assert disc.configuration() == before
    values = [1, 2]
    part = Part(values)
    values.append(3)
    assert arguments(part)["size"] == [1, 2]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda part: pickle.loads(pickle.dumps(part))])
def test_a_copy_has_them_too(copied: Any) -> None:
    alpha = Bilateral(Raster(), RGB(), passes=3)
    assert copied(alpha).configuration() == alpha.configuration()
    assert arguments(alpha)["field"]["class_path"] == "peekaboo.alphas.raster.Raster"


ALIKE = [
    (1, 1.0),
    ((1, 2), [1, 2]),
    (Path("a"), "a"),
    ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
    (torch.arange(3), torch.tensor([0, 1, 2])),
    (np.ones(2), torch.ones(2, dtype=torch.float64)),
    ({3, 1, 2}, {1, 2, 3}),
    (Point(1, Path("a")), Point(1.0, Path("a"))),
    (functools.partial(describe, 1), functools.partial(describe, 1)),
]
OTHER = [
    (1, True),
    (1, 1.5),
    (1, "1"),
    (None, "None"),
    (torch.zeros(3), torch.zeros(4)),
    (torch.zeros(3), torch.tensor([0, 0, 1e-30])),
    (torch.float16, torch.float32),
    (Point(1, Path("a")), Point(1, Path("b"))),
    (functools.partial(describe, 1), functools.partial(describe, 2)),
    (describe, undeclared),
    (nn.Linear(2, 2), nn.Linear(2, 2)),
    (Part(3), Child(size=3)),
]


@pytest.mark.parametrize(("a", "b", "same"), [*((*pair, True) for pair in ALIKE), *((*pair, False) for pair in OTHER)])
def test_values_are_alike_or_not(a: Any, b: Any, same: bool) -> None:
    one, other = describe(a), describe(b)
    assert json.loads(json.dumps(one)) == one  # plain
    assert (digest(one) == digest(other)) is same


@pytest.mark.parametrize("value", [lambda x: x, object(), open])
def test_what_is_not_the_same_tomorrow_is_said(value: Any) -> None:
    found = undeclared(Part([value]).configuration())
    assert found == ([] if value is open else [f"init_args.size[0] ({type(value).__name__})"])


def test_differences_are_named_and_counted() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 2}}) == ""
    then, now = dict.fromkeys("abcde", 0), dict.fromkeys("abcde", 1)
    assert differences(then, now) == "a was 0, is 1; b was 0, is 1; c was 0, is 1, and 2 more"
