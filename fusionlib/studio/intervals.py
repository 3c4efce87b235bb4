"""How sure a measured gain is: intervals out of the stored confusion matrices of single pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.bootstrap import (
    Units,
    class_intervals,
    gain_interval,
    middle,
    resampled_scores,
    unit_totals,
    units_of,
)
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.studio.sweep import Sweep

MEASURE = "confusion"

TOTALS_BYTES = 64 << 20
"""Of networks whose states were read: 2,000 of 19 classes on 64 pictures. Another interval needs most of them again."""

INTERVALS = 4096


@dataclass(frozen=True)
class Chance:
    """What was resampled, and the interval around the gain; None where units are too few or states are not stored."""

    units: Units
    interval: tuple[float, float] | None


class Intervals:
    """Intervals of gains, each worked out once; nothing runs for them."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._totals: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
        self._found: OrderedDict[tuple, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def of(self, ends: Sequence[Recipe], merges: Sequence[Recipe], pictures: DecodedCache) -> Chance:
        """How sure the gain of the best of `merges` over the best of `ends` is on these pictures."""
        units = units_of([pictures.group(index) for index in range(len(pictures))])
        if not (units.enough and ends and merges):
            return Chance(units, None)
        memo = self.runner.builder.memo
        key = (pictures.fingerprint(), units, *(frozenset(map(memo, networks)) for networks in (ends, merges)))
        with self._lock:
            if key not in self._found:
                interval = self._interval(ends, merges, pictures, units)
                if interval is None:
                    return Chance(units, None)
                self._found[key] = interval
                while len(self._found) > INTERVALS:
                    self._found.popitem(last=False)
            return Chance(units, self._found[key])

    def each(
        self, ends: Sequence[Recipe], merges: Sequence[Recipe], pictures: DecodedCache
    ) -> list[tuple[float, float] | None]:
        """How sure the gain of each of `merges` by itself over the best of `ends` is; None as in `Chance`, and where
        states of one are not stored.
        """
        units = units_of([pictures.group(index) for index in range(len(pictures))])
        if not (units.enough and ends and merges):
            return [None] * len(merges)
        memo = self.runner.builder.memo
        about = (pictures.fingerprint(), units, frozenset(map(memo, ends)))
        keys = [(*about, frozenset([memo(merge)])) for merge in merges]
        with self._lock:
            new = [place for place, key in enumerate(keys) if key not in self._found]
            found = self._apart(ends, [merges[place] for place in new], pictures, units) if new else []
            self._found |= {keys[place]: one for place, one in zip(new, found, strict=True) if one is not None}
            told = [self._found.get(key) for key in keys]
            while len(self._found) > INTERVALS:
                self._found.popitem(last=False)
            return told

    def classes(
        self, reference: Recipe, merge: Recipe, pictures: DecodedCache
    ) -> list[tuple[float, float] | None] | None:
        """How sure the change of each class's IoU is, see `class_intervals`; None where states are not stored."""
        units = units_of([pictures.group(index) for index in range(len(pictures))])
        with self._lock:
            before, after = (self._of(one, pictures, units) for one in (reference, merge))
        return None if before is None or after is None else class_intervals(before, after)

    def along(self, sweep: Sweep) -> Callable[[Sequence[float]], Chance | None]:
        """How sure the gain of the best of some merges of a sweep is."""

        def chance(alphas: Sequence[float]) -> Chance | None:
            ends, merges = (list(map(sweep.recipe_at, points)) for points in (sweep.view.ends, alphas))
            return self.of(ends, merges, sweep.view.need_pictures())

        return chance

    def _interval(
        self, ends: Sequence[Recipe], merges: Sequence[Recipe], pictures: DecodedCache, units: Units
    ) -> tuple[float, float] | None:
        known = [[self._of(one, pictures, units) for one in networks] for networks in (ends, merges)]
        found = [[one for one in networks if one is not None] for networks in known]
        complete = len(found[0]) == len(ends) and len(found[1]) == len(merges)
        return gain_interval(found[0], found[1]) if complete else None

    def _apart(
        self, ends: Sequence[Recipe], merges: Sequence[Recipe], pictures: DecodedCache, units: Units
    ) -> list[tuple[float, float] | None]:
        """Of each merge, all in the same draws."""
        alone = [self._of(one, pictures, units) for one in ends]
        there = {
            place: one for place, merge in enumerate(merges) if (one := self._of(merge, pictures, units)) is not None
        }
        nothing: list[tuple[float, float] | None] = [None] * len(merges)
        if any(one is None for one in alone) or not there:
            return nothing
        scores = resampled_scores([*alone, *there.values()])  # type: ignore[list-item]
        if scores is None or not len(scores):
            return nothing
        gains = scores[:, len(ends) :] - scores[:, : len(ends)].max(1, keepdims=True)
        found = {place: middle(gains[:, column]) for column, place in enumerate(there)}
        return [found.get(place) for place in range(len(merges))]

    def _of(self, recipe: Recipe, pictures: DecodedCache, units: Units) -> np.ndarray | None:
        """What mIoU needs of a network, unit by unit; None where states are not stored."""
        key = (self.runner.builder.memo(recipe), pictures.fingerprint())
        if key not in self._totals:
            states = self.runner.pictures(Question((recipe,), pictures.fingerprint(), MEASURE), pictures)
            if states is None:
                return None
            self._totals[key] = unit_totals([state["matrix"].numpy() for state in states], units)
            while len(self._totals) > 1 and sum(one.nbytes for one in self._totals.values()) > TOTALS_BYTES:
                self._totals.popitem(last=False)
        self._totals.move_to_end(key)
        return self._totals[key]
