"""From candidates of a search to recipes and questions, and from answers to scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from pathlib import PurePath
from typing import Any

from fusionlib.candidate import HARMONIC, SCORES, Candidate, Row, singles
from fusionlib.errors import UsageError, shown
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Calibration, Recipe, Source, checkpoint_alone
from fusionlib.studies.curve import BASIC, CALIBRATED
from fusionlib.studies.means import harmonic

ENSEMBLES = "ensembles"
"""The measure of all subsets of a set of networks that answer together."""

CALIBRATION = "ensembles_calibration"
"""The measure of their ECE."""

BINNED = "ece_sample_weighted"
"""The figure of the measure `calibration` that is called ECE."""

SHOWN = ("miou", "pixel_accuracy", "loss")
"""Figures of every network that a search looks at, beside what it chooses by."""

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
    `there` is how many pictures there are for that. `calibrated`: ECE is asked of each, which every pass brings.
    """

    sources: tuple[Source, ...]
    buffers: str = "average"
    dtype: str | None = None
    calibration: Calibration | None = None
    anew: Calibration | None = None
    there: int = 0
    calibrated: bool = False
    _made: dict[Candidate, Recipe] = field(default_factory=dict, compare=False, repr=False)
    _asked: dict[tuple[Candidate, str], Step] = field(default_factory=dict, compare=False, repr=False)

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
        return self.step(candidate, data).questions

    def step(self, candidate: Candidate, data: str) -> Step:
        """The same as a step: a search that is gone through again asks for each again."""
        key = candidate, data
        if key not in self._asked:
            self._asked[key] = Step(self._questions(candidate, data), self.named(candidate))
        return self._asked[key]

    def named(self, candidate: Candidate) -> str:
        """A candidate in words, for whoever looks at the progress."""
        names = (PurePath(source.path).stem for source in self.sources)
        shares = zip(names, candidate.weights, strict=True)
        row = ", ".join(f"{name} {share:.3g}" for name, share in shares if share or candidate.units)
        kind = "ensemble of " if candidate.together else "by unit, mean " if candidate.units else ""
        return f"{kind}{row}"

    def _questions(self, candidate: Candidate, data: str) -> tuple[Question, ...]:
        if self.counted_together(candidate):
            alone = tuple(map(self.recipe, singles(len(self.sources))))
            measures = (ENSEMBLES, CALIBRATION) if self.calibrated else (ENSEMBLES,)
            return tuple(Question(alone, data, name) for name in measures)
        measures = CALIBRATED if self.calibrated else BASIC
        return tuple(Question((self.recipe(candidate),), data, name) for name in measures)

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
            return {**found, "ece": found[BINNED]} if self.calibrated else found
        place, names = self.place(candidate), (*SHOWN, "ece") if self.calibrated else SHOWN
        about = {"images": found["images"], "tiled": found["tiled"]}
        return {**about, **{name: found[f"ensemble_{name}"][place] for name in names}}


def over(found: Sequence[Mapping[str, Any]], score: str) -> dict[str, Any]:
    """Figures of a network by dataset -> what a search with this score tells of it: `SHOWN` and the score, over all of
    its `images`; of the harmonic mean that of mIoU over the datasets, whose own figures are its `domains`.
    """
    names = (*SHOWN, "images") if score == HARMONIC else dict.fromkeys((*SHOWN, score, "images"))
    each = [{name: one[name] for name in names} for one in found]
    if score != HARMONIC:
        return each[0]
    mean = harmonic([one["miou"] for one in each])
    return {HARMONIC: mean, "images": sum(one["images"] for one in each), "domains": each}


def gained(score: str) -> str:
    """The figure whose gain over the best checkpoint alone is told."""
    return HARMONIC if score == HARMONIC else "miou"


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
