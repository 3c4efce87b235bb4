"""What Git Re-Basin does to the barriers: the path from the anchor to every other checkpoint, before and after its
units are matched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES, Study
from fusionlib.diagnostics.barrier import MODES, barrier
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.studies.curve import BASIC

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where the paths are measured, alpha being the anchor's weight; the ends are the networks themselves, with their own
statistics.
"""


@dataclass(frozen=True)
class MatchedPath:
    """The networks along the path from the checkpoint `name` (alpha 0) to the anchor, before its units were moved and
    after; nothing where the match moved none: the path is the same one.
    """

    name: str
    before: tuple[Recipe, ...] = ()
    after: tuple[Recipe, ...] = ()


@STUDIES.register("barriers")
@dataclass(frozen=True)
class Barriers(Study):
    """Loss and mIoU along paths, and how high their barriers are by both definitions; `data` is the content key."""

    paths: tuple[MatchedPath, ...]
    data: str

    title: ClassVar[str] = "Barriers"
    summary: ClassVar[str] = "The paths between checkpoints before and after Git Re-Basin has matched their units"
    source: ClassVar[str] = "Ainsworth et al. 2023 (Git Re-Basin); Entezari et al. 2022, Frankle et al. 2020 (barriers)"
    version: ClassVar[int] = 1

    def steps(self, known: Known) -> Sequence[Step]:
        """The points of all paths."""
        return self._steps

    def table(self, known: Known) -> dict[str, Any]:
        """`paths`: `name`, and `before` and `after` as `path_of` has them."""
        return {
            "paths": [
                {"name": one.name, "before": self.path(one.before, known), "after": self.path(one.after, known)}
                for one in self.paths
            ]
        }

    def path(self, recipes: Sequence[Recipe], known: Known) -> dict[str, Any] | None:
        """`loss` (nats) and `miou` at `ALPHAS`, and under `barriers` how high each is; None where not all is known."""
        told = [told_of(step.questions, known) for step in self.asked(recipes)]
        return path_of([figures_of(one) for one in told if one is not None]) if told and None not in told else None

    def asked(self, recipes: Iterable[Recipe]) -> list[Step]:
        """What is asked of networks on a path."""
        return [Step(tuple(Question((recipe,), self.data, name) for name in BASIC), "barriers") for recipe in recipes]

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(self.asked(recipe for path in self.paths for recipe in (*path.after, *path.before)))


def path_of(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Values at `ALPHAS` and the heights of their barriers (see `fusionlib.diagnostics.barrier`)."""
    values = {name: [point[name] for point in points] for name in ("loss", "miou")}
    heights = {
        name: (
            None
            if None in row
            else {mode: barrier(ALPHAS, row, mode, higher_is_better=name == "miou") for mode in MODES}
        )
        for name, row in values.items()
    }
    return {**values, "barriers": heights}


def matched_path(recipe: Recipe, anchor: int, number: int, name: str) -> MatchedPath:
    """The path of a checkpoint of a recipe of Re-Basin to its anchor."""
    pair = (recipe.checkpoints[anchor], recipe.checkpoints[number])

    def points(method: str, given: Mapping[str, Any]) -> tuple[Recipe, ...]:
        two = recipe.model_copy(update={"checkpoints": pair, "method": method, "anchor": None})
        inner = {alpha: two.model_copy(update={"parameters": {**given, "alpha": alpha}}) for alpha in ALPHAS[1:-1]}
        return (two.alone(1), *inner.values(), two.alone(0))

    return MatchedPath(name, points("linear", {}), points(recipe.method, {**recipe.parameters, "anchor": 0}))
