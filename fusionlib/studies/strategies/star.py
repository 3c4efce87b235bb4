"""One checkpoint with each of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fusionlib.candidate import Candidate, Outcome, single
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter
from fusionlib.errors import UsageError
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.means import arithmetic, harmonic
from fusionlib.studies.points import STEP, best_of, from_coarse_to_fine, pair_grid


@STRATEGIES.register("star")
@dataclass(frozen=True)
class Star(Strategy):
    """A grid between a start weight and each of the others, and the best pair with its best alpha, the weight of the
    start.

    Beside each, the series of the figures: the score of the merge (`fused`) and of the other network alone (`single`),
    the `loss` of the other alone, and the `oracle` of the two. Over several datasets an oracle is the harmonic mean and
    a loss the mean of all.

    Source: Weight Fusion, sections 3.2 and 4.1, figures 5 and 8: the start weight and the epochs that follow from it.
    """

    title: ClassVar[str] = "Star"
    summary: ClassVar[str] = "A start weight with each of the others: the best pair and its best alpha"
    source: ClassVar[str] = "Weight Fusion, sections 3.2 and 4.1, figures 5 and 8"
    version: ClassVar[int] = 2

    start: int = parameter(0, "Number of the start weight", min=0, max=63, step=1, checkpoint=True)
    step: float = parameter(STEP, "Distance between alphas", min=0.001, max=1.0, step=0.01)

    def expected(self, members: int, pictures: int) -> int:
        """A grid for each of the others; the start is looked at with each of them, for their oracle."""
        return (members - 1) * len(alpha_grid(self.step)) * pictures

    def search(self, objective: Objective) -> Outcome:
        """Pair after pair."""
        count = objective.members
        if self.start >= count:
            raise UsageError(
                f"Start {self.start} of {count} checkpoints", f"a number from 0 to {count - 1}", "Correct start"
            )
        found = [self._pair(other, objective) for other in range(count) if other != self.start]
        best = max(found, key=lambda one: one[1])[0]
        return Outcome(best, tuple(one for one, _, _ in found), {"rays": [about for _, _, about in found]})

    def _pair(self, other: int, objective: Objective) -> tuple[Candidate, float, dict[str, Any]]:
        """The best merge of the start with another, its score, and the figures of the ray."""
        count = objective.members
        points = pair_grid(self.step, self.start, other, count)
        oracle = objective.figures("oracle", [single(self.start, count), single(other, count)])  # brings both alone
        objective.scores(from_coarse_to_fine(points))
        scores = objective.scores(points)
        best = best_of(points, scores)
        return (
            best,
            max(scores),
            {
                "start": self.start,
                "other": other,
                "alpha": best.weights[self.start],
                "fused": max(scores),
                "single": scores[0],
                "loss": arithmetic([one["loss"] for one in objective.figures("loss", [single(other, count)])]),
                "oracle": harmonic([one["oracle_miou"] for one in oracle]),
            },
        )
