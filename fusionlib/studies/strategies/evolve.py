"""A weight of its own for every block, by an evolution of profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fusionlib.candidate import Candidate, Outcome, between
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter
from fusionlib.diagnostics.bootstrap import middle
from fusionlib.errors import UsageError
from fusionlib.merging.choices import GRANULARITIES
from fusionlib.studies.points import best_of

DIGITS = 3
"""Decimals of an alpha."""

UNIFORM = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Profiles of the first generation that have one alpha everywhere."""


@STRATEGIES.register("evolve")
@dataclass(frozen=True)
class Evolve(Strategy):
    """Differential evolution of the alphas of all units of two checkpoints, generation by generation.

    It ends with its budget of forward passes, or inside the noise: where the 95 % interval of what the last `patience`
    generations have gained holds 0. With many units and few pictures it finds what suits these pictures: the figures of
    others say what is left of it.

    Source: Storn & Price 1997, by `scipy.optimize.differential_evolution`; layer profiles: Layer-wise Model Merging.
    """

    title: ClassVar[str] = "Evolution of a profile"
    summary: ClassVar[str] = "An alpha for every block by differential evolution, until its gain is inside the noise"
    source: ClassVar[str] = "Storn & Price 1997 (scipy); Layer-wise Model Merging, general form"
    version: ClassVar[int] = 1
    most: ClassVar[int] = 2

    unit: str = parameter("block", "What has an alpha of its own", choices=GRANULARITIES)
    budget: int = parameter(2000, "Forward passes, at most", min=1, max=10_000_000, step=500)
    population: int = parameter(12, "Profiles of a generation", min=6, max=200, step=2)
    patience: int = parameter(3, "Generations whose gain is held against the noise", min=1, max=100, step=1)
    seed: int = parameter(0, "Seed of the evolution", min=0, max=2**31 - 1, step=1)

    def granularity(self) -> str:
        """The unit."""
        return self.unit

    def expected(self, members: int, pictures: int) -> int:
        """The budget."""
        return self.budget

    def search(self, objective: Objective) -> Outcome:
        """Generation by generation. Raises `UsageError` for a budget of less than two of them."""
        from scipy.optimize import differential_evolution

        generations = self.budget // (self.population * objective.pictures) - 1
        if generations < 1:
            raise UsageError(
                f"{self.budget} forward passes on {objective.pictures} pictures",
                f"{2 * self.population * objective.pictures} for two generations of {self.population} profiles",
                "Raise budget, lower population, or choose by fewer pictures",
            )
        evolution = _Evolution(objective, self.unit, self.patience)
        units = len(objective.units)
        differential_evolution(
            lambda alphas: 0.0,  # never called: generations are asked about as a whole
            [(0.0, 1.0)] * units,
            maxiter=generations,
            init=self._first(units),
            updating="deferred",
            workers=evolution.losses,
            callback=evolution.ended,
            polish=False,
            tol=0,
            atol=-1,  # profiles that are alike may still be told apart by more generations
            seed=self.seed,  # type: ignore[call-arg] - the name that every supported scipy knows
        )
        return Outcome(evolution.best, (), evolution.about)

    def _first(self, units: int) -> np.ndarray:
        """The same alpha everywhere, then each of its own (population, units)."""
        rng = np.random.default_rng(self.seed)
        first = rng.uniform(0, 1, (self.population, units))
        first[: len(UNIFORM)] = np.array(UNIFORM)[:, None]
        return first


class _Evolution:
    """What scipy asks for, generation by generation."""

    def __init__(self, objective: Objective, unit: str, patience: int) -> None:
        self.objective, self.unit, self.patience = objective, unit, patience
        self.incumbents: list[Candidate] = []
        self.scores: dict[Candidate, float] = {}
        self.noise: list[float] | None = None
        self.inside = False

    def losses(self, _: Callable, population: Iterable[np.ndarray]) -> list[float]:
        """A generation, asked about together."""
        profiles = [self._profile(alphas) for alphas in population]
        scores = self.objective.scores(profiles)
        self.scores |= dict(zip(profiles, scores, strict=True))
        self.incumbents.append(best_of(list(self.scores), list(self.scores.values())))
        return [-score if np.isfinite(score) else 1e9 for score in scores]

    def ended(self, *_: Any, **__: Any) -> bool:
        """Whether what the last generations have gained may be chance."""
        if len(self.incumbents) <= self.patience:
            return False
        old, new = self.incumbents[-1 - self.patience], self.best
        self.inside = old == new
        if not self.inside:
            draws = self.objective.draws([old, new])
            if draws is not None and len(draws):
                self.noise = list(middle(draws[:, 1] - draws[:, 0]))
                self.inside = self.noise[0] <= 0
        return self.inside

    @property
    def best(self) -> Candidate:
        return self.incumbents[-1]

    @property
    def about(self) -> dict[str, Any]:
        return {"generations": len(self.incumbents), "stopped": "noise" if self.inside else "budget"}

    def _profile(self, alphas: Iterable[float]) -> Candidate:
        rows = [round(float(alpha), DIGITS) for alpha in alphas]
        if len(set(rows)) == 1:
            return between(rows[0], 0, 1, 2)
        mean = round(float(np.mean(rows)), 9)
        units = tuple((name, (row, 1 - row)) for name, row in zip(self.objective.units, rows, strict=True))
        return Candidate((mean, 1 - mean), units, self.unit)
