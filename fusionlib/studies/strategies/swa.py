"""The mean of all, with statistics of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from fusionlib.candidate import Outcome, equal
from fusionlib.contracts import STRATEGIES, Objective, Strategy


@STRATEGIES.register("swa")
@dataclass(frozen=True)
class StochasticWeightAverage(Strategy):
    """`mean of all checkpoints`, batch-norm statistics measured anew over all pictures that there are for that (or as
    many as are asked for): those to choose by, or a split of their own.

    Every picture counts once, whatever the batches are: the authors' `bn_update`, not torch's `update_bn`. Source:
    Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima"; Weight Fusion, section 4.1, whose baseline is the
    mean of the start and ten epochs.
    """

    title: ClassVar[str] = "Stochastic weight averaging"
    summary: ClassVar[str] = "The mean of all, its batch-norm statistics measured anew over the whole split"
    source: ClassVar[str] = "Izmailov et al. 2018; Weight Fusion, section 4.1"
    version: ClassVar[int] = 1
    buffers: ClassVar[str] = "recalibrate"

    def expected(self, members: int, pictures: int) -> int:
        """The mean, its statistics, and the checkpoints that it is held against."""
        return (members + 2) * pictures

    def search(self, objective: Objective) -> Outcome:
        """There is nothing to choose."""
        mean = replace(equal(range(objective.members), objective.members), anew=True)
        objective.scores([mean])
        return Outcome(mean)
