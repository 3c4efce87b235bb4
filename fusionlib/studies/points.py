"""Points that searches visit: grids and random draws of weights, their order, the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from math import comb

import numpy as np

from fusionlib.candidate import Candidate, Row, between
from fusionlib.errors import UsageError
from fusionlib.studies.grid import alpha_grid, coarse_to_fine

MOST = 1001
"""Points of one grid; a slip of the keyboard must not ask for a billion."""

STEP = 0.05
"""Weight Fusion, section 2.2."""


def pair_grid(step: float, one: int, other: int, count: int) -> list[Candidate]:
    """Both of two checkpoints and what lies between them, in order of the weight of the first."""
    return [between(alpha, one, other, count) for alpha in alpha_grid(step)]


def weight_grid(step: float, count: int) -> list[Candidate]:
    """All weights of `count` checkpoints that are whole multiples of a step; of two, in order of the first one's.

    Raises `UsageError` for more than `MOST`, and of three and more for a step that does not divide 1.
    """
    if count == 2:
        return pair_grid(step, 0, 1, 2)
    parts = round(1 / step) if step > 0 else 0
    if parts < 1 or abs(parts * step - 1) > 1e-9:
        raise UsageError(f"Step {step:g} for {count} checkpoints", "a step that divides 1", "Try 0.1")
    if (points := comb(parts + count - 1, count - 1)) > MOST:
        raise UsageError(
            f"{points} points of step {step:g} with {count} checkpoints",
            f"at most {MOST}",
            "Give a larger step, or search with another strategy",
        )
    return [Candidate(tuple(share / parts for share in shares)) for shares in _shares(parts, count)]


def grid_size(step: float, count: int) -> int:
    """How many points `weight_grid` has, or would have."""
    parts = len(alpha_grid(step)) - 1
    return comb(parts + count - 1, count - 1)


def _shares(parts: int, count: int) -> list[tuple[int, ...]]:
    """All ways to give `parts` equal parts to `count`: bars between them."""
    found = []
    for bars in combinations(range(parts + count - 1), count - 1):
        places = (-1, *bars, parts + count - 1)
        found.append(tuple(right - left - 1 for left, right in pairwise(places)))
    return found


def from_coarse_to_fine(points: Sequence[Candidate]) -> list[Candidate]:
    """The same along a line, both ends first: what is known early already has the shape of the whole."""
    return [points[int(place)] for place in coarse_to_fine(tuple(map(float, range(len(points)))))]


def dirichlet(draws: int, members: Sequence[int], count: int, seed: Sequence[int]) -> list[Candidate]:
    """Random weights of some of `count` checkpoints, uniform on the simplex."""
    rows = np.random.default_rng(list(seed)).dirichlet(np.ones(len(members)), draws)
    return [Candidate(spread(row.tolist(), members, count)) for row in rows]


def spread(row: Sequence[float], members: Sequence[int], count: int) -> Row:
    """Weights of some of `count` checkpoints as those of all."""
    whole = [0.0] * count
    for number, share in zip(members, row, strict=True):
        whole[number] = share
    return tuple(whole)


def best_of(candidates: Sequence[Candidate], scores: Sequence[float]) -> Candidate:
    """The first of those with the highest score."""
    return candidates[max(range(len(scores)), key=scores.__getitem__)]
