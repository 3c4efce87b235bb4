"""How sure the gains on domains are: intervals out of the stored confusion matrices of single pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusionlib.data.cache import DecodedCache
from fusionlib.data.corrupt import undamaged
from fusionlib.diagnostics.bootstrap import draws_within, harmonic_means, mean_ious, middle, unit_totals, units_of
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.studies.domains import MEASURE

Interval = tuple[float, float]


@dataclass(frozen=True)
class Gains:
    """The middle 95 % of gains in harmonic mean over the best expert alone, as fractions of mIoU.

    `of` has that of each network by its name, experts alone left out; `best` that of whichever merge is best in each
    draw.
    """

    of: Mapping[str, Interval] = field(default_factory=dict)
    best: Interval | None = None


def inside_noise(interval: Sequence[float] | None) -> bool | None:
    """Whether an interval holds 0; None where there is none."""
    return None if interval is None else interval[0] <= 0 <= interval[1]


class Chance:
    """A paired bootstrap over groups of pictures, drawn within each domain; the best expert is chosen again each time.

    Damages of one dataset are the same pictures and are drawn together.
    """

    def __init__(self, runner: Runner, domains: Sequence[DecodedCache]) -> None:
        self._runner, self._domains = runner, tuple(domains)
        self._units = [units_of([one.group(index) for index in range(len(one))]) for one in domains]
        self._alike = [undamaged(one.spec) for one in domains]
        self._scores: dict[tuple, np.ndarray] = {}
        self._found: dict[tuple, Gains] = {}

    def gains(
        self,
        rows: Sequence[Mapping[str, Any]],
        recipes: Mapping[str, Sequence[Recipe | None]],
        classes: Sequence[Sequence[int] | None],
    ) -> Gains:
        """Of rows of the table of domains, with the recipe of each on every domain, over some classes of each domain or
        all. Nothing where a domain has too few units, or states of single pictures are not stored.
        """
        rows = [row for row in rows if row["harmonic"] is not None]
        key = (tuple((row["name"], *row["builds"]) for row in rows), str(classes))
        if key not in self._found:
            self._found = {key: self._resampled(rows, recipes, classes)}
        return self._found[key]

    def _resampled(
        self,
        rows: Sequence[Mapping[str, Any]],
        recipes: Mapping[str, Sequence[Recipe | None]],
        classes: Sequence[Sequence[int] | None],
    ) -> Gains:
        draws = draws_within([units.count for units in self._units], self._alike)
        if draws is None or not any(row["group"] == "single" for row in rows):
            return Gains()
        found = [[self._scored(row, recipes, classes, draws, at) for row in rows] for at in range(len(self._domains))]
        complete = [all(column[at] is not None for column in found) for at in range(len(rows))]
        if not all(complete[at] for at, row in enumerate(rows) if row["group"] == "single"):
            return Gains()
        kept = [at for at, there in enumerate(complete) if there]
        scores = np.array([[column[at] for at in kept] for column in found])
        return _gains([rows[at] for at in kept], harmonic_means(scores))

    def _scored(
        self,
        row: Mapping[str, Any],
        recipes: Mapping[str, Sequence[Recipe | None]],
        classes: Sequence[Sequence[int] | None],
        draws: Sequence[np.ndarray],
        at: int,
    ) -> np.ndarray | None:
        """mIoU of a network in the draws of a domain (B,); None where its states are not stored."""
        chosen, recipe = classes[at], recipes[row["name"]][at]
        key = (row["builds"][at], at, None if chosen is None else tuple(chosen))
        if recipe is not None and key not in self._scores:
            pictures = self._domains[at]
            states = self._runner.pictures(Question((recipe,), pictures.fingerprint(), MEASURE), pictures)
            if states is not None:
                totals = unit_totals([state["matrix"].numpy() for state in states], self._units[at])
                self._scores[key] = mean_ious(draws[at], totals if chosen is None else totals[:, :, list(chosen)])
        return self._scores.get(key)


def _gains(rows: Sequence[Mapping[str, Any]], harmonic: np.ndarray) -> Gains:
    """Of harmonic means in the draws, (networks, B)."""
    harmonic = harmonic[:, ~np.isnan(harmonic).any(0)]
    if not harmonic.shape[1]:
        return Gains()
    alone = np.array([row["group"] == "single" for row in rows])
    gains = harmonic - harmonic[alone].max(0)
    of = {row["name"]: middle(one) for row, one in zip(rows, gains, strict=True) if row["group"] != "single"}
    merges = gains[[len(row["members"]) > 1 for row in rows]]
    return Gains(of, middle(merges.max(0)) if len(merges) else None)
