"""The diagnosis of a set of checkpoints: what the networks do, alone and in pairs, and the merges between two."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from fusionlib.contracts import STUDIES, Study
from fusionlib.diagnostics.evidence import SHARE
from fusionlib.question import Known, Question, Step, Told, figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.studies.curve import BASIC
from fusionlib.studies.grid import (
    FINE,
    alpha_grid,
    around_best,
    closer_later,
    closer_points,
    coarse_to_fine,
    merges_of,
)
from fusionlib.studies.path import MergePath

CKA_PICTURES = 4
"""How many pictures CKA looks at."""

TOGETHER = "networks and pairs"
"""The pass in which all networks run side by side."""

Pair = tuple[int, int]


class Unmeasured(NamedTuple):
    """What is not known yet: the networks that have to run for it, and the pairs."""

    networks: tuple[int, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class PairPath:
    """The merges of two members along alpha on the data; at `alphas` somebody may have measured them."""

    pair: Pair
    merges: MergePath
    data: str
    alphas: frozenset[float] = frozenset()
    _asked: dict[float, tuple[Question, ...]] = field(default_factory=dict, compare=False, repr=False)

    def also(self, alphas: Iterable[float]) -> PairPath:
        """The same with further alphas; itself where there is none."""
        more = self.alphas.union(alphas)
        return self if more == self.alphas else replace(self, alphas=more)

    def questions(self, alpha: float) -> tuple[Question, ...]:
        """What is asked of the merge at an alpha, the same objects every time: telling others apart takes longer."""
        if alpha not in self._asked:
            recipe = self.merges.at(alpha)
            self._asked[alpha] = tuple(Question((recipe,), self.data, name) for name in BASIC)
        return self._asked[alpha]

    def recipe(self, alpha: float) -> Recipe:
        """The merge at an alpha."""
        return self.questions(alpha)[0].recipes[0]

    @property
    def looked_for(self) -> list[Question]:
        """All that somebody may have measured."""
        return [question for alpha in merges_of(self.alphas) for question in self.questions(alpha)]


@STUDIES.register("diagnose")
@dataclass(frozen=True)
class Diagnose(Study):
    """What two or more networks do alone, in pairs and as a set, in one pass; then the merges of pairs along alpha.

    `members` are the recipes of the networks alone, of which `singles` can be measured, and of whose `pairs` both can,
    against masks where the data is `labelled`. `paths` are measured on the grid of `step`, and around their best merge
    until it has neighbours within `FINE`. Their ends are the members themselves, with their own statistics.
    """

    members: tuple[Recipe, ...]
    data: str
    labelled: bool
    singles: tuple[int, ...]
    pairs: tuple[Pair, ...]
    paths: tuple[PairPath, ...] = ()
    step: float | None = None

    title: ClassVar[str] = "Diagnosis"
    summary: ClassVar[str] = "What networks do alone, in pairs and as a set, and their merges along alpha"
    source: ClassVar[str] = "Weight Fusion, section 2, Listing 1, and section 2.2; Kornblith et al. 2019, equation 5"
    version: ClassVar[int] = 1

    def steps(self, known: Known) -> Sequence[Step]:
        """All networks side by side, then path by path: the grid coarse to fine, then around the best merge."""
        first = [Step(self.together, TOGETHER)] if self.together else []
        return [*first, *(step for path in self.paths for step in self._along(path, known))]

    def later(self, known: Known) -> int:
        """Merges around the best ones that will be asked for."""
        return sum(self._later(path, known) for path in self.paths)

    def table(self, known: Known) -> dict[str, Any]:
        """`functions` and, of every path that is known, its `points`."""
        found = ((path.pair, self.points(path, known)) for path in self.paths)
        paths = [{"a": a, "b": b, "points": points} for (a, b), points in found if points is not None]
        return {"functions": self.functions(known), "paths": paths}

    @cached_property
    def together(self) -> tuple[Question, ...]:
        """What all networks are asked side by side."""
        asked = [question for pair in self.pairs for question in self._of_pair(pair)]
        asked += [question for number in self.singles for question in self._of_single(number)]
        return tuple(dict.fromkeys((*asked, *self._of_set)))

    def functions(self, known: Known) -> dict[str, Any] | None:
        """`singles` (None where not known, or without masks), known `pairs` and the `set` of all that can be measured;
        None while nothing is known.
        """
        singles = [self._single(number, known) if number in self.singles else None for number in self._numbers]
        pairs = [{**found, "a": a, "b": b} for a, b in self.pairs if (found := self._pair((a, b), known)) is not None]
        if not pairs and not any(singles):
            return None
        images = next(told.images for one in self.together if isinstance(told := known.get(one), Told))
        return {
            "images": images,
            "cka_pictures": min(CKA_PICTURES, images),
            "singles": singles,
            "pairs": pairs,
            "set": self._set(known) or {},
        }

    def lacking(self, known: Known) -> Unmeasured:
        """What has to run. A pair needs both of its networks; the oracle of the set all that can be measured."""

        def lacks(questions: Sequence[Question]) -> bool:
            return told_of(questions, known) is None

        pairs = tuple(pair for pair in self.pairs if lacks(self._of_pair(pair)))
        wanted = {number for pair in pairs for number in pair}
        wanted |= {number for number in self.singles if lacks(self._of_single(number))}
        wanted |= set(self.singles) if lacks(self._of_set) else set()
        return Unmeasured(tuple(sorted(wanted)), pairs)

    def points(self, path: PairPath, known: Known) -> list[dict[str, Any]] | None:
        """What is known of a path in order of alpha, from B alone at 0 to A alone at 1; None without ends and a merge
        between.
        """
        found = self._found(path, known)
        names = ("miou", "loss", "pixel_accuracy")
        points = [{"alpha": alpha, **{name: found[alpha][name] for name in names}} for alpha in sorted(found)]
        return points if len(points) > 2 else None

    def lacks(self, path: PairPath, known: Known) -> bool:
        """Whether points of the grid, or around the best merge, are not known."""
        found = self._found(path, known)
        return not found or not found.keys() >= set(self._grid) or bool(self._open(found))

    def unfinished(self, known: Known) -> set[Hashable]:
        """The parts of which something is not known: `TOGETHER`, and paths by their pair."""
        first = {TOGETHER} if told_of(self.together, known) is None else set()
        return {*first, *(path.pair for path in self.paths if self.lacks(path, known))}

    @property
    def _numbers(self) -> range:
        return range(len(self.members))

    @cached_property
    def _grid(self) -> tuple[float, ...]:
        """The merges of the grid, coarse to fine; its ends are the members."""
        alphas = coarse_to_fine(alpha_grid(self.step)) if self.step is not None else ()
        return tuple(alpha for alpha in alphas if 0 < alpha < 1)

    def _along(self, path: PairPath, known: Known) -> list[Step]:
        """The points of a path that are wanted, and those that are known beside."""
        found = self._found(path, known)
        steps = [path.questions(alpha) for alpha in dict.fromkeys((*self._grid, *merges_of(found)))]
        if found.keys() >= set(self._grid) and (left := self._open(found)):
            steps.append(tuple(question for alpha in left for question in path.questions(alpha)))
        return [Step(questions, f"path between {path.pair[0] + 1} and {path.pair[1] + 1}") for questions in steps]

    def _later(self, path: PairPath, known: Known) -> int:
        found = self._found(path, known)
        if not found or not found.keys() >= set(self._grid):
            return closer_points(self.step or 1)
        return closer_later(_scores(found))

    def _open(self, found: Mapping[float, Mapping[str, Any]]) -> tuple[float, ...]:
        return around_best(_scores(found), FINE, SHARE)

    def _found(self, path: PairPath, known: Known) -> dict[float, dict[str, Any]]:
        """Figures of a path by alpha, those of the networks alone at its ends; nothing without both."""
        a, b = (self._single(number, known) for number in path.pair)
        if a is None or b is None:
            return {}
        found, wanted = {0.0: b, 1.0: a}, {*merges_of(path.alphas), *self._grid}
        while wanted:  # what is known around the best merge may make another one the best
            told = {alpha: told_of(path.questions(alpha), known) for alpha in wanted}
            new = {alpha: figures_of(answers) for alpha, answers in told.items() if answers is not None}
            found |= new
            wanted = set(self._open(found)) if new else set()
        return found

    def _of_single(self, number: int) -> tuple[Question, ...]:
        return self._ask((number,), BASIC if self.labelled else ())

    def _of_pair(self, pair: Pair) -> tuple[Question, ...]:
        """In order: pixels that all get wrong keep the first network's error."""
        return self._ask(pair, ("agreement", "oracle", "cka") if self.labelled else ("agreement", "cka"))

    @cached_property
    def _of_set(self) -> tuple[Question, ...]:
        return self._ask(self.singles, ("agreement", "oracle") if self.labelled and len(self.singles) > 1 else ())

    def _ask(self, numbers: Sequence[int], measures: Sequence[str]) -> tuple[Question, ...]:
        key = tuple(numbers), tuple(measures)
        if key not in self._asked:
            recipes = tuple(self.members[number] for number in numbers)
            self._asked[key] = tuple(Question(recipes, self.data, name) for name in measures)
        return self._asked[key]

    @cached_property
    def _asked(self) -> dict[tuple, tuple[Question, ...]]:
        """Of members, the same objects every time."""
        return {}

    def _single(self, number: int, known: Known) -> dict[str, Any] | None:
        told = told_of(self._of_single(number), known)
        return figures_of(told) if told else None

    def _pair(self, pair: Pair, known: Known) -> dict[str, Any] | None:
        told = told_of(self._of_pair(pair), known)
        if told is None:
            return None
        found = {one.question.measure: one.figures for one in told}
        return {**_agreed(found["agreement"]), **_oracled(found.get("oracle")), "cka": found["cka"]["cka"]}

    def _set(self, known: Known) -> dict[str, Any] | None:
        """The oracle and the diversity of all that can be measured."""
        told = told_of(self._of_set, known)
        if not told:
            return None
        found = {one.question.measure: one.figures for one in told}
        return {"diversity": _agreed(found["agreement"])["diversity"], **_oracled(found["oracle"])}


def _scores(found: Mapping[float, Mapping[str, Any]]) -> dict[float, float]:
    return {alpha: figures["miou"] for alpha, figures in found.items() if figures["miou"] is not None}


def _agreed(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {"disagreement": figures.get("disagreement"), "diversity": figures.get("diversity")}


def _oracled(figures: Mapping[str, Any] | None) -> dict[str, Any]:
    names = ("oracle_miou", "oracle_pixel_accuracy")
    return {name: None if figures is None else figures[name] for name in names}
