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
from fusionlib.studies.curve import BASIC
from fusionlib.studies.grid import coarse_to_fine

MOST_POINTS = 1001
"""Points of one curve or map; a slip of the keyboard must not ask for a billion."""

Place = tuple[float, ...]
"""The value of the parameter, and that of the second one where there is one."""


@dataclass(frozen=True)
class _Point:
    """A network on a dataset, with what is asked of it."""

    place: Place
    data: str
    recipe: Recipe
    questions: tuple[Question, ...]


@STUDIES.register("sweep")
@dataclass(frozen=True)
class Vary(Study):
    """Figures of `method(parameter = value)` for every value on every dataset: a curve each; with a `second` parameter
    those of every pair of values, a map.

    `recipe` names the merge with its other parameters; `data` are content keys of datasets with their specs. Values are
    visited from coarse to fine, all datasets before the next value. With `against_mean` the value is the weight of the
    first checkpoint in a weighted average, and the others share the rest equally.
    """

    recipe: Recipe
    parameter: str
    values: tuple[float, ...]
    data: tuple[tuple[str, str], ...]
    against_mean: bool = False
    second: str = ""
    second_values: tuple[float, ...] = ()

    title: ClassVar[str] = "Sweep"
    summary: ClassVar[str] = "A parameter of a merge method over a range: alpha, a start layer, a density"
    source: ClassVar[str] = "Weight Fusion, section 2.2; Layer-wise Model Merging, figure 5"
    version: ClassVar[int] = 1

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """All points, from coarse to fine in both directions."""
        ranks = [
            {value: rank for rank, value in enumerate(coarse_to_fine(values))}
            for values in (self.values, self.second_values)
        ]
        if not self.second:
            return tuple((value,) for value in ranks[0])
        pairs = [(one, other) for one in ranks[0] for other in ranks[1]]
        return tuple(sorted(pairs, key=lambda pair: max(ranks[0][pair[0]], ranks[1][pair[1]])))

    def recipe_at(self, value: float, second: float | None = None) -> Recipe:
        """The network at a value, of a map at a pair of them."""
        parameters = {**self.recipe.parameters, self.parameter: value}
        if second is not None:
            parameters[self.second] = second
        if self.against_mean:
            others = len(self.recipe.checkpoints) - 1
            parameters = {"weights": [value, *[(1 - value) / others] * others]}
        return self.recipe.model_copy(update={"parameters": parameters})

    def steps(self, known: Known) -> Sequence[Step]:
        """All points, coarse to fine."""
        return self._steps

    def table(self, known: Known) -> dict[str, Any]:
        """`curves`: one per dataset, with the points that are known in order of their value, and the `best` by mIoU. Of
        a map each has the name of the `second` parameter, and its points a `second_value`.
        """
        curves: list[dict[str, Any]] = []
        for key, spec in self.data:
            found = [(point, told_of(point.questions, known)) for point in self._points if point.data == key]
            known_there = sorted(((one.place, told) for one, told in found if told is not None), key=lambda one: one[0])
            points = [{**self._named(place), **figures_of(told)} for place, told in known_there]
            best = max((one for one in points if one["miou"] is not None), key=lambda one: one["miou"], default=None)
            curves.append(
                {
                    "data": spec,
                    "parameter": self.parameter,
                    **({"second": self.second} if self.second else {}),
                    "points": points,
                    "best": best and {name: best[name] for name in (*self._named(self.places[0]), "miou")},
                }
            )
        return {"curves": curves}

    def _named(self, place: Place) -> dict[str, float]:
        return dict(zip(("value", "second_value"), place, strict=False))

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        names = (self.parameter, self.second)
        return tuple(
            Step(
                point.questions,
                ", ".join(f"{name} {value:g}" for name, value in zip(names, point.place, strict=False)),
            )
            for point in self._points
        )

    @cached_property
    def _points(self) -> tuple[_Point, ...]:
        """All of them, in the order of the visit."""
        recipes = {place: self.recipe_at(*place) for place in self.places}
        return tuple(
            _Point(place, key, recipes[place], tuple(Question((recipes[place],), key, name) for name in BASIC))
            for place in self.places
            for key in dict.fromkeys(key for key, _ in self.data)
        )


def check_map(one: tuple[str, Sequence[float]], other: tuple[str, Sequence[float]]) -> None:
    """Raises `UsageError` for two parameters that are one, or more points than `MOST_POINTS`."""
    if one[0] == other[0]:
        raise UsageError(f"Two ranges of {one[0]}", "two different parameters", "Vary another one")
    points = len(one[1]) * len(other[1])
    if points > MOST_POINTS:
        raise UsageError(
            f"A map of {len(one[1])} values of {one[0]} and {len(other[1])} of {other[0]}, {points} points",
            f"at most {MOST_POINTS}",
            "Give larger steps",
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
