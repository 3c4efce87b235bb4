"""Any parameter of any method, varied over a range, on one dataset or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fusionlib.contracts import METHODS, STUDIES, Parameter, parameters_of
from fusionlib.errors import UsageError, shown
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.studies.grid import coarse_to_fine

MOST_POINTS = 1001
"""Points of one curve; a slip of the keyboard must not ask for a billion."""

ASKED = ("confusion", "loss")
SHOWN = ("miou", "pixel_accuracy", "loss", "iou", "images", "tiled")


@STUDIES.register("sweep")
@dataclass(frozen=True)
class Vary:
    """Figures of `method(parameter = value)` for every value on every dataset: a curve each.

    `recipe` names the merge with its other parameters; `data` are content keys of datasets with their specs. Values are
    visited from coarse to fine, all datasets before the next value.
    """

    recipe: Recipe
    parameter: str
    values: tuple[float, ...]
    data: tuple[tuple[str, str], ...]

    title: ClassVar[str] = "Sweep"
    summary: ClassVar[str] = "A parameter of a merge method over a range: alpha, a start layer, a density"
    source: ClassVar[str] = "Weight Fusion, section 2.2; Layer-wise Model Merging, figure 5"
    version: ClassVar[int] = 1

    def recipe_at(self, value: float) -> Recipe:
        """The network at a value."""
        parameters = {**self.recipe.parameters, self.parameter: value}
        return self.recipe.model_copy(update={"parameters": parameters})

    def questions(self, known: Mapping[Question, Mapping[str, Any]]) -> Sequence[Question]:
        """The first point that is not known, coarse to fine."""
        for value in coarse_to_fine(self.values):
            for key, _ in self.data:
                wanted = self._asked(value, key)
                if not all(question in known for question in wanted):
                    return wanted
        return ()

    def table(self, known: Mapping[Question, Mapping[str, Any]]) -> dict[str, Any]:
        """`curves`: one per dataset, with the points that are known in order of their value."""
        return {
            "curves": [
                {"data": spec, "parameter": self.parameter, "points": self._points(key, known)}
                for key, spec in self.data
            ]
        }

    def _points(self, data: str, known: Mapping[Question, Mapping[str, Any]]) -> list[dict[str, Any]]:
        points = []
        for value in self.values:
            wanted = self._asked(value, data)
            if all(question in known for question in wanted):
                points.append({"value": value, **_shown(known, wanted)})
        return points

    def _asked(self, value: float, data: str) -> list[Question]:
        recipe = self.recipe_at(value)
        return [Question((recipe,), data, name) for name in ASKED]


def _shown(known: Mapping[Question, Mapping[str, Any]], wanted: Sequence[Question]) -> dict[str, Any]:
    figures = {name: value for question in wanted for name, value in known[question].items()}
    return {name: figures[name] for name in SHOWN if name in figures}


def values_of(method: str, text: str) -> tuple[str, tuple[float, ...]]:
    """`p=from:to:step` as the parameter's name and its values, `to` included; a whole number where the parameter is.

    Raises: `UsageError` for an unknown parameter, one that is no number, an empty range, or a value out of bounds.
    """
    name, equals, span = text.partition("=")
    known = {item.name: item for item in parameters_of(METHODS.get(method)) if _is_number(item)}
    if not equals or name not in known:
        raise UsageError(
            f"--vary {shown(text)}",
            f"NAME=FROM:TO:STEP with a parameter of {method} that is a number: {', '.join(known) or 'it has none'}",
            "Correct --vary",
        )
    item, numbers = known[name], _numbers(text, span)
    low, high, step = numbers
    count = math.floor((high - low) / step + 1e-9) + 1
    if not 1 <= count <= MOST_POINTS:
        raise UsageError(f"--vary {shown(text)}: {count} points", f"1 to {MOST_POINTS}", "Correct the range")
    values = [round(low + index * step, 9) for index in range(count)]
    whole = isinstance(item.default, int)
    if whole and any(value != int(value) for value in values):
        raise UsageError(f"--vary {shown(text)}", f"whole numbers, as {name} is one", "Correct the range")
    return name, tuple(int(value) if whole else value for value in values)


def _is_number(item: Parameter) -> bool:
    return isinstance(item.default, int | float) and not isinstance(item.default, bool)


def _numbers(text: str, span: str) -> tuple[float, float, float]:
    try:
        low, high, step = (float(part) for part in span.split(":"))
    except ValueError:
        raise UsageError(f"--vary {shown(text)}", "NAME=FROM:TO:STEP, as alpha=0:1:0.25", "Correct --vary") from None
    if not all(map(math.isfinite, (low, high, step))) or step <= 0:
        raise UsageError(f"--vary {shown(text)}", "finite numbers and a step above 0", "Correct --vary")
    return low, high, step
