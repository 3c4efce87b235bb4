"""Every snapshot of a training run alone, and on the line to the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES, Study, parameter
from fusionlib.diagnostics.barrier import MODES, barrier
from fusionlib.errors import UsageError
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.studies.curve import BASIC
from fusionlib.studies.grid import alpha_grid, coarse_to_fine
from fusionlib.studies.path import MergePath

STEP = 0.1
VALUES = ("miou", "pixel_accuracy", "loss")


@dataclass(frozen=True)
class Line:
    """The merges of the last snapshot (alpha 1) with snapshot `number` (alpha 0)."""

    number: int
    merges: MergePath


@STUDIES.register("snapshots")
@dataclass(frozen=True)
class Snapshots(Study):
    """Loss and mIoU of every snapshot, and along `alpha last + (1 - alpha) snapshot` for each but the last.

    `members` are the snapshots in their order, `data` content keys of one dataset or two, as train and test. Without a
    barrier a snapshot lies in the basin of the last one. The ends are the snapshots themselves, with their own
    statistics.
    """

    names: tuple[str, ...]
    members: tuple[Recipe, ...]
    lines: tuple[Line, ...]
    data: tuple[str, ...]
    step: float = parameter(STEP, "Distance between alphas", min=0.001, max=1.0, step=0.05)

    title: ClassVar[str] = "Snapshots"
    summary: ClassVar[str] = "Every snapshot of a run alone, and on the line to the last one: curves and barriers"
    source: ClassVar[str] = "Huang et al. 2017 (Snapshot Ensembles), figure 5; the lecture's slides on SSE"
    version: ClassVar[int] = 1

    @classmethod
    def planned(cls, members: Sequence[Recipe], data: str, **settings: Any) -> Snapshots:
        """Checkpoints in the order of the run. Raises `UsageError` below two, and for merges."""
        if len(members) < 2 or any(len(one.checkpoints) != 1 for one in members):
            raise UsageError("Snapshots of fewer than two, or merges", "two or more checkpoints", "Name the files")
        names = tuple(PurePath(one.checkpoints[0].path).stem for one in members)
        return cls(names, tuple(members), lines_of(members), (data,), **settings)

    def steps(self, known: Known) -> Sequence[Step]:
        """The snapshots alone, then line after line, coarse to fine; each network on all data."""
        return self._steps

    def table(self, known: Known) -> dict[str, Any]:
        """`snapshots` and `lines` by name, one entry for each of the data: the figures of a snapshot, and of a line its
        `points`, `best` merge, its `gain` over the better end, and `barriers`. None: not known.
        """
        return {
            "snapshots": [
                {"name": name, "data": [self._figures(one, key, known) for key in self.data]}
                for name, one in zip(self.names, self.members, strict=True)
            ],
            "lines": [
                {"name": self.names[line.number], "data": [self._line(line, key, known) for key in self.data]}
                for line in self.lines
            ],
        }

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        alone = [
            self._step(one, key, name) for name, one in zip(self.names, self.members, strict=True) for key in self.data
        ]
        inner = [alpha for alpha in coarse_to_fine(alpha_grid(self.step)) if 0 < alpha < 1]
        merged = [
            self._step(self._merges[line.number, alpha], key, f"{self.names[line.number]}, alpha {alpha:g}")
            for line in self.lines
            for alpha in inner
            for key in self.data
        ]
        return (*alone, *merged)

    @cached_property
    def _merges(self) -> Mapping[tuple[int, float], Recipe]:
        """The network at every alpha of every line; the same objects each time, whose content is known."""
        last = self.members[-1]
        ends = {0.0: lambda number: self.members[number], 1.0: lambda _: last}
        return {
            (line.number, alpha): ends[alpha](line.number) if alpha in ends else line.merges.at(alpha)
            for line in self.lines
            for alpha in alpha_grid(self.step)
        }

    def _step(self, recipe: Recipe, key: str, title: str) -> Step:
        return Step(tuple(Question((recipe,), key, name) for name in BASIC), title)

    def _figures(self, recipe: Recipe, key: str, known: Known) -> dict[str, Any] | None:
        told = told_of(self._step(recipe, key, "").questions, known)
        return None if told is None else {name: figures_of(told)[name] for name in VALUES}

    def _line(self, line: Line, key: str, known: Known) -> dict[str, Any]:
        found = {alpha: self._figures(self._merges[line.number, alpha], key, known) for alpha in alpha_grid(self.step)}
        points = [{"alpha": alpha, **figures} for alpha, figures in found.items() if figures is not None]
        return {"points": points, **_summary(points)}


def _summary(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The best merge, its gain over the better end, and the barriers by both definitions; None without ends."""
    alphas = [point["alpha"] for point in points]
    if alphas[:1] != [0] or alphas[-1:] != [1]:
        return {"best": None, "gain": None, "barriers": None}
    scored = [point for point in points[1:-1] if point["miou"] is not None]
    best = max(scored, key=lambda point: point["miou"], default=None)
    ends = [points[0]["miou"], points[-1]["miou"]]
    gain = None if best is None or None in ends else best["miou"] - max(ends)
    return {
        "best": best and {"alpha": best["alpha"], "miou": best["miou"]},
        "gain": gain,
        "barriers": {name: _heights(alphas, [point[name] for point in points], name) for name in ("loss", "miou")},
    }


def _heights(alphas: Sequence[float], values: Sequence[float | None], name: str) -> dict[str, float] | None:
    if None in values:
        return None
    return {mode: barrier(alphas, values, mode, higher_is_better=name == "miou") for mode in MODES}


def lines_of(members: Sequence[Recipe], **settings: Any) -> tuple[Line, ...]:
    """The line of every snapshot but the last to the last one, with the settings of `MergePath`."""
    *earlier, last = (one.checkpoints[0] for one in members)
    return tuple(Line(number, MergePath((last, one), **settings)) for number, one in enumerate(earlier))
