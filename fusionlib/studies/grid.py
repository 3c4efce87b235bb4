"""A regular grid of alphas, visited from coarse to fine, so that a partial curve already has the shape of the whole;
what a curve says of its best merge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from fusionlib.diagnostics.evidence import SHARE
from fusionlib.errors import UsageError

SMALLEST = 0.001
"""A thousand points; no curve needs more, and a slip of the keyboard must not ask for a billion."""

FINE = 0.125
"""Distance of alphas around a path's best merge before it is judged: unequal networks have their best at 0.125 to
0.25.
"""

EPSILON = 1e-9
"""Alphas are rounded to nine decimals."""


def alpha_grid(step: float) -> tuple[float, ...]:
    """`0, step, 2 step, ..., 1`, both ends included, rounded to 9 decimals.

    Source: Weight Fusion, section 2.2 (step 0.05, 21 points). Raises `UsageError` unless 0.001 <= step <= 1; where the
    step does not divide 1 the last interval is shorter.
    """
    if not SMALLEST <= step <= 1:
        raise UsageError(f"Step {step}", f"a number from {SMALLEST} to 1", "Try 0.05")
    count = int(1 / step + 1e-9)
    points = [round(index * step, 9) for index in range(count + 1)]
    return tuple(points if points[-1] == 1 else [*points, 1.0])


def coarse_to_fine(points: tuple[float, ...]) -> tuple[float, ...]:
    """The same points: both ends, then the middle of the widest gap, and so on (earliest gap first among equals)."""
    if len(points) < 3:
        return points
    order, gaps = [0, len(points) - 1], [(0, len(points) - 1)]
    while gaps:
        gaps.sort(key=lambda gap: (gap[0] - gap[1], gap[0]))
        low, high = gaps.pop(0)
        if high - low < 2:
            continue
        middle = (low + high) // 2
        order.append(middle)
        gaps += [(low, middle), (middle, high)]
    return tuple(points[index] for index in order)


def merges_of(alphas: Iterable[float], least: float = 0.0) -> list[float]:
    """Those between the ends in order, from `least` to 1 - `least` where any lies there: nearer to an end it is nearly
    that network.
    """
    inner = [alpha for alpha in sorted(alphas) if 0 < alpha < 1]
    return [alpha for alpha in inner if least - EPSILON <= alpha <= 1 - least + EPSILON] or inner


def best_merge(scores: Mapping[float, float], least: float = 0.0) -> float | None:
    """The alpha of the highest score among `merges_of`; the first among equals."""
    return max(merges_of(scores, least), key=scores.__getitem__, default=None)


def around_best(scores: Mapping[float, float], fine: float, least: float = 0.0) -> tuple[float, ...]:
    """Alphas to measure next to the best merge: the middles of its two gaps as far as they are wider than `fine`.

    `scores` by alpha with both ends. None are left once the best merge has neighbours within `fine` on both sides: from
    a grid of step s that takes two for each halving of s.
    """
    return tuple(round((low + high) / 2, 9) for low, high in gaps_of_best(scores, least) if high - low > fine + EPSILON)


def gaps_of_best(scores: Mapping[float, float], least: float = 0.0) -> list[tuple[float, float]]:
    """The two gaps beside the best merge; none where there is no merge."""
    best, order = best_merge(scores, least), sorted(scores)
    if best is None:
        return []
    place = order.index(best)
    return list(pairwise(order[place - 1 : place + 2]))


def closer_points(step: float) -> int:
    """How many points beside its grid of `step` a path takes at most until its best merge has neighbours within
    `FINE`.
    """
    return 2 * _halvings(step)


def closer_later(scores: Mapping[float, float]) -> int:
    """How many of these are still to come after those that `around_best` names."""
    return sum(max(0, _halvings(high - low) - 1) for low, high in gaps_of_best(scores, SHARE))


def _halvings(gap: float) -> int:
    return math.ceil(math.log2(max(1.0, (gap - EPSILON) / FINE)))


def path_summary(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`best` merge, its `gain` over the better end, and `unrefined`: alphas next to it that are not measured; None
    where not known.

    `points` in order of alpha, the networks alone at 0 and 1.
    """
    scores = _scores(points)
    best = best_merge(scores, SHARE)
    ends = [points[0]["miou"], points[-1]["miou"]]
    return {
        "best": None if best is None else {"alpha": best, "miou": scores[best]},
        "gain": None if best is None or None in ends else scores[best] - max(ends),
        "unrefined": list(around_best(scores, FINE, SHARE)),
    }


def merges_on(points: Sequence[Mapping[str, Any]]) -> list[float]:
    """Alphas of a path's points that count as merges of the two, the best of which is judged."""
    return merges_of(_scores(points), SHARE)


def _scores(points: Iterable[Mapping[str, Any]]) -> dict[float, float]:
    """mIoU by alpha, where there is one."""
    return {point["alpha"]: point["miou"] for point in points if point["miou"] is not None}
