"""Networks added to an ensemble one after the other, where it gets better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusionlib.contracts import STRATEGIES
from fusionlib.studies.strategies.greedy import Greedy


@STRATEGIES.register("greedy-ensemble")
@dataclass(frozen=True)
class GreedyEnsemble(Greedy):
    """The same as the greedy soup with the mean of the networks' probabilities in place of that of their weights: one
    round, without replacement.

    Source: Caruana et al. 2004, "Ensemble selection from libraries of models", without replacement; the lecture
    "Ensembling and Weight Averaging" beside the soups.
    """

    title: ClassVar[str] = "Greedy ensemble"
    summary: ClassVar[str] = "The same on averaged probabilities: as many passes a picture as networks are kept"
    source: ClassVar[str] = "lecture Ensembling and Weight Averaging; Caruana et al. 2004"
    version: ClassVar[int] = 1
    together: ClassVar[bool] = True
