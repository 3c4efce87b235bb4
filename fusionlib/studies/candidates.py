"""From candidates of a search to recipes and questions, and from answers to scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Any

from fusionlib.candidate import SCORES, Candidate, Row, singles
from fusionlib.errors import UsageError, shown
from fusionlib.question import Known, Question, figures_of, told_of
from fusionlib.recipe import Calibration, Recipe, Source, checkpoint_alone
from fusionlib.studies.curve import BASIC

ENSEMBLES = "ensembles"
"""The measure of all subsets of a set of networks that answer together."""

ENSEMBLES_OF = 8
"""Networks whose subsets it counts, at most."""


@cache
def subsets_of(count: int) -> tuple[tuple[int, ...], ...]:
    """All subsets of two and more of `count` networks, small ones first: the order of the measure `ensembles`."""
    return tuple(members for size in range(2, count + 1) for members in combinations(range(count), size))


@dataclass(frozen=True)
class Networks:
    """The networks that candidates of some checkpoints are.

    `buffers` and `dtype` are those of all merges. `calibration` names the pictures that `recalibrate` looks at, `anew`
    the same with as many as a candidate with statistics of its own gets; both None where there are no statistics.
    `there` is how many pictures there are for that.
    """

    sources: tuple[Source, ...]
    buffers: str = "average"
    dtype: str | None = None
    calibration: Calibration | None = None
    anew: Calibration | None = None
    there: int = 0
    _made: dict[Candidate, Recipe] = field(default_factory=dict, compare=False, repr=False)
    _asked: dict[tuple[Candidate, str], tuple[Question, ...]] = field(default_factory=dict, compare=False, repr=False)

    def recipe(self, candidate: Candidate) -> Recipe:
        """The network of a candidate; the same object each time, because what it is built into is kept by that."""
        if candidate not in self._made:
            self._made[candidate] = self._recipe(candidate)
        return self._made[candidate]

    def _recipe(self, candidate: Candidate) -> Recipe:
        members = candidate.members
        if candidate.alone:
            return checkpoint_alone(self.sources[members[0]])
        sources = tuple(self.sources[number] for number in members)
        row = _of(candidate.weights, members)
        if candidate.together:
            return Recipe(method="ensemble", parameters={"weights": row}, checkpoints=sources)
        if candidate.units:
            units = {name: _of(one, members) for name, one in candidate.units}
            given = {"granularity": candidate.granularity, "weights": units, "rest": row}
            return self._merge("profile", given, sources, candidate)
        given = {"alpha": row[0]} if len(row) == 2 else {"weights": row}
        return self._merge("linear", given, sources, candidate)

    def _merge(self, method: str, given: dict[str, Any], sources: tuple[Source, ...], candidate: Candidate) -> Recipe:
        anew = candidate.anew and self.anew is not None
        calibration = self.anew if anew else self.calibration
        return Recipe(
            method=method,
            parameters=given,
            buffers="recalibrate" if anew else self.buffers,
            calibration=calibration if anew or self.buffers == "recalibrate" else None,
            dtype=self.dtype,  # type: ignore[arg-type]
            checkpoints=sources,
        )

    def preparing(self, recipe: Recipe) -> int:
        """Forward passes before a network is there."""
        return 0 if recipe.calibration is None else min(recipe.calibration.count, self.there)

    def questions(self, candidate: Candidate, data: str) -> tuple[Question, ...]:
        """What is asked about a candidate on these pictures; the same objects each time, whose hashes are known."""
        if (candidate, data) not in self._asked:
            self._asked[candidate, data] = self._questions(candidate, data)
        return self._asked[candidate, data]

    def _questions(self, candidate: Candidate, data: str) -> tuple[Question, ...]:
        if self.counted_together(candidate):
            alone = tuple(map(self.recipe, singles(len(self.sources))))
            return (Question(alone, data, ENSEMBLES),)
        return tuple(Question((self.recipe(candidate),), data, name) for name in BASIC)

    def counted_together(self, candidate: Candidate) -> bool:
        """Whether it is one of the ensembles that come from one pass of all networks."""
        shares = {share for share in candidate.weights if share}
        return candidate.together and len(shares) == 1 and len(self.sources) <= ENSEMBLES_OF

    def place(self, candidate: Candidate) -> int:
        """Its number among the ensembles of that measure."""
        return subsets_of(len(self.sources)).index(candidate.members)

    def figures(self, candidate: Candidate, data: str, known: Known) -> dict[str, Any] | None:
        """What is known of a candidate on these pictures; None where something is missing."""
        told = told_of(self.questions(candidate, data), known)
        if told is None:
            return None
        found = figures_of(told)
        if not self.counted_together(candidate):
            return found
        place = self.place(candidate)
        about = {"images": found["images"], "tiled": found["tiled"]}
        return {**about, **{name: found[f"ensemble_{name}"][place] for name in SCORES}}


def score_in(figures: Mapping[str, Any], score: str) -> float:
    """The score that a search chooses by; higher is better, and what is undefined is below all."""
    value = figures[score]
    return float("-inf") if value is None else SCORES[score][1] * value


def check_score(score: str) -> str:
    """`score` itself. Raises `UsageError` that lists the valid ones."""
    if score not in SCORES:
        raise UsageError(f"Unknown score {shown(score)}", f"one of {', '.join(SCORES)}", "Correct --score")
    return score


def _of(row: Row, members: tuple[int, ...]) -> list[float]:
    return [row[number] for number in members]
