"""The shape of a curve from half of the pictures, then its highest points on all of them."""

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
NEAR = 3
FEWEST = 4
"""Pictures below which all of them are looked at from the beginning."""

HALF = 0


@STRATEGIES.register("adaptive")
@dataclass(frozen=True)
class Adaptive(Strategy):
    """Both ends on all pictures; alpha .25, .5, .75 and the three points of the grid nearest to the peak of a quartic
    through these five on every other picture; then the best merges among them on all.

    What half of the pictures says is corrected by what it says wrongly of both ends, which are known on all: with F on
    all and H on half of them, F'(alpha) = H(alpha) + alpha (F(1) - H(1)) + (1 - alpha) (F(0) - H(0)). A picture that is
    hard for both ends is hard for what lies between (a control variate), so that fewer of the wrong merges go on.

    Beside both ends, which every choice needs, it takes at most 5 passes a picture: 24 % of a grid of 21 points. With
    fewer `finalists` it takes less (19 % with two, 17 % with one) and misses more.

    Told beside the best: in how many resamples of the pictures it is the best of those that were looked at on all
    (`confidence`), and by how much mIoU the best of them is better on average (`regret`).
    """

    title: ClassVar[str] = "Adaptive"
    summary: ClassVar[str] = "A quartic through five alphas on half of the pictures, what is near its peak on all"
    source: ClassVar[str] = "a polynomial in place of the grid of Weight Fusion, section 2.2"
    version: ClassVar[int] = 2
    most: ClassVar[int] = 2

    step: float = parameter(STEP, "Distance between alphas of the grid", min=0.001, max=1.0, step=0.01)
    finalists: int = parameter(4, "Merges that are looked at on all pictures: fewer passes, more misses", min=1, max=6)

    def parts(self, pictures: int) -> tuple[tuple[int, ...], ...]:
        """Every other picture; none of few pictures."""
        return () if pictures < FEWEST else (tuple(range(1, pictures, 2)),)

    def expected(self, members: int, pictures: int) -> int:
        """Both ends on all, and what the docstring says of the others."""
        half = pictures // 2 if self.parts(pictures) else pictures
        return 2 * pictures + (len(COARSE) - 2 + NEAR) * half + self.finalists * (pictures - half)

    def search(self, objective: Objective) -> Outcome:
        """Five points and those near their peak, the finalists, the best."""
        coarse = [between(alpha, 0, 1, 2) for alpha in COARSE]
        ends = coarse[-1], coarse[0]
        whole = objective.scores(ends)
        peak = self._peak(self._corrected(objective, coarse, ends, whole))
        near = sorted(alpha_grid(self.step), key=lambda alpha: (round(abs(alpha - peak), 9), alpha))[:NEAR]
        points = list(dict.fromkeys((*coarse, *(between(alpha, 0, 1, 2) for alpha in near))))
        scores = dict(zip(points, self._corrected(objective, points, ends, whole), strict=True))
        merges = sorted((one for one in points if one not in ends), key=lambda one: -scores[one])[: self.finalists]
        finalists = sorted((*ends, *merges), key=lambda one: one.weights[0])
        best = best_of(finalists, objective.scores(finalists))
        return Outcome(best, (), {"peak": peak, **_sureness(best, finalists, objective)})

    def _corrected(
        self, objective: Objective, points: Sequence[Candidate], ends: Sequence[Candidate], whole: Sequence[float]
    ) -> list[float]:
        """F' of the class's docstring, `whole` being F of both ends; F itself of few pictures."""
        if not self.parts(objective.pictures):
            return list(objective.scores(points))
        pairs = zip(whole, objective.scores(ends, HALF), strict=True)
        wrong = [on_all - on_half if np.isfinite([on_all, on_half]).all() else 0.0 for on_all, on_half in pairs]
        shares = (one.weights for one in points)
        return [
            score + sum(share * by for share, by in zip(row, wrong, strict=True))
            for row, score in zip(shares, objective.scores(points, HALF), strict=True)
        ]

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
