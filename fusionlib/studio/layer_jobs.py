"""What layer profiles give on a whole split: profiles as they are asked for, and every unit alone and left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fusionlib.contracts import Study
from fusionlib.errors import UsageError
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.merging.profile import LayerProfile
from fusionlib.question import figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.curve import Curve
from fusionlib.studies.layers import Layers, Unit
from fusionlib.studio.plans import lease, view_plan
from fusionlib.studio.view import MergeView


class _ProfileWork(Work):
    """Measures profiles of one view. What the store has is not measured again, also after a restart."""

    def __init__(self, title: str, view: MergeView, runner: Runner) -> None:
        self.view, pictures = view, view.pictures
        self.data = pictures.fingerprint() if pictures else ""
        super().__init__(
            f"{title} {' - '.join(view.selection.names)}",
            Curve((), self.data),
            runner,
            {self.data: pictures} if pictures else {},
            lease(runner.desk, view_plan("layers", view), title, view.id),
        )

    def figures(self, profile: LayerProfile) -> dict[str, Any] | None:
        """What is known of a profile, here or in the store."""
        (step,) = Curve.planned([self.recipe_of(profile)], self.data).steps({})
        told = told_of(step.questions, self.known)
        if told is None and not self.fresh and self.measurable:
            self.known |= self.recalled(step.questions)
            told = told_of(step.questions, self.known)
        return None if told is None else figures_of(told)

    def recipe_of(self, profile: LayerProfile) -> Recipe:
        """The network of a profile: the same weights everywhere are a plain average, as a sweep measures it."""
        view = self.view
        rows = set(profile.tensor_shares(view.arena).values())
        own_anchor = view.selection.buffers == "anchor" and profile.anchor != 0
        if len(rows) > 1 or own_anchor:
            return view.recipe(profile)
        return view.path.merge("linear", {"weights": list(next(iter(rows)))})

    @property
    def measurable(self) -> bool:
        """Whether there is a known network and something to hold it against."""
        return not self.view.obstacle and self.view.need_pictures().labelled

    def need_measurable(self) -> None:
        """Raises `UsageError` where nothing can be measured."""
        if not self.measurable:
            raise UsageError(
                self.view.obstacle or "These pictures have no masks",
                "a known network and labelled pictures",
                "Choose data with masks; pictures without them can still be looked at",
            )

    def work_off(self, study: Study, *, fresh: bool = False) -> None:
        """Begin a study in place of what was waiting; passes whose figures are in the store count as spared."""
        self.study = study
        if not fresh:
            self.recall()
            self._spare()
        self.begin(fresh=fresh)


class ProfileJob(_ProfileWork):
    """Whole profiles, as the page asks for them: the one on screen, and the points of its own curve."""

    def __init__(self, view: MergeView, runner: Runner) -> None:
        super().__init__("profile", view, runner)

    def want(self, profiles: Iterable[LayerProfile]) -> None:
        """Measure these in this order, in place of what was waiting. Raises `UsageError` where nothing can be."""
        self.need_measurable()
        self.work_off(Curve.planned([self.recipe_of(profile) for profile in profiles], self.data))


class Contribution(_ProfileWork):
    """What each unit contributes to a profile."""

    def __init__(self, view: MergeView, runner: Runner) -> None:
        super().__init__("contribution", view, runner)
        self._asked: tuple[LayerProfile, Layers] | None = None

    @property
    def profile(self) -> LayerProfile | None:
        """The one that was asked for last."""
        return self._asked[0] if self._asked else None

    def measure(self, profile: LayerProfile, *, fresh: bool = False) -> None:
        """Measure the anchor, the whole merge, then every unit both ways. Raises `UsageError` where nothing can be.

        `fresh`: what is known does not count.
        """
        self.need_measurable()
        base, whole = map(self.recipe_of, (only(profile, None), profile))
        units = tuple(
            Unit(name, self.recipe_of(only(profile, name)), self.recipe_of(without(profile, name)))
            for name in profile.weights
        )
        study = Layers(base, whole, units, self.data)
        self._asked = profile, study
        self.work_off(study, fresh=fresh)

    def snapshot(self, of: str = "miou") -> dict[str, Any]:
        """Status, and in `of` (miou, or a class number) the anchor, the merge, and by unit `only` and `without`; None:
        not known.
        """
        if self._asked is None:
            nothing = {"names": [], "base": None, "whole": None, "only": [], "without": []}
            return {**self.status(), "level": None, "weights": [], "anchor": 0, "of": of, **nothing, "warnings": []}
        (profile, study), known = self._asked, dict(self.known)
        base = study.figures(known)[0]
        return {
            **self.status(),
            "level": profile.granularity,
            "weights": [list(row) for row in profile.weights.values()],
            "anchor": profile.anchor,
            "of": of,
            **study.table_of(of, known),
            "warnings": annotation_warnings(base, self.view.space.names) if base else [],
        }


def only(profile: LayerProfile, unit: str | None) -> LayerProfile:
    """The anchor everywhere, but `unit` (None: nothing) as in `profile`."""
    alone = anchor_shares(profile)
    return _with(profile, {name: row if name == unit else alone for name, row in profile.weights.items()})


def without(profile: LayerProfile, unit: str) -> LayerProfile:
    """`profile` everywhere, but the anchor in `unit`."""
    return _with(profile, {**profile.weights, unit: anchor_shares(profile)})


def anchor_shares(profile: LayerProfile) -> tuple[float, ...]:
    """The anchor's own place on the simplex: a weight for each checkpoint."""
    count = len(next(iter(profile.weights.values())))
    return tuple(float(number == profile.anchor) for number in range(count))


def _with(profile: LayerProfile, weights: dict[str, tuple[float, ...]]) -> LayerProfile:
    return LayerProfile(anchor=profile.anchor, granularity=profile.granularity, weights=weights)
