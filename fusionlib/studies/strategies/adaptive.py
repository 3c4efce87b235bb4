"""The shape of a curve from five points on some of the pictures, then its peak on all of them."""

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
FINALISTS = 2
FEWEST = 4
"""Pictures below which all of them are looked at from the beginning."""


@STRATEGIES.register("adaptive")
@dataclass(frozen=True)
class Adaptive(Strategy):
    """A quartic through the scores at alpha 0, .25, .5, .75 and 1, and the two points of the grid next to its peak, all
    on a share of the pictures, evenly spaced; then the two best of these seven, and both ends, on all pictures.

    Told beside the best: in how many resamples of the pictures it is the best of those finalists (`confidence`), and by
    how many points of mIoU the best of them is better on average (`regret`).
    """

    title: ClassVar[str] = "Adaptive"
    summary: ClassVar[str] = "A quartic through five alphas on some pictures, its peak and both ends on all of them"
    source: ClassVar[str] = "a polynomial in place of the grid of Weight Fusion, section 2.2"
    version: ClassVar[int] = 1
    most: ClassVar[int] = 2

    share: float = parameter(0.4, "Share of the pictures for the first seven points", min=0.05, max=1.0, step=0.05)
    step: float = parameter(STEP, "Distance between alphas of the grid", min=0.001, max=1.0, step=0.01)

    def parts(self, pictures: int) -> tuple[tuple[int, ...], ...]:
        """One, evenly spaced; none where it would be all of them, or where there are few."""
        count = max(FEWEST // 2, round(self.share * pictures))
        if pictures < FEWEST or count >= pictures:
            return ()
        return (tuple(place * pictures // count for place in range(count)),)

    def expected(self, members: int, pictures: int) -> int:
        """Seven points on the part, and the rest of the pictures for four of them."""
        part = len(self.parts(pictures)[0]) if self.parts(pictures) else pictures
        return (len(COARSE) + 2) * part + (FINALISTS + 2) * (pictures - part)

    def search(self, objective: Objective) -> Outcome:
        """Seven points, then the finalists."""
        part = 0 if self.parts(objective.pictures) else None
        coarse = [between(alpha, 0, 1, 2) for alpha in COARSE]
        peak = self._peak(objective.scores(coarse, part))
        near = sorted(alpha_grid(self.step), key=lambda alpha: (round(abs(alpha - peak), 9), alpha))[:2]
        points = list(dict.fromkeys((*coarse, *(between(alpha, 0, 1, 2) for alpha in near))))
        scores = objective.scores(points, part)
        order = sorted(range(len(points)), key=lambda place: -scores[place])
        chosen = {points[place] for place in order[:FINALISTS]} | {coarse[0], coarse[-1]}
        finalists = sorted(chosen, key=lambda one: one.weights[0])
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
