"""Any parameter of any method, varied over a range, on one dataset or several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from fusionlib.contracts import METHODS, STUDIES, Parameter, Study, parameters_of
from fusionlib.errors import UsageError, shown
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.studies.curve import BASIC, best_of
from fusionlib.studies.grid import coarse_to_fine

MOST_POINTS = 1001
"""Points of one curve; a slip of the keyboard must not ask for a billion."""


@dataclass(frozen=True)
class _Point:
    """A network on a dataset, with what is asked of it."""

    value: float
    data: str
    recipe: Recipe
    questions: tuple[Question, ...]


@STUDIES.register("sweep")
@dataclass(frozen=True)
class Vary(Study):
    """Figures of `method(parameter = value)` for every value on every dataset: a curve each.

    `recipe` names the merge with its other parameters; `data` are content keys of datasets with their specs. Values are
    visited from coarse to fine, all datasets before the next value. With `against_mean` the value is the weight of the
    first checkpoint in a weighted average, and the others share the rest equally.
    """

    recipe: Recipe
    parameter: str
    values: tuple[float, ...]
    data: tuple[tuple[str, str], ...]
    against_mean: bool = False

    title: ClassVar[str] = "Sweep"
    summary: ClassVar[str] = "A parameter of a merge method over a range: alpha, a start layer, a density"
    source: ClassVar[str] = "Weight Fusion, section 2.2; Layer-wise Model Merging, figure 5"
    version: ClassVar[int] = 1

    def recipe_at(self, value: float) -> Recipe:
        """The network at a value."""
        parameters = {**self.recipe.parameters, self.parameter: value}
        if self.against_mean:
            others = len(self.recipe.checkpoints) - 1
            parameters = {"weights": [value, *[(1 - value) / others] * others]}
        return self.recipe.model_copy(update={"parameters": parameters})

    def steps(self, known: Known) -> Sequence[Step]:
        """All points, coarse to fine."""
        return self._steps

    def table(self, known: Known) -> dict[str, Any]:
        """`curves`: one per dataset, with the points that are known in order of their value, and the `best` by mIoU."""
        curves = []
        for key, spec in self.data:
            found = [(point, told_of(point.questions, known)) for point in self._points if point.data == key]
            points = [{"value": point.value, **figures_of(told)} for point, told in found if told is not None]
            points.sort(key=lambda point: point["value"])
            curves.append(
                {"data": spec, "parameter": self.parameter, "points": points, "best": best_of(points, "value")}
            )
        return {"curves": curves}

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(Step(point.questions, f"{self.parameter} {point.value:g}") for point in self._points)

    @cached_property
    def _points(self) -> tuple[_Point, ...]:
        """All of them, in the order of the visit."""
        recipes = {value: self.recipe_at(value) for value in self.values}
        return tuple(
            _Point(value, key, recipes[value], tuple(Question((recipes[value],), key, name) for name in BASIC))
            for value in coarse_to_fine(self.values)
            for key in dict.fromkeys(key for key, _ in self.data)
        )


def values_of(method: str, text: str) -> tuple[str, tuple[float, ...]]:
    """`p=from:to:step` as the parameter's name and its values: both ends, and the last step shorter where it does not
    divide the range; whole numbers where the parameter is one.

    Raises: `UsageError` for an unknown parameter, one that is no number, an empty range, or a value out of bounds.
    """
    name, equals, span = text.partition("=")
    known = {item.name: item for item in numbers_of(method)}
    if not known:
        raise UsageError(
            f"--vary {shown(text)} of {method}", "a method with a parameter that is a number", "See `methods`"
        )
    if not equals or name not in known:
        raise UsageError(
            f"--vary {shown(text)}",
            f"NAME=FROM:TO:STEP with a parameter of {method} that is a number: {', '.join(known)}",
            "Correct --vary",
        )
    low, high, step = _numbers(text, span)
    values = _grid(text, low, high, step)
    item = known[name]
    if isinstance(item.default, int):
        if any(value != int(value) for value in values):
            raise UsageError(f"--vary {shown(text)}", f"whole numbers, as {name} is one", "Correct the range")
        values = tuple(map(int, values))
    least, most = -math.inf if item.min is None else item.min, math.inf if item.max is None else item.max
    if values[0] < least or values[-1] > most:
        raise UsageError(f"--vary {shown(text)}", f"{name} from {least:g} to {most:g}", "Correct the range")
    return name, values


def numbers_of(method: str) -> tuple[Parameter, ...]:
    """The parameters of a method that can be varied."""
    return tuple(
        item
        for item in parameters_of(METHODS.get(method))
        if isinstance(item.default, int | float) and not isinstance(item.default, bool)
    )


def _numbers(text: str, span: str) -> tuple[float, float, float]:
    try:
        low, high, step = (float(part) for part in span.split(":"))
    except ValueError:
        raise UsageError(f"--vary {shown(text)}", "NAME=FROM:TO:STEP, as alpha=0:1:0.25", "Correct --vary") from None
    if not all(map(math.isfinite, (low, high, step))) or step <= 0 or high < low:
        raise UsageError(
            f"--vary {shown(text)}", "finite numbers, FROM not above TO, and a STEP above 0", "Correct the range"
        )
    return low, high, step


def _grid(text: str, low: float, high: float, step: float) -> tuple[float, ...]:
    steps = (high - low) / step
    if not steps <= MOST_POINTS - 1:
        raise UsageError(f"--vary {shown(text)}", f"at most {MOST_POINTS} points", "Give a larger step")
    values = [round(low + index * step, 9) for index in range(math.floor(steps + 1e-9) + 1)]
    end = round(high, 9)
    return tuple(values if values[-1] == end else [*values, end])
