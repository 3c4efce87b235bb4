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

DIGITS = 4
"""Decimals of an alpha."""

UNIFORM = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Profiles of the first generation that have one alpha everywhere."""

FINER = (0.125, 0.0625)
"""How far from the best of these others are looked at, for the best profile of one alpha."""


@STRATEGIES.register("evolve")
@dataclass(frozen=True)
class Evolve(Strategy):
    """Differential evolution of the alphas of all units of two checkpoints, generation by generation.

    The first generation has profiles of one alpha, and the one that the contributions of the units suggest: the better
    end, and the best alpha in those units that make it better by themselves. These take a pass of every picture and
    unit: where that is more than `begin` of the budget, it begins without, and `contributions` says so. The best
    profile of one alpha is the rival that the found one has to beat.

    It ends with its budget of forward passes, or inside the noise: where the 95 % interval of what the last `patience`
    generations have gained holds 0. With many units and few pictures it finds what suits these pictures: the figures of
    others say what is left of it.

    Source: Storn & Price 1997, by `scipy.optimize.differential_evolution`; layer profiles: Layer-wise Model Merging.
    """

    title: ClassVar[str] = "Evolution of a profile"
    summary: ClassVar[str] = "An alpha for every block by differential evolution, until its gain is inside the noise"
    source: ClassVar[str] = "Storn & Price 1997 (scipy); Layer-wise Model Merging, general form"
    version: ClassVar[int] = 2
    most: ClassVar[int] = 2

    unit: str = parameter("block", "What has an alpha of its own", choices=GRANULARITIES)
    budget: int = parameter(2000, "Forward passes, at most", min=1, max=10_000_000, step=500)
    population: int = parameter(12, "Profiles of a generation", min=6, max=200, step=2)
    begin: float = parameter(
        0.25, "Share of the budget for what each unit contributes; 0: begin without", min=0.0, max=1.0, step=0.05
    )
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

        spent, generation, units = 2 * len(FINER), self.population, len(objective.units)
        affordable = self.budget // objective.pictures
        asked = 0 < units <= self.begin * affordable and affordable - spent - units >= 2 * generation
        generations = (affordable - spent - asked * units) // generation - 1
        if generations < 1:
            raise UsageError(
                f"{self.budget} forward passes on {objective.pictures} pictures",
                f"{(2 * generation + spent) * objective.pictures} for two generations of {generation} profiles and the"
                " best of one alpha",
                "Raise budget, lower population, or choose by fewer pictures",
            )
        uniform = _best_uniform(objective)
        suggested = _suggested(uniform, objective, self.unit) if asked else None
        evolution = _Evolution(objective, self.unit, self.patience)
        differential_evolution(
            lambda alphas: 0.0,  # never called: generations are asked about as a whole
            [(0.0, 1.0)] * units,
            maxiter=generations,
            init=self._first(units, uniform, suggested),
            updating="deferred",
            workers=evolution.losses,
            callback=evolution.ended,
            polish=False,
            tol=0,
            atol=-1,  # profiles that are alike may still be told apart by more generations
            seed=self.seed,  # type: ignore[call-arg] - the name that every supported scipy knows
        )
        told = None if suggested is None else dict(zip(objective.units, suggested.tolist(), strict=True))
        rival = between(uniform, 0, 1, 2)
        return Outcome(evolution.best, (rival,), {**evolution.about, "contributions": told}, rival)

    def _first(self, units: int, uniform: float, suggested: np.ndarray | None) -> np.ndarray:
        """The same alpha everywhere, what the contributions suggest, then each of its own (population, units)."""
        rng = np.random.default_rng(self.seed)
        first = rng.uniform(0, 1, (self.population, units))
        flat = sorted(UNIFORM, key=lambda alpha: abs(alpha - uniform))
        first[: len(UNIFORM)] = np.array([uniform, *flat[1:]])[:, None]
        if suggested is not None:
            first[len(UNIFORM)] = suggested
        return first


def _best_uniform(objective: Objective) -> float:
    """The best alpha for all units: of five, then next to the best in smaller steps."""
    scores = dict(zip(UNIFORM, objective.scores([between(alpha, 0, 1, 2) for alpha in UNIFORM]), strict=True))
    for step in FINER:
        best = max(scores, key=lambda alpha: scores[alpha])
        near = [alpha for alpha in (best - step, best + step) if 0 <= alpha <= 1]
        scores |= dict(zip(near, objective.scores([between(alpha, 0, 1, 2) for alpha in near]), strict=True))
    return max(scores, key=lambda alpha: scores[alpha])


def _suggested(uniform: float, objective: Objective, unit: str) -> np.ndarray:
    """The better end, and the best alpha in every unit that makes it better by itself (units,)."""
    ends = objective.scores([between(alpha, 0, 1, 2) for alpha in (0.0, 1.0)])
    anchor = float(ends[1] >= ends[0])
    merged = uniform if uniform not in (0.0, 1.0) else 0.5
    alone = np.full((len(objective.units),) * 2, anchor)
    np.fill_diagonal(alone, merged)
    gains = np.array(objective.scores([_profile(row, objective, unit) for row in alone])) - max(ends)
    return np.where(gains > 0, merged, anchor)


def _profile(alphas: Iterable[float], objective: Objective, unit: str) -> Candidate:
    rows = [round(float(alpha), DIGITS) for alpha in alphas]
    if len(set(rows)) == 1:
        return between(rows[0], 0, 1, 2)
    mean = round(float(np.mean(rows)), 9)
    units = tuple((name, (row, 1 - row)) for name, row in zip(objective.units, rows, strict=True))
    return Candidate((mean, 1 - mean), units, unit)


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
        profiles = [_profile(alphas, self.objective, self.unit) for alphas in population]
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
