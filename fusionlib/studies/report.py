"""What a report of a merge is made of: label maps and figures of all its networks, and the curve that it lies on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES
from fusionlib.question import Known, Question, Step
from fusionlib.recipe import Recipe
from fusionlib.studies.curve import Curve
from fusionlib.studies.errors import Errors


@STUDIES.register("report")
@dataclass(frozen=True)
class Report(Errors):
    """The questions of `Errors`, then those of `curve`: merges between the first two members, by alpha."""

    curve: tuple[tuple[float, Recipe], ...] = ()

    title: ClassVar[str] = "Report"
    summary: ClassVar[str] = "A merge against the best of its members, and the interpolation curve between two of them"
    source: ClassVar[str] = "Weight Fusion, figures 1, 2, 6, 7 and 10"
    version: ClassVar[int] = 1

    def steps(self, known: Known) -> Sequence[Step]:
        """All networks side by side, then one point of the curve after the other."""
        return [*super().steps(known), *self._points.steps(known)]

    def points(self, known: Known) -> list[dict[str, Any]]:
        """Figures of the points of the curve that are known, by `alpha`, the lowest first."""
        found = self._points.found(known)
        return [{"alpha": alpha, **found[alpha]} for alpha in sorted(found)]

    def questions_at(self, recipe: Recipe) -> tuple[Question, ...]:
        """What is asked of a point."""
        return tuple(Question((recipe,), self.data, name) for name in self._points.measures)

    @cached_property
    def _points(self) -> Curve:
        return Curve(self.curve, self.data)
