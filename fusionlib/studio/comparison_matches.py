"""What matching moved in the rows of a comparison, and what it did to the barriers between them."""

from __future__ import annotations

from typing import Any

from fusionlib.merging.build import build_method
from fusionlib.question import Known
from fusionlib.recipe import Recipe
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.studies.barriers import Barriers, MatchedPath
from fusionlib.studies.compare import Row
from fusionlib.studio.barriers import Match, listed, matches, moves_units, paths_of


class RowMatches:
    """Matches by the network of a row; kept in the store, because to find one out again takes the match."""

    def __init__(self, runner: Runner, store: Store) -> None:
        self._runner, self._store = runner, store
        self._known: dict[str, list[Match]] = {}

    def has(self, recipe: Recipe) -> bool:
        """Whether it is known what moved."""
        return recipe.content in self._known

    def make(self, recipe: Recipe) -> tuple[MatchedPath, ...]:
        """Find out what moves, and keep it: the paths that are to be measured then."""
        found = matches(recipe, self._runner)
        self._store.put(self._key(recipe), {"matches": found})
        return self._take(recipe, found)

    def recall(self, recipe: Recipe) -> tuple[MatchedPath, ...] | None:
        """The same where somebody has found it out; None where nobody has."""
        known = self._store.get(self._key(recipe))
        return None if known is None else self._take(recipe, known["matches"])

    def barriers(self, recipe: Recipe, data: str, known: Known, pictures: int) -> list[dict[str, Any]]:
        """What the match did to the barriers on the pictures with this content key; nothing until all is known."""
        found = self._known.get(recipe.content)
        if found is None:
            return []
        paths = Barriers(paths_of(recipe, found, self._runner), data).table(known)["paths"]
        if any(
            one["moved"] and None in (path["before"], path["after"]) for one, path in zip(found, paths, strict=True)
        ):
            return []
        return listed(recipe, found, paths, pictures)

    def _take(self, recipe: Recipe, found: list[Match]) -> tuple[MatchedPath, ...]:
        self._known[recipe.content] = found
        return paths_of(recipe, found, self._runner)

    def _key(self, recipe: Recipe) -> str:
        return key_of("match", self._runner.builder.memo(recipe))


def has_barriers(row: Row) -> bool:
    """Whether a row's method moves units."""
    if row.recipe is None or row.method == "single":
        return False
    return moves_units(build_method(row.method, row.parameters))
