"""Random weights, then small steps from the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusionlib.candidate import Candidate, Outcome, equal, singles
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter
from fusionlib.studies.points import best_of, dirichlet

FIRST, LAST = 0.5, 0.0625
"""Steps of the local search, in logits of a softmax: halved while nothing gets better."""

LEAST = 1e-3
"""A weight of 0 has no logit: it counts as this."""


@STRATEGIES.register("simplex")
@dataclass(frozen=True)
class Simplex(Strategy):
    """The best of the corners, the centre and random draws on the simplex, then of steps from it: one logit of `w =
    softmax(z)` at a time up or down by .5, .25, .125, .0625, taken where the score rises strictly.

    Source: Weight Fusion, section 4.1: 50 draws, whose distribution it does not state; Dirichlet(1, ..., 1) is uniform.
    The steps are not in the paper.
    """

    title: ClassVar[str] = "Simplex"
    summary: ClassVar[str] = "50 random weights on the simplex, then small steps from the best of them"
    source: ClassVar[str] = "Weight Fusion, section 4.1 (WF_3, WF_4); coordinate search for the steps"
    version: ClassVar[int] = 1

    draws: int = parameter(50, "Random weights", min=1, max=1000, step=10)
    steps: int = parameter(60, "Points of the local search, at most", min=0, max=1000, step=10)
    seed: int = parameter(0, "Seed of the draws", min=0, max=2**31 - 1, step=1)

    def expected(self, members: int, pictures: int) -> int:
        """Corners, centre, draws and steps."""
        return (members + 1 + self.draws + self.steps) * pictures

    def search(self, objective: Objective) -> Outcome:
        """Draws, then steps."""
        count = objective.members
        points = [*singles(count), equal(range(count), count)]
        points += dirichlet(self.draws, range(count), count, [self.seed])
        scores = objective.scores(points)
        return Outcome(self._refined(best_of(points, scores), max(scores), objective))

    def _refined(self, best: Candidate, score: float, objective: Objective) -> Candidate:
        step, left = FIRST, self.steps
        while step >= LAST and left > 0:
            moved = False
            for number, sign in ((number, sign) for number in range(objective.members) for sign in (1, -1)):
                if left == 0:
                    break
                left -= 1
                tried = _moved(best, number, sign * step)
                (found,) = objective.scores([tried])
                if found > score:
                    best, score, moved = tried, found, True
            step = step if moved else step / 2
        return best


def _moved(point: Candidate, number: int, by: float) -> Candidate:
    """One logit changed."""
    row = np.maximum(np.array(point.weights), LEAST)
    row[number] *= np.exp(by)
    return Candidate(tuple((row / row.sum()).tolist()))
