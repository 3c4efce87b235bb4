"""The shape of a curve from five points on half of the pictures, then its peak on more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fusionlib.candidate import Candidate, Outcome, between
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.points import STEP, best_of

COARSE = (0.0, 0.25, 0.5, 0.75, 1.0)
NEAR, FINALISTS = 2, 2
FEWEST = 4
"""Pictures below which all of them are looked at from the beginning."""

HALF, MORE = 0, 1


@STRATEGIES.register("adaptive")
@dataclass(frozen=True)
class Adaptive(Strategy):
    """A quartic through the scores at alpha 0, .25, .5, .75 and 1, and the two points of the grid next to its peak, on
    every other picture; then the two best merges of these on three quarters of them, and the better one and both ends
    on all. At most a quarter of a grid of 21 points: where the peak lies at one of the five, both go on to all.

    Told beside the best: in how many resamples of the pictures it is the best of those that were looked at on all
    (`confidence`), and by how much mIoU the best of them is better on average (`regret`).
    """

    title: ClassVar[str] = "Adaptive"
    summary: ClassVar[str] = "A quartic through five alphas on half of the pictures, its peak and both ends on all"
    source: ClassVar[str] = "a polynomial in place of the grid of Weight Fusion, section 2.2"
    version: ClassVar[int] = 1
    most: ClassVar[int] = 2

    step: float = parameter(STEP, "Distance between alphas of the grid", min=0.001, max=1.0, step=0.01)

    def parts(self, pictures: int) -> tuple[tuple[int, ...], ...]:
        """Every other picture, and these with half of the others, both evenly spaced; none of few pictures."""
        if pictures < FEWEST:
            return ()
        half, others = range(1, pictures, 2), range(0, pictures, 2)
        count = 3 * pictures // 4 - len(half)
        more = (others[place * len(others) // count] for place in range(count))
        return tuple(half), tuple(sorted((*half, *more)))

    def expected(self, members: int, pictures: int) -> int:
        """Both ends on all, and what the docstring says of the others."""
        sizes = [len(part) for part in self.parts(pictures)] or [pictures, pictures]
        half, more = sizes
        apart = 2 * pictures + (len(COARSE) + NEAR - 2) * half + FINALISTS * (more - half) + pictures - more
        return max(apart, 2 * pictures + (len(COARSE) + NEAR - 3) * half + FINALISTS * (pictures - half))

    def search(self, objective: Objective) -> Outcome:
        """Seven points, two finalists, the best."""
        parts = bool(self.parts(objective.pictures))
        coarse = [between(alpha, 0, 1, 2) for alpha in COARSE]
        ends = [coarse[0], coarse[-1]]
        peak = self._peak(objective.scores(coarse, HALF if parts else None))
        near = sorted(alpha_grid(self.step), key=lambda alpha: (round(abs(alpha - peak), 9), alpha))[:NEAR]
        points = list(dict.fromkeys((*coarse, *(between(alpha, 0, 1, 2) for alpha in near))))
        scores = dict(zip(points, objective.scores(points, HALF if parts else None), strict=True))
        merges = sorted((one for one in points if one not in ends), key=lambda one: -scores[one])[:FINALISTS]
        if parts and len(points) == len(COARSE) + NEAR:
            merges = [best_of(merges, objective.scores(merges, MORE))]
        finalists = sorted((*ends, *merges), key=lambda one: one.weights[0])
        best = best_of(finalists, objective.scores(finalists))
        return Outcome(best, (), {"peak": peak, **_sureness(best, finalists, objective)})

    def _peak(self, scores: Sequence[float]) -> float:
        """Where the quartic is highest; the best of the five where one has no score."""
        if not np.isfinite(scores).all():
            return COARSE[int(np.argmax(scores))]
        alphas = np.linspace(0, 1, 1001)
        return float(alphas[np.argmax(np.polyval(np.polyfit(COARSE, scores, len(COARSE) - 1), alphas))])


def _sureness(best: Candidate, finalists: Sequence[Candidate], objective: Objective) -> dict[str, Any]:
    draws = objective.draws(finalists)
    if draws is None or not len(draws):
        return {"confidence": None, "regret": None}
    highest, mine = draws.max(1), draws[:, finalists.index(best)]
    return {"confidence": float((mine == highest).mean()), "regret": float((highest - mine).mean())}
