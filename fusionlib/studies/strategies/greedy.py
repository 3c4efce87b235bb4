"""Checkpoints added to a soup one after the other, where it gets better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fusionlib.candidate import Candidate, Outcome, equal, singles
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter
from fusionlib.studies.candidates import ENSEMBLES_OF
from fusionlib.studies.points import best_of

ORDERS = ("sorted", "random")


@dataclass(frozen=True)
class Greedy(Strategy):
    """One round over the checkpoints, each tried once: it stays where the score rises with it.

    `sorted` takes the best first (of equal ones the one named first); `random` several orders, of which the mean and
    the standard deviation are told and the best is the result.
    """

    together: ClassVar[bool] = False

    ties: bool = parameter(False, "Keep one with which the score stays the same")
    order: str = parameter("sorted", "Best first, or at random", choices=ORDERS)
    orders: int = parameter(5, "How many random orders", min=1, max=100, step=1)
    seed: int = parameter(0, "Seed of the random orders", min=0, max=2**31 - 1, step=1)

    def expected(self, members: int, pictures: int) -> int:
        """Each alone, and each once more in every order; ensembles of few networks come with these."""
        if self.together and members <= ENSEMBLES_OF:
            return members * pictures
        return (members + (members - 1) * (self.orders if self.order == "random" else 1)) * pictures

    def search(self, objective: Objective) -> Outcome:
        """Order after order."""
        if self.together and objective.members <= ENSEMBLES_OF:  # one pass of all brings each alone and every subset
            objective.scores([equal(range(objective.members), objective.members, together=True)])
        found = [self._one(order, objective) for order in self._orders(objective)]
        scores = [score for _, score, _ in found]
        about = {"orders": [about for _, _, about in found]}
        if self.order == "random":
            about |= {"mean": float(np.mean(scores)), "std": float(np.std(scores))}
        return Outcome(best_of([soup for soup, _, _ in found], scores), (), about)

    def _orders(self, objective: Objective) -> list[list[int]]:
        count = objective.members
        scores = objective.scores(singles(count))
        if self.order == "sorted":
            return [sorted(range(count), key=lambda number: -scores[number])]
        rng = np.random.default_rng(self.seed)
        return [rng.permutation(count).tolist() for _ in range(self.orders)]

    def _one(self, order: Sequence[int], objective: Objective) -> tuple[Candidate, float, dict[str, Any]]:
        count = objective.members
        kept = [order[0]]
        soup = equal(kept, count)
        (score,) = objective.scores([soup])
        for number in order[1:]:
            tried = equal([*kept, number], count, together=self.together)
            (found,) = objective.scores([tried])
            if found > score or (self.ties and found == score):
                kept, soup, score = [*kept, number], tried, found
        return soup, score, {"order": list(order), "kept": kept, "score": score}


@STRATEGIES.register("greedy")
@dataclass(frozen=True)
class GreedySoup(Greedy):
    """`soup = mean of the kept`; strictly better ones are kept.

    Source: Wortsman et al. 2022, "Model soups", recipe 1. The paper keeps on >= (`ties`), its code on >.
    """

    title: ClassVar[str] = "Greedy soup"
    summary: ClassVar[str] = "The best checkpoint, and each other that makes the mean of the kept ones better"
    source: ClassVar[str] = "Wortsman et al. 2022, Model soups, recipe 1"
    version: ClassVar[int] = 1
    buffers: ClassVar[str] = "recalibrate"
