"""Working off a study: what it asks is answered, and what is told lets it ask on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionlib.contracts import Progress, Study
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.build import forwards_of
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner


def work_off(
    study: Study,
    runner: Runner,
    pictures: Mapping[str, DecodedCache],
    progress: Progress | None = None,
    *,
    fresh: bool = False,
) -> dict[str, Any]:
    """The table of a study once it has nothing more to ask. `pictures` are its datasets by content key.

    Progress is in forward passes, over all that it asks as far as it can tell; it may raise `Cancelled`. What is known
    by then stays known: worked off again, the study goes on from there.
    """
    known: dict[Question, Mapping[str, Any]] = {}
    costs: dict[int, tuple[int, Recipe]] = {}

    def cost(recipe: Recipe, data: str) -> int:
        if id(recipe) not in costs:
            costs[id(recipe)] = forwards_of(recipe), recipe  # held, so that no other gets its id
        return costs[id(recipe)][0] * len(pictures[data])

    finished, networks, present = 0, {}, set()
    while asked := study.questions(known):
        data = asked[0].data
        here = {id(recipe): recipe for question in asked for recipe in question.recipes}
        passes = sum(cost(recipe, data) for recipe in here.values())
        later = sum(cost(*one) for one in study.ahead(known)) - passes
        if here.keys() != present:  # of the same networks other datasets may be next
            networks.clear()
            present = set(here)
        told = _Part(progress, finished, later)
        for one in runner.ask(asked, pictures[data], told, fresh=fresh, networks=networks):
            known[one.question] = {"images": one.images, "tiled": one.tiled, **one.figures}
        finished += told.total
    return study.table(known)


class _Part:
    """Progress of one pass within a study: `before` forward passes are done, about `later` are to come."""

    def __init__(self, progress: Progress | None, before: int, later: int) -> None:
        self._progress, self._before, self._later = progress, before, later
        self.total = 0

    def __call__(self, done: int, total: int) -> None:
        self.total = total
        if self._progress is not None:
            self._progress(self._before + done, self._before + total + self._later)
