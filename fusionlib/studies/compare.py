"""One table of what can be made of a set of checkpoints: single networks, every method, the papers' tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES, Study
from fusionlib.question import Known, Question, Refused, Step, Told, figures_of, told_of
from fusionlib.recipe import MULTI_SCALE, Recipe
from fusionlib.studies.barriers import Barriers, MatchedPath
from fusionlib.studies.curve import BASIC, CALIBRATED, best_of
from fusionlib.studies.temperature import TemperatureScaling

CURVE = "curve"
"""The group of rows that stand for a curve that was measured elsewhere."""

FOUND = "search"
"""The group of rows for what searches have found."""


@dataclass(frozen=True)
class Row:
    """One line of the table: `members` are numbers of checkpoints, the anchor first; `networks` answer together.

    `obstacle` says why it cannot be measured; such a row has no recipe, nor has one whose T is not fitted yet.
    """

    group: str
    name: str
    method: str
    members: tuple[int, ...]
    buffers: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    obstacle: str | None = None
    networks: int = 1
    recipe: Recipe | None = None


@STUDIES.register("compare")
@dataclass(frozen=True)
class Comparison(Study):
    """mIoU, accuracy, loss and calibration of every row on one dataset, whose content key is `data`.

    `rows` are those that are clear beforehand, single networks first. `rivals` are methods, each as a row of all
    `names`, that are also measured on subsets: in the group `incremental` on the best two, three, ...; in `subsets` on
    all of them. The number `anchor` leads wherever it is a member, elsewhere the best member does. In the group
    `temperature` the best single network is scaled by a T fitted on the pictures whose content key is `fit_on` (empty:
    there are none), in `views` it answers to `MULTI_SCALE`. `paths` are measured beside the rows. `curves` are the best
    merges of curves that others have measured: they are shown with what is known of them, and never asked for. `found`
    is what searches have found.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    data: str
    rivals: tuple[Row, ...] = ()
    groups: tuple[str, ...] = ()
    anchor: int = 0
    paths: tuple[MatchedPath, ...] = ()
    fit_on: str = ""
    curves: tuple[Row, ...] = ()
    found: tuple[Row, ...] = ()

    title: ClassVar[str] = "Comparison"
    summary: ClassVar[str] = "Every method on one set of checkpoints, beside the single networks and their ensemble"
    source: ClassVar[str] = "Layer-wise Model Merging, tables 1 to 4; Weight Fusion, tables 1 and 2"
    version: ClassVar[int] = 1
    goes_on: ClassVar[bool] = True

    def all_rows(self, known: Known) -> list[Row]:
        """All rows in order; what is made of the best single networks once all of these are measured."""
        scores = self.scores(known)
        rows = [*self.rows, *self.found, *self.curves]
        if scores is None:
            return rows
        return [*rows, *self._scaled(scores, known), *self._viewed(scores), *self._on_subsets(scores)]

    def steps(self, known: Known) -> Sequence[Step]:
        """Row after row, then the paths."""
        steps = [self.step(row) for row in self.all_rows(known) if row.group != CURVE]
        return [*(step for step in steps if step is not None), *Barriers(self.paths, self.data).steps(known)]

    def later(self, known: Known) -> int:
        """How many networks wait for the scores of the single ones, or for the fit of T."""
        unfitted = any(_unfitted(row) and not self.outcome(row, known) for row in self.all_rows(known))
        return self.rows_to_come(known) + unfitted

    def rows_to_come(self, known: Known) -> int:
        """How many rows wait for the scores of the single networks."""
        if self.scores(known) is not None:
            return 0
        subsets = len(self.rivals) * sum(1 for _ in self._subsets(tuple(range(len(self.names)))))
        return subsets + ("temperature" in self.groups) + ("views" in self.groups)

    def scores(self, known: Known) -> tuple[float, ...] | None:
        """mIoU of the single networks, -1 where one cannot be measured; None until all were tried."""
        found = [self.outcome(row, known) for row in self._singles]
        if None in found:
            return None
        given = [one.get("miou") if isinstance(one, dict) else None for one in found]
        return tuple(-1.0 if score is None else score for score in given)

    def step(self, row: Row) -> Step | None:
        """What is asked of a row, at first the fit of its temperature; None of one that cannot be measured."""
        if _unfitted(row):
            return self._scaling(row.members[0]).steps({})[0]._replace(title=row.name)
        if row.recipe is None:
            return None
        measures = BASIC if row.group == CURVE else CALIBRATED
        return Step(tuple(Question((row.recipe,), self.data, name) for name in measures), row.name)

    def calibration(self, row: Row, known: Known) -> dict[str, Any]:
        """The figures of calibration of a row of `curves`; nothing where they are not known."""
        told = known.get(Question((row.recipe,), self.data, "calibration")) if row.recipe else None
        return figures_of([told]) if isinstance(told, Told) else {}

    def outcome(self, row: Row, known: Known) -> dict[str, Any] | Refused | None:
        """The figures of a row, why it has none, or None: not known yet."""
        step = self.step(row)
        if step is None:
            return Refused(row.obstacle or "")
        told = told_of(step.questions, known)
        if told is not None:
            more = self.calibration(row, known) if row.group == CURVE else {}
            return None if _unfitted(row) else {**figures_of(told), **more}
        return next((one for question in step.questions if isinstance(one := known.get(question), Refused)), None)

    def table(self, known: Known) -> dict[str, Any]:
        """`rows` with `state` (measured, waiting, not applicable, failed), `reason` and figures; `best` by mIoU."""
        rows = [self._listed(row, known) for row in self.all_rows(known)]
        return {"rows": rows, "best": best_of(rows, "name")}

    def _listed(self, row: Row, known: Known) -> dict[str, Any]:
        found = self.outcome(row, known)
        about = {"name": row.name, "group": row.group, "method": row.method, "members": list(row.members)}
        if isinstance(found, Refused):
            return {**about, "state": "failed" if found.applies else "not applicable", "reason": found.reason}
        return {**about, "state": "waiting" if found is None else "measured", "reason": None, **(found or {})}

    @cached_property
    def _singles(self) -> list[Row]:
        return [row for row in self.rows if row.group == "single"]

    def _scaled(self, scores: Sequence[float], known: Known) -> Iterator[Row]:
        """The best single network with a temperature; the first of equal ones."""
        if "temperature" not in self.groups:
            return
        best = max(range(len(scores)), key=scores.__getitem__)
        row = Row("temperature", f"{self.names[best]}, temperature", "single", (best,))
        if scores[best] < 0:
            yield replace(row, obstacle="Needs a single network that can be measured")
        elif not self.fit_on:
            yield replace(row, obstacle="Needs two or more pictures: T is fitted on every other one")
        elif (fit := self._scaling(best).fitted(known)) is None:
            yield row
        elif (value := fit["temperature"]) is None:
            yield replace(row, obstacle="No temperature gives a likelihood")
        else:
            recipe = self._scaling(best).scaled(value)
            yield replace(row, name=f"{row.name} {value:.3g}", parameters={"temperature": value}, recipe=recipe)

    def _viewed(self, scores: Sequence[float]) -> Iterator[Row]:
        """The best single network at several scales; the first of equal ones."""
        if "views" not in self.groups:
            return
        best = max(range(len(scores)), key=scores.__getitem__)
        row = Row("views", f"{self.names[best]}, {MULTI_SCALE.words}", "single", (best,), networks=MULTI_SCALE.count)
        if scores[best] < 0 or (recipe := self._singles[best].recipe) is None:
            yield replace(row, obstacle="Needs a single network that can be measured")
        else:
            yield replace(row, recipe=recipe.model_copy(update={"views": MULTI_SCALE}))

    def _scaling(self, number: int) -> TemperatureScaling:
        recipe = self._singles[number].recipe
        assert recipe is not None  # it has a score
        return TemperatureScaling(recipe, self.fit_on, self.data)

    def _on_subsets(self, scores: Sequence[float]) -> Iterator[Row]:
        best_first = tuple(sorted(range(len(scores)), key=lambda number: -scores[number]))
        for group, title, members in self._subsets(best_first):
            # The chosen anchor leads wherever it is a member; elsewhere the best member does, as in the layer-wise
            # paper.
            leader = self.anchor if self.anchor in members else max(members, key=lambda number: scores[number])
            for rival in self.rivals:
                yield self._of(rival, f"{group}: {title}, {rival.method}", group, led(members, leader))

    def _subsets(self, best_first: Sequence[int]) -> Iterator[tuple[str, str, Sequence[int]]]:
        sizes = range(2, len(self.names) + 1)
        if "incremental" in self.groups:
            yield from (("incremental", f"best {size}", best_first[:size]) for size in sizes)
        if "subsets" in self.groups:
            for size in sizes:
                for subset in combinations(range(len(self.names)), size):
                    yield "subsets", " + ".join(self.names[number] for number in subset), subset

    def _of(self, rival: Row, name: str, group: str, members: tuple[int, ...]) -> Row:
        recipe = rival.recipe
        if recipe is not None:
            sources = dict(zip(rival.members, recipe.checkpoints, strict=True))
            recipe = recipe.model_copy(update={"checkpoints": tuple(sources[number] for number in members)})
        return Row(group, name, rival.method, members, rival.buffers, rival.parameters, rival.obstacle, 1, recipe)


def _unfitted(row: Row) -> bool:
    """Whether a temperature is to be fitted before the row can be measured."""
    return row.group == "temperature" and row.recipe is None and row.obstacle is None


def led(members: Sequence[int], leader: int) -> tuple[int, ...]:
    """The anchor first, the others in the order of the set: equal members are then equal content in every group of
    rows.
    """
    return (leader, *(number for number in sorted(members) if number != leader))
