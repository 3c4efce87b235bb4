"""Every point of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusionlib.candidate import Outcome
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter
from fusionlib.studies.points import STEP, best_of, from_coarse_to_fine, grid_size, weight_grid


@STRATEGIES.register("grid")
@dataclass(frozen=True)
class Grid(Strategy):
    """The best of all weights that are whole multiples of a step; of two checkpoints from coarse to fine.

    Of equal scores the first counts, in order of the weight of the first checkpoint. Source: Weight Fusion, section
    2.2.
    """

    title: ClassVar[str] = "Grid"
    summary: ClassVar[str] = "Every point of a grid of weights: the optimum that others are held against"
    source: ClassVar[str] = "Weight Fusion, section 2.2 (step 0.05)"
    version: ClassVar[int] = 1

    step: float = parameter(STEP, "Distance between weights", min=0.001, max=1.0, step=0.01)

    def expected(self, members: int, pictures: int) -> int:
        """All points on all pictures."""
        return grid_size(self.step, members) * pictures

    def search(self, objective: Objective) -> Outcome:
        """Ask about all points."""
        points = weight_grid(self.step, objective.members)
        objective.scores(from_coarse_to_fine(points) if objective.members == 2 else points)
        return Outcome(best_of(points, objective.scores(points)))
