"""From both ends of a pair inwards, as long as it gets better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fusionlib.candidate import Candidate, Outcome
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.points import STEP, best_of, pair_grid


@STRATEGIES.register("walk")
@dataclass(frozen=True)
class Walk(Strategy):
    """`alpha = 0, s, 2 s, ...` while every score is strictly above the one before, then `1, 1 - s, 1 - 2 s, ...` the
    same way; the best of all that were visited.

    An arm ends at a point that was visited before. A score with one hump is followed to its top by both arms; of two
    humps each arm finds the one on its side. A score that falls at both ends and rises in the middle is not seen.

    Source: Weight Fusion, appendix E.
    """

    title: ClassVar[str] = "Walk"
    summary: ClassVar[str] = "From both ends inwards as long as the score rises: the paper's early stop"
    source: ClassVar[str] = "Weight Fusion, appendix E"
    version: ClassVar[int] = 1
    most: ClassVar[int] = 2

    step: float = parameter(STEP, "Distance between alphas", min=0.001, max=1.0, step=0.01)

    def expected(self, members: int, pictures: int) -> int:
        """All points, at most."""
        return len(alpha_grid(self.step)) * pictures

    def search(self, objective: Objective) -> Outcome:
        """Both arms, the ends first in theirs."""
        points = pair_grid(self.step, 0, 1, objective.members)
        visited: dict[Candidate, float] = {}
        for arm in (points, points[::-1]):
            _climb(arm, visited, objective)
        return Outcome(best_of(list(visited), list(visited.values())))


def _climb(arm: Sequence[Candidate], visited: dict[Candidate, float], objective: Objective) -> None:
    before = float("-inf")
    for point in arm:
        if point in visited:
            return
        (score,) = objective.scores([point])
        visited[point] = score
        if score <= before:
            return
        before = score
