"""A search as a study: what a strategy asks about, on pictures to choose by, and what it found on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fusionlib.candidate import HARMONIC, Candidate, Learned, Learning, Outcome, equal, singles
from fusionlib.contracts import STUDIES, Strategy, Study
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.studies.candidates import Networks, gained, over, score_in
from fusionlib.studies.points import STEP, grid_size

if TYPE_CHECKING:
    import numpy as np

Draws = Callable[[Sequence[Candidate], tuple[str, ...]], "np.ndarray | None"]
"""Scores of candidates in resamples of the pictures with these content keys, as `Objective.draws`."""


class Pending(Exception):  # noqa: N818 - no error: the search goes on when it is answered
    """Something that a strategy asked for is not known yet."""


@dataclass(frozen=True)
class Pictures:
    """Pictures by their content key: their places in a whole, whose key is `of` where they are a part of it."""

    key: str
    numbers: tuple[int, ...]
    of: str = ""

    @property
    def whole(self) -> str:
        """The content key of all of which they are some."""
        return self.of or self.key


Domains = tuple[Pictures, ...]
"""Pictures of one dataset, or of several: of these a score is the harmonic mean."""


@STUDIES.register("search")
@dataclass(frozen=True)
class Search(Study):
    """What a strategy finds among the networks that can be made of some checkpoints.

    It chooses by `score` on `select`, of which `parts` are those that it wants to ask about apart. What it found, and
    every checkpoint alone, is measured on `report` as well. Both are one dataset, or several for the harmonic mean.
    `learned` is what gradients found so far; `draws` gives scores in resamples of known pictures.
    """

    strategy: Strategy
    networks: Networks
    select: Domains
    report: Domains
    parts: tuple[Domains, ...] = ()
    score: str = "miou"
    units: tuple[str, ...] = ()
    learned: tuple[tuple[Learning, Learned], ...] = ()
    draws: Draws | None = field(default=None, compare=False, repr=False)

    title: ClassVar[str] = "Search"
    summary: ClassVar[str] = "The best merge of a set by a strategy, chosen on some pictures and reported on others"
    source: ClassVar[str] = "Weight Fusion, sections 2.2 and 4.1; Wortsman et al. 2022, Model soups"
    version: ClassVar[int] = 1

    def steps(self, known: Known) -> Sequence[Step]:
        """What the strategy asks, one network a step; then what it found and each checkpoint alone, on both."""
        return self._steps(self.asking(known))

    def _steps(self, asking: Asking) -> list[Step]:
        if asking.outcome is None:
            return list(asking.steps.values())
        steps = dict(asking.steps)
        for candidate in singles(self.count):
            _add(steps, *self.asked_of(candidate, self.select))
        for candidate in self.reported(asking.outcome):
            _add(steps, *self.asked_of(candidate, self.report))
        return list(steps.values())

    def ahead(self, known: Known) -> int:
        """About how many forward passes no step names yet: what the strategy expects, less what it has asked, and what
        will be reported on other pictures.
        """
        asking = self.asking(known)
        if asking.outcome is not None:
            return 0
        asked = sum(len(one.numbers) for _, part in asking.asked for one in self.pictures(part))
        waiting = any(one not in known for step in asking.steps.values() for one in step.questions)
        left = max(0 if waiting else self.images, self.strategy.expected(self.count, self.images) - asked)
        chosen = {one.key for one in self.select}
        return left + (self.count + 1) * sum(len(one.numbers) for one in self.report if one.key not in chosen)

    def wanted(self, known: Known) -> Learning | None:
        """What is to be learned before the strategy can go on."""
        return self.asking(known).wish

    def asking(self, known: Known) -> Asking:
        """The strategy, gone through as far as is known."""
        asking = Asking(self, known)
        asking.run()
        return asking

    @property
    def count(self) -> int:
        """K."""
        return len(self.networks.sources)

    @property
    def images(self) -> int:
        """How many pictures there are to choose by."""
        return sum(len(one.numbers) for one in self.select)

    def pictures(self, part: int | None) -> Domains:
        """A part of those to choose by, or all: also where each dataset is too small for the strategy to part it."""
        return self.select if part is None or not self.parts else self.parts[part]

    def asked_of(self, candidate: Candidate, data: Domains) -> list[Step]:
        """What is asked about a candidate, dataset by dataset."""
        return [self.networks.step(candidate, one.key) for one in data]

    def reported(self, outcome: Outcome) -> list[Candidate]:
        """What is measured on the pictures to report: ensembles first, whose pass brings the checkpoints alone."""
        rival = () if outcome.rival is None else (outcome.rival,)
        wanted = dict.fromkeys((outcome.best, *rival, *outcome.reported, *singles(self.count)))
        return sorted(wanted, key=lambda candidate: not candidate.together)

    def figures(self, candidate: Candidate, data: Domains, known: Known) -> dict[str, Any] | None:
        """What is told of a candidate, see `over`; None where it is not known."""
        found = [self.networks.figures(candidate, one.key, known) for one in data]
        there = [one for one in found if one is not None]
        return None if len(there) < len(found) else over(there, self.score)

    def whole(self, known: Known) -> list[Candidate]:
        """Candidates that were asked about on all pictures to choose by, and each checkpoint alone, in order."""
        asked = [candidate for candidate, part in self.asking(known).asked if part is None]
        return list(dict.fromkeys((*asked, *singles(self.count))))

    def passes(self, known: Known) -> dict[str, int]:
        """Forward passes where nothing is known: of the `search`, of what is measured `beside` it (each checkpoint
        alone, and all that is reported), and of a grid of step 0.05 (`full_grid`).
        """
        asking = self.asking(known)
        learned = sum(found.passes for wish, found in self.learned if wish in asking.granted)
        places = {one.key: one for data in (*self.parts, self.report, self.select) for one in data}
        counter = Counter(self.networks)
        for step in asking.steps.values():
            counter.add(step, places[step.questions[0].data])
        search = counter.total
        for step in self._steps(asking)[len(asking.steps) :]:
            counter.add(step, places[step.questions[0].data])
        return {"search": search + learned, "beside": counter.total - search, "full_grid": self._full_grid()}

    def _full_grid(self) -> int:
        """Of every weight that is a multiple of 0.05, statistics of the merges included."""
        points = grid_size(STEP, self.count)
        merges = self.networks.preparing(self.networks.recipe(equal(range(self.count), self.count)))
        return points * self.images + (points - self.count) * merges

    def table(self, known: Known) -> dict[str, Any]:
        """`best`, None until it is found; its `rival`, where there is one; `evaluations` in the order of the visit;
        what the strategy tells beside.
        """
        asking = self.asking(known)
        outcome = asking.outcome
        single = self._best_single(known)
        return {
            "best": None if outcome is None else self._best(outcome, single, known),
            "best_single": single,
            **({} if outcome is None or outcome.rival is None else {"rival": self._rival(outcome, known)}),
            "evaluations": self._evaluations(asking, known),
            **({} if outcome is None else dict(outcome.about)),
        }

    def _rival(self, outcome: Outcome, known: Known) -> dict[str, Any]:
        """What the best has to beat, with the `gain` of the best over it on both."""
        assert outcome.rival is not None
        about, figure = self.listed(outcome.rival), gained(self.score)
        for name, pictures in (("select", self.select), ("report", self.report)):
            found, best = (self.figures(one, pictures, known) for one in (outcome.rival, outcome.best))
            if found is not None and best is not None and None not in (found[figure], best[figure]):
                found["gain"] = best[figure] - found[figure]
            about[name] = found
        return about

    def rival(self, known: Known) -> Candidate | None:
        """What the best has to beat; None where a strategy names nothing of the kind."""
        outcome = self.asking(known).outcome
        return None if outcome is None else outcome.rival

    def best(self, known: Known) -> Candidate | None:
        """What was found."""
        outcome = self.asking(known).outcome
        return None if outcome is None else outcome.best

    def _best(self, outcome: Outcome, single: Mapping[str, Any] | None, known: Known) -> dict[str, Any]:
        about = self.listed(outcome.best)
        for name, pictures in (("select", self.select), ("report", self.report)):
            figures, figure = self.figures(outcome.best, pictures, known), gained(self.score)
            there = None if single is None else single[name]
            if figures is not None and there is not None and None not in (figures[figure], there[figure]):
                figures["gain"] = figures[figure] - there[figure]
            about[name] = figures
        return about

    def _best_single(self, known: Known) -> dict[str, Any] | None:
        """The best checkpoint alone on each of both, the first of equal ones; None until all are known."""
        found: dict[str, Any] = {}
        for name, pictures in (("select", self.select), ("report", self.report)):
            figures = [self.figures(one, pictures, known) for one in singles(self.count)]
            there = [one for one in figures if one is not None]
            if len(there) < len(figures):
                found[name] = None
                continue
            place = max(range(self.count), key=lambda number: score_in(there[number], self.score))
            found[name] = {"checkpoint": place, **there[place]}
        return found if any(found.values()) else None

    def _evaluations(self, asking: Asking, known: Known) -> list[dict[str, Any]]:
        listed = []
        extra = () if asking.outcome is None else self.reported(asking.outcome)
        for candidate, part in dict.fromkeys((*asking.asked, *((one, None) for one in extra))):
            figures = self.figures(candidate, self.pictures(part), known)
            if figures is not None:
                report = self.figures(candidate, self.report, known) if part is None else None
                listed.append({**self.listed(candidate), "part": part, "select": figures, "report": report})
        return listed

    def listed(self, candidate: Candidate) -> dict[str, Any]:
        """A candidate as JSON values."""
        about: dict[str, Any] = {"weights": list(candidate.weights), "ensemble": candidate.together}
        if candidate.units:
            about |= {"granularity": candidate.granularity, "units": {name: list(row) for name, row in candidate.units}}
        return {**about, "anew": True} if candidate.anew else about


class Asking:
    """A strategy's objective out of what is known; notes all that was asked, and stops at the first unknown."""

    def __init__(self, study: Search, known: Known) -> None:
        self.study, self.known = study, known
        self.members, self.pictures, self.units = study.count, study.images, study.units
        self.steps: dict[tuple[Question, ...], Step] = {}
        self.asked: dict[tuple[Candidate, int | None], None] = {}
        self.learned_so_far = dict(study.learned)
        self.granted: list[Learning] = []
        self.outcome: Outcome | None = None
        self.wish: Learning | None = None

    def run(self) -> None:
        """As far as it goes."""
        try:
            self.outcome = self.study.strategy.search(self)
        except Pending:
            return

    def scores(self, candidates: Sequence[Candidate], part: int | None = None) -> list[float]:
        """As `Objective.scores`."""
        data = self.study.pictures(part)
        found = []
        for candidate in candidates:
            _add(self.steps, *self.study.asked_of(candidate, data))
            self.asked[candidate, part] = None
            found.append(self.study.figures(candidate, data, self.known))
        there = [score_in(one, self.study.score) for one in found if one is not None]
        if len(there) < len(found):
            raise Pending
        return there

    def figures(self, measure: str, candidates: Sequence[Candidate]) -> list[Mapping[str, Any]]:
        """As `Objective.figures`."""
        recipes = tuple(map(self.study.networks.recipe, candidates))
        questions = [Question(recipes, one.key, measure) for one in self.study.select]
        _add(self.steps, *(Step((one,), f"{measure} of {len(recipes)}") for one in questions))
        told = told_of(questions, self.known)
        if told is None:
            raise Pending
        return [figures_of((one,)) for one in told]

    def draws(self, candidates: Sequence[Candidate], part: int | None = None) -> np.ndarray | None:
        """As `Objective.draws`."""
        give = self.study.draws
        if give is None or self.study.score not in ("miou", HARMONIC):
            return None
        return give(candidates, tuple(one.key for one in self.study.pictures(part)))

    def learned(self, wish: Learning) -> Learned:
        """As `Objective.learned`."""
        found = self.learned_so_far.get(wish)
        if found is None:
            self.wish = wish
            raise Pending
        self.granted.append(wish)
        return found


class Counter:
    """Forward passes of steps in their order, each network over each picture once; those of several networks together
    run whatever is known of each, and bring what is asked of each alone. A network is kept as long as the next step is
    about it, as `HereExecutor` does.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks, self.total = networks, 0
        self._seen: set[tuple[str, str, int]] = set()
        self._present: set[str] = set()

    def add(self, step: Step, pictures: Pictures) -> None:
        """What a step takes."""
        recipes = step.questions[0].recipes
        held = {recipe.content for recipe in recipes} <= self._present
        for recipe in recipes:
            here = {(recipe.content, pictures.whole, number) for number in pictures.numbers}
            new = here if len(recipes) > 1 else here - self._seen
            networks = len(recipe.checkpoints) if recipe.method == "ensemble" else 1
            self.total += networks * len(new) + (self.networks.preparing(recipe) if new and not held else 0)
            self._seen |= here
        if not held:
            self._present = {recipe.content for recipe in recipes}


def _add(steps: dict[tuple[Question, ...], Step], *more: Step) -> None:
    for step in more:
        steps.setdefault(step.questions, step)
