"""What each unit of a network contributes: the merge in it alone, and the merge everywhere but in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from fusionlib.contracts import STUDIES, Study
from fusionlib.question import Known, Step
from fusionlib.recipe import Recipe
from fusionlib.studies.curve import Curve


class Unit(NamedTuple):
    """A layer, block or part: `only` is the merge in it and the anchor elsewhere, `without` the other way round."""

    name: str
    only: Recipe
    without: Recipe


@STUDIES.register("layers")
@dataclass(frozen=True)
class Layers(Study):
    """Figures of the anchor alone (`base`), of the `whole` merge, and of every unit both ways, in network order.

    What a unit contributes is the change from `base` to its `only`, and from its `without` to `whole`; the two differ
    where units work together. `data` is the content key of the pictures.
    """

    base: Recipe
    whole: Recipe
    units: tuple[Unit, ...]
    data: str

    title: ClassVar[str] = "Layer contributions"
    summary: ClassVar[str] = "What each layer or block gives a merge: it alone on the anchor, and the merge without it"
    source: ClassVar[str] = "Add one in and leave one out, over the units of Layer-wise Model Merging"
    version: ClassVar[int] = 1

    def steps(self, known: Known) -> Sequence[Step]:
        """The anchor, the merge, then every unit alone and left out."""
        return self._curve.steps(known)

    def figures(self, known: Known) -> list[dict[str, Any] | None]:
        """Figures of the networks in the order of the steps; None: not known."""
        found = self._curve.found(known)
        return [found.get(point) for point, _ in self._curve.points]

    def table(self, known: Known) -> dict[str, Any]:
        """`table_of` by mIoU."""
        return self.table_of("miou", known)

    def table_of(self, of: str, known: Known) -> dict[str, Any]:
        """`base` and `whole` in one figure, by unit `names`, `only` and `without`; None: not known.

        `of` is miou, or the number of a class, whose IoU it is then.
        """
        base, whole, *pairs = (None if one is None else _value(one, of) for one in self.figures(known))
        return {
            "names": [unit.name for unit in self.units],
            "base": base,
            "whole": whole,
            "only": pairs[::2],
            "without": pairs[1::2],
        }

    @cached_property
    def _curve(self) -> Curve:
        """The networks as points that are called by what they are."""
        points = [("the anchor", self.base), ("the merge", self.whole)]
        for name, only, without in self.units:
            points += [(f"{name} alone", only), (f"{name} left out", without)]
        return Curve(tuple(points), self.data)


def _value(figures: dict[str, Any], of: str) -> float | None:
    return figures["miou"] if of == "miou" else figures["iou"][int(of)]
