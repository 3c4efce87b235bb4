"""Points of curves: networks that are called by a number or a name, measured one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES, Study
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Recipe

BASIC = ("confusion", "loss")
"""What is asked of a network where nobody says otherwise."""

CALIBRATED = (*BASIC, "calibration")
"""What calibration along alpha is drawn from: every pass over masks brings it."""


@STUDIES.register("curve")
@dataclass(frozen=True)
class Curve(Study):
    """Figures of networks on one dataset, in the order in which they are wanted.

    `points` are what each is called (an alpha, a checkpoint's letter, a pair with an alpha) and its recipe; `data` is
    the content key of the pictures, `measures` are asked of each.
    """

    points: tuple[tuple[Any, Recipe], ...]
    data: str
    measures: tuple[str, ...] = BASIC

    title: ClassVar[str] = "Curve"
    summary: ClassVar[str] = "Merges along alpha, checkpoints alone, layer profiles: mIoU, loss and calibration of each"
    source: ClassVar[str] = "Weight Fusion, figures 1 and 2"
    version: ClassVar[int] = 1

    @classmethod
    def planned(cls, members: Sequence[Recipe], data: str, **settings: Any) -> Curve:
        """Each network by its number."""
        return cls(tuple(enumerate(members)), data)

    def of(self, points: Mapping[Any, Recipe]) -> Curve:
        """The same questions of other networks."""
        return replace(self, points=tuple(points.items()))

    def steps(self, known: Known) -> Sequence[Step]:
        """All points, in their order."""
        return self._steps

    def found(self, known: Known) -> dict[Any, dict[str, Any]]:
        """Figures of the points that are known, in their order."""
        told = (
            (point, told_of(step.questions, known)) for (point, _), step in zip(self.points, self._steps, strict=True)
        )
        return {point: figures_of(answers) for point, answers in told if answers is not None}

    def table(self, known: Known) -> dict[str, Any]:
        """`points`: what each is called, with its figures; `best`: the one with the highest mIoU."""
        points = [{"point": point, **figures} for point, figures in self.found(known).items()]
        return {"points": points, "best": best_of(points, "point")}

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(
            Step(tuple(Question((recipe,), self.data, name) for name in self.measures), str(point))
            for point, recipe in self.points
        )


def best_of(points: Sequence[Mapping[str, Any]], named: str) -> dict[str, Any] | None:
    """Name and mIoU of the point with the highest one; None where none has any."""
    scored = [point for point in points if point.get("miou") is not None]
    best = max(scored, key=lambda point: point["miou"], default=None)
    return None if best is None else {named: best[named], "miou": best["miou"]}
