"""How good and how different the networks of a set are: each alone, together, and as one mean of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import PurePath
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES, Study
from fusionlib.errors import UsageError
from fusionlib.question import Known, Question, Refused, Step, figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.studies.candidates import BINNED, SHOWN
from fusionlib.studies.curve import CALIBRATED
from fusionlib.studies.means import arithmetic

DIVERSITY = ("agreement", "correlation")
"""Measures of how different networks are."""

SIZES, TEMPERATURES, TEMPERATURE = "ensemble_sizes", "ensemble_temperatures", "temperature"
"""Measures of the first networks together: their scores, and what calibrated likelihoods follow from; the latter of one
network.
"""

SCORES = (*SHOWN, "ece")
"""Figures of every network in the table."""

PAIRED = ("disagreement", "diversity", "correlation")


@dataclass(frozen=True)
class Reference:
    """Networks that count as a deep ensemble: what others are worth is told in their number."""

    names: tuple[str, ...]
    members: tuple[Recipe, ...]


@STUDIES.register("sets")
@dataclass(frozen=True)
class NetworkSet(Study):
    """Diversity against quality of two or more networks: snapshots of a run, runs of several seeds, samples.

    `members` in the order in which an ensemble of them grows; all are asked in one pass on the pictures of the content
    key `data`. `soup` is the mean of their weights; `obstacle` says why there is none. `reference` is the deep ensemble
    that equivalents count in, else the set itself.

    Calibrated log-likelihoods follow from states of single pictures, which a study does not see: who has them adds
    them to `table`, see `fusionlib.studio.sets`.
    """

    names: tuple[str, ...]
    members: tuple[Recipe, ...]
    data: str
    soup: Recipe | None = None
    obstacle: str = ""
    reference: Reference | None = None

    title: ClassVar[str] = "Sets"
    summary: ClassVar[str] = "How good and how different the networks of a set are: alone, together, averaged"
    source: ClassVar[str] = 'lecture "Ensembling and Weight Averaging"; Ashukha et al. 2020, sections 3 and 4'
    version: ClassVar[int] = 1
    goes_on: ClassVar[bool] = True

    @classmethod
    def planned(cls, members: Sequence[Recipe], data: str, **settings: Any) -> NetworkSet:
        """The networks without their mean: whether their weights fit one another is not known here. Raises `UsageError`
        below two.
        """
        if len(members) < 2:
            raise UsageError(f"{len(members)} network", "two or more", "Name another one")
        names = tuple(PurePath(one.checkpoints[0].path).stem for one in members)
        return cls(names, tuple(members), data, obstacle="Not asked for")

    def steps(self, known: Known) -> Sequence[Step]:
        """All networks side by side, their mean, and the reference."""
        return self._steps

    def table(self, known: Known) -> dict[str, Any]:
        """`members` with their scores, `pairs`, `ensembles` of the first 1, 2, ... of them, `soup`, `mean` and `best`
        member, and of the whole set `disagreement`, `diversity`, `correlation` and `oracle_miou`. None: not known, or
        undefined.
        """
        pairs = self._pairs(known)
        members = [self._member(number, pairs, known) for number in range(len(self.members))]
        scored = [one for one in members if one["miou"] is not None]
        of_set = {name: self._of_set(measure, name, known) for measure, name in _OF_SET}
        return {
            "members": members,
            "pairs": pairs,
            "ensembles": self._sizes(pairs, known),
            "soup": self._soup(known),
            "mean": {name: arithmetic([one[name] for one in members]) for name in SCORES},
            "best": max(scored, key=lambda one: one["miou"], default=None),
            **of_set,
            "reason": self._refused(known),
        }

    @property
    def compared(self) -> tuple[tuple[str, ...], Question]:
        """Names of the deep ensemble that equivalents count in, and what is asked of it."""
        if self.reference is None:
            return self.names, self.likelihoods
        return self.reference.names, Question(self.reference.members, self.data, TEMPERATURES)

    @property
    def likelihoods(self) -> Question:
        """What the calibrated likelihoods of the ensembles follow from, picture by picture."""
        return Question(self.members, self.data, TEMPERATURES)

    @property
    def soup_likelihood(self) -> Question | None:
        """The same of the mean of the weights."""
        return None if self.soup is None else Question((self.soup,), self.data, TEMPERATURE)

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        together = [Question(self.members, self.data, name) for name in (*DIVERSITY, "oracle", SIZES, TEMPERATURES)]
        together += [question for one in self.members for question in self._alone(one)]
        steps = [Step(tuple(dict.fromkeys(together)), "the networks side by side")]
        if self.soup is not None:
            steps.append(Step((*self._alone(self.soup), self.soup_likelihood), "the mean of the weights"))  # type: ignore[arg-type]
        if self.reference is not None:
            steps.append(Step((self.compared[1],), "the reference"))
        return tuple(steps)

    def _alone(self, recipe: Recipe) -> tuple[Question, ...]:
        return tuple(Question((recipe,), self.data, name) for name in CALIBRATED)

    def _scores(self, recipe: Recipe, known: Known) -> dict[str, Any]:
        told = told_of(self._alone(recipe), known)
        found = {} if told is None else figures_of(told)
        return {name: found.get(BINNED if name == "ece" else name) for name in SCORES}

    def _member(self, number: int, pairs: Sequence[Mapping[str, Any]], known: Known) -> dict[str, Any]:
        """A network alone; how different it is from the others is the mean over its pairs."""
        mine = [one for one in pairs if number in one["members"]]
        apart = {name: arithmetic([one[name] for one in mine]) for name in PAIRED}
        return {"name": self.names[number], **self._scores(self.members[number], known), **apart}

    def _pairs(self, known: Known) -> list[dict[str, Any]]:
        found: dict[str, Sequence[Any]] = {}
        for measure in DIVERSITY:
            told = told_of((Question(self.members, self.data, measure),), known)
            found |= {} if told is None else told[0].figures
        return [
            {
                "members": list(pair),
                "names": [self.names[number] for number in pair],
                **{name: found[f"pair_{name}"][place] if f"pair_{name}" in found else None for name in PAIRED},
            }
            for place, pair in enumerate(combinations(range(len(self.members)), 2))
        ]

    def _sizes(self, pairs: Sequence[Mapping[str, Any]], known: Known) -> list[dict[str, Any]]:
        """The first 1, 2, ... networks together; how different those are is the mean over their pairs."""
        told = told_of((Question(self.members, self.data, SIZES),), known)
        rows = []
        for size in range(1, len(self.members) + 1):
            inside = [one for one in pairs if max(one["members"]) < size]
            scores = {name: None if told is None else told[0].figures[f"size_{name}"][size - 1] for name in SCORES}
            rows.append(
                {"networks": size, **scores, **{name: arithmetic([one[name] for one in inside]) for name in PAIRED}}
            )
        return rows

    def _soup(self, known: Known) -> dict[str, Any]:
        """The mean of the weights, or the `reason` why there is none."""
        if self.soup is None:
            return {**dict.fromkeys(SCORES), "reason": self.obstacle}
        why = next(
            (one.reason for question in self._alone(self.soup) if isinstance(one := known.get(question), Refused)), None
        )
        return {**self._scores(self.soup, known), "reason": why}

    def _of_set(self, measure: str, name: str, known: Known) -> Any:
        told = told_of((Question(self.members, self.data, measure),), known)
        return None if told is None else told[0].figures[name]

    def _refused(self, known: Known) -> str | None:
        """Why the networks could not be asked."""
        first = self._steps[0].questions
        return next((one.reason for question in first if isinstance(one := known.get(question), Refused)), None)


_OF_SET = (
    ("agreement", "disagreement"),
    ("agreement", "diversity"),
    ("correlation", "correlation"),
    ("oracle", "oracle_miou"),
)
"""Measures of the whole set, and which of their figures the table has."""
