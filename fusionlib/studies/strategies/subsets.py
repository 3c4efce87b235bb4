"""Every subset of a few checkpoints, merged and as an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

from fusionlib.candidate import Candidate, Outcome, equal
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.points import STEP, best_of, dirichlet, from_coarse_to_fine, pair_grid

DRAWS = 50


@STRATEGIES.register("subsets")
@dataclass(frozen=True)
class Subsets(Strategy):
    """WF_n, the best merge of each subset of n >= 2 checkpoints, and DE_n, the mean of their probabilities.

    WF_2 is a grid, WF_n of more the best of random draws on the simplex. All DE_n come from one pass of the K networks.
    The best of all WF_n is the result: an ensemble costs n passes a picture.

    Source: Weight Fusion, section 4.1, tables 5 and 6. Appendix G has a grid for every n.
    """

    title: ClassVar[str] = "Subsets"
    summary: ClassVar[str] = "Every subset: its best merge (WF_n) and the ensemble of its networks (DE_n)"
    source: ClassVar[str] = "Weight Fusion, section 4.1, tables 5 and 6"
    version: ClassVar[int] = 1
    most: ClassVar[int] = 8

    step: float = parameter(STEP, "Distance between alphas of two", min=0.001, max=1.0, step=0.01)
    draws: int = parameter(DRAWS, "Random weights of three and more", min=1, max=1000, step=10)
    seed: int = parameter(0, "Seed of the draws", min=0, max=2**31 - 1, step=1)

    def expected(self, members: int, pictures: int) -> int:
        """Grids, draws, and one pass of each network for all ensembles."""
        pairs, larger = members * (members - 1) // 2, 2**members - 1 - members - members * (members - 1) // 2
        return (2 * members + pairs * (len(alpha_grid(self.step)) - 2) + larger * self.draws) * pictures

    def search(self, objective: Objective) -> Outcome:
        """All ensembles, then merges, small subsets first."""
        count = objective.members
        sets = [members for size in range(2, count + 1) for members in combinations(range(count), size)]
        together = [equal(members, count, together=True) for members in sets]
        ensembles = objective.scores(together)
        rows: list[dict[str, Any]] = []
        merged: list[Candidate] = []
        scores: list[float] = []
        for members, ensemble in zip(sets, ensembles, strict=True):
            best, score = self._merged(members, objective)
            merged.append(best)
            scores.append(score)
            rows.append(
                {"members": list(members), "weights": list(best.weights), "merged": score, "ensemble": ensemble}
            )
        best = best_of(merged, scores)
        return Outcome(best, (*merged, *together), {"subsets": rows})

    def _merged(self, members: Sequence[int], objective: Objective) -> tuple[Candidate, float]:
        """WF_n of a subset; two and more take part."""
        count = objective.members
        if len(members) == 2:
            points = pair_grid(self.step, members[0], members[1], count)
            objective.scores(from_coarse_to_fine(points))
            points = points[1:-1] or points
        else:
            points = dirichlet(self.draws, members, count, [self.seed, *members])
        scores = objective.scores(points)
        return best_of(points, scores), max(scores)
