"""Grids of alphas and the order in which they are visited."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.errors import UsageError
from fusionlib.studies.grid import alpha_grid, around_best, best_merge, coarse_to_fine


def test_a_merge_is_sought_between_the_ends_and_not_right_beside_them() -> None:
    scores = {0.0: 0.9, 0.05: 0.5, 0.1: 0.3, 0.5: 0.4, 0.95: 0.6, 1.0: 0.7}
    assert best_merge(scores) == 0.95 and best_merge(scores, 0.1) == 0.5
    assert best_merge({0.0: 1, 0.05: 0.2, 1.0: 1}, 0.1) == 0.05, "where there is no other it counts"
    assert best_merge({0.0: 1, 1.0: 1}) is None and best_merge({}) is None
    assert best_merge({0.0: 0, 0.1: 1, 0.9: 1, 1.0: 0}, 0.1) == 0.1


@pytest.mark.parametrize("step", [0.5, 0.25, 0.3, 0.1, 0.05])
@pytest.mark.parametrize("peak", [0.125, 0.2, 0.4, 0.8])
def test_two_points_for_each_halving_surround_the_best_and_find_what_the_grid_missed(step: float, peak: float) -> None:
    def score(alpha: float) -> float:
        return 0.5 - (alpha - peak) ** 2

    scores = {alpha: score(alpha) for alpha in alpha_grid(step)}
    before, more = max(scores.values()), 0
    while wanted := around_best(scores, 0.125, 0.1):
        more += len(wanted)
        scores |= {alpha: score(alpha) for alpha in wanted}
    best, order = best_merge(scores, 0.1), sorted(scores)
    place = order.index(best)
    assert order[place + 1] - best <= 0.125 + 1e-9 and best - order[place - 1] <= 0.125 + 1e-9
    assert more <= 2 * max(0, math.ceil(math.log2(step / 0.125))) and scores[best] >= before
    assert abs(best - peak) <= 0.0625 + 1e-9


def test_nothing_is_wanted_around_a_path_without_a_merge() -> None:
    assert around_best({0.0: 1, 1.0: 0}, 0.125) == around_best({}, 0.125) == ()


@settings(deadline=None)  # a busy machine is no fault
@given(st.floats(0.002, 1))
def test_a_grid_has_both_ends_and_no_gap_wider_than_its_step(step: float) -> None:
    grid = alpha_grid(step)
    assert grid[0] == 0.0 and grid[-1] == 1.0
    assert all(0 < high - low <= step + 2e-9 for low, high in pairwise(grid))
    assert all(abs(high - low - step) < 2e-9 for low, high in pairwise(grid[:-1]))


def test_the_papers_grid_has_21_points() -> None:
    assert alpha_grid(0.05) == tuple(round(0.05 * number, 2) for number in range(21))
    assert alpha_grid(1) == (0.0, 1.0)
    assert alpha_grid(0.3) == (0.0, 0.3, 0.6, 0.9, 1.0)


@pytest.mark.parametrize("step", [0, -0.1, 1.5, float("nan"), float("inf"), 1e-12])
def test_a_step_that_makes_no_grid_is_refused(step: float) -> None:
    with pytest.raises(UsageError, match="Step"):
        alpha_grid(step)


@given(st.integers(0, 300))
def test_coarse_to_fine_visits_everything_once_ends_first_then_the_middle(count: int) -> None:
    points = tuple(number / 1000 for number in range(count))
    order = coarse_to_fine(points)
    assert sorted(order) == list(points)
    if count >= 3:
        assert order[:3] == (points[0], points[-1], points[(count - 1) // 2])


@given(st.integers(4, 200), st.data())
def test_the_widest_gap_is_always_split_next(count: int, data: st.DataObject) -> None:
    order = coarse_to_fine(tuple(range(count)))
    seen = data.draw(st.integers(2, count - 1))
    known = sorted(order[:seen])
    widest = max(high - low for low, high in pairwise(known))
    next_point = order[seen]
    low, high = max(k for k in known if k < next_point), min(k for k in known if k > next_point)
    assert high - low == widest
    assert abs((high - next_point) - (next_point - low)) <= 1
