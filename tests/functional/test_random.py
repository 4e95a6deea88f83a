"""Randomness belongs to a sample, a step and a rank, and to nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from peekaboo.functional.random import Draws, pair_seeds


def all_draws(draws: Draws) -> list[torch.Tensor]:
    return [draws.normal(2, 3), draws.uniform(4), draws.integers(0, 10**6, 3), draws.normal(1)]


def test_a_sample_draws_the_same_alone_or_in_a_batch() -> None:
    together = all_draws(Draws([3, 7, 5], step=4, rank=1))
    alone = all_draws(Draws([7], step=4, rank=1))
    assert all(torch.equal(batch[1:2], single) for batch, single in zip(together, alone, strict=True))


@pytest.mark.parametrize("other", [{"step": 5}, {"rank": 1}, {"purpose": "step"}])
def test_steps_ranks_and_purposes_draw_differently(other: dict[str, Any]) -> None:
    first = all_draws(Draws([7], step=4, rank=0))
    second = all_draws(Draws([7], **{"step": 4, "rank": 0, **other}))
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_seeds_draw_differently_and_their_order_does_not_matter() -> None:
    a, b = Draws([1, 2]).normal(4)
    assert not torch.equal(a, b)
    assert torch.equal(torch.stack([b, a]), Draws([2, 1]).normal(4))


def test_seed_and_step_are_not_mixed_up() -> None:
    assert not torch.equal(Draws([1], step=2).normal(4), Draws([2], step=1).normal(4))


def test_distributions() -> None:
    draws = Draws(range(4))
    normal, uniform, integers = draws.normal(4000), draws.uniform(4000), draws.integers(20, 23, 400)
    assert abs(float(normal.mean())) < 0.04 and abs(float(normal.std()) - 1) < 0.03  # 5 standard errors of 16,000 draws
    assert float(uniform.min()) >= 0 and float(uniform.max()) < 1 and abs(float(uniform.mean()) - 0.5) < 0.012
    assert sorted(integers.unique().tolist()) == [20, 21, 22, 23]  # both ends included
    assert integers.dtype == torch.int64


def test_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    all_draws(Draws([1, 2]))
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_goes_from_zero_to_one() -> None:
    assert [Draws([0], step, total=5).progress for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert Draws([0], 0, total=1).progress == 0


def test_a_purpose_within_a_purpose_is_another_and_does_not_depend_on_what_was_drawn_before() -> None:
    draws = Draws([3], step=2, purpose="step")
    first = draws.of("loss").of("noise").normal(5)
    draws.normal(7)
    assert torch.equal(draws.of("loss").of("noise").normal(5), first)
    assert not torch.equal(draws.of("noise").normal(5), first)
    assert (draws.of("noise").step, draws.of("noise").seeds) == (2, [3])


def test_pairs_of_neighbouring_seeds_share_nothing() -> None:
    seeds = [seed for own in range(50) for seed in pair_seeds(own, 20)]
    assert len(set(seeds)) == len(seeds) == 1000
    assert [pair_seeds(own, 3)[0] for own in range(50)] == list(range(50))
    assert pair_seeds(7, 3) == pair_seeds(7, 5)[:3]
