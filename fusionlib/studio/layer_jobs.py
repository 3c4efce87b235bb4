"""What layer profiles give on a whole split: profiles as they are asked for, and every block alone and left out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from fusionlib.engine.jobs import Job
from fusionlib.errors import UsageError
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.merging.profile import LayerProfile
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.studio.plans import lease, view_plan
from fusionlib.studio.queue import QueueJob
from fusionlib.studio.view import MergeView


class ProfileJob(QueueJob[LayerProfile]):
    """Measures profiles of one view one after the other.

    What the store has is not measured again, also after a restart.
    """

    def __init__(self, title: str, view: MergeView, runner: Runner) -> None:
        super().__init__(f"{title} {' - '.join(view.selection.names)}", _measure_wanted)
        self.view, self.runner = view, runner
        self._known: dict[str, dict[str, Any]] = {}
        self.fresh = False
        self.lease = lease(runner.desk, view_plan("layers", view), title, view.id)

    def want(self, profiles: Iterable[LayerProfile]) -> None:
        """Measure these in this order, in place of what was waiting.

        Raises `UsageError` where nothing can be measured.
        """
        if self.view.obstacle or not self.view.need_pictures().labelled:
            raise UsageError(
                self.view.obstacle or "These pictures have no masks",
                "a known network and labelled pictures",
                "Choose data with masks; pictures without them can still be looked at",
            )
        with self.guard:
            self.wanted = deque(profile for profile in profiles if self.figures(profile) is None)
        self.run_wanted()

    def figures(self, profile: LayerProfile) -> dict[str, Any] | None:
        """What is known of a profile, here or in the store."""
        key = self.key_of(profile)
        if key not in self._known and not self.fresh and self.view.pictures is not None:
            (found,) = self.runner.recall([self.recipe_of(profile)], self.view.pictures)
            if found is not None:
                self._known[key] = found
        return self._known.get(key)

    def key_of(self, profile: LayerProfile) -> str:
        """What tells a profile of this view from others."""
        return self.recipe_of(profile).content

    def recipe_of(self, profile: LayerProfile) -> Recipe:
        """The network of a profile: the same weights everywhere are a plain average, as a sweep measures it."""
        view = self.view
        rows = set(profile.tensor_shares(view.arena).values())
        own_anchor = view.selection.buffers == "anchor" and profile.anchor != 0
        recipe = view.recipe(profile)
        if len(rows) > 1 or own_anchor:
            return recipe
        return recipe.model_copy(update={"method": "linear", "parameters": {"weights": list(next(iter(rows)))}})

    def keep(self, profile: LayerProfile, figures: dict[str, Any]) -> None:
        """Add a measured profile."""
        self._known[self.key_of(profile)] = figures

    def status(self) -> dict[str, Any]:
        """State and progress as JSON values; `done` and `total` count forward passes."""
        return {
            "state": self.state,
            "message": self.message,
            "done": self.done,
            "total": self.total,
            "fraction": self.done / self.total if self.total else 0.0,
            "seconds_left": self.seconds_left,
        }


class Contribution(ProfileJob):
    """What each unit contributes: the merge in it alone with the anchor elsewhere, and the merge everywhere but in
    it.
    """

    def __init__(self, view: MergeView, runner: Runner) -> None:
        super().__init__("contribution", view, runner)
        self.profile: LayerProfile | None = None
        self._keys: dict[str, list[str]] = {}

    def measure(self, profile: LayerProfile) -> None:
        """Measure the anchor, the whole merge, then every unit both ways, in network order."""
        base, alone = only(profile, None), [only(profile, name) for name in profile.weights]
        left_out = [without(profile, name) for name in profile.weights]
        # Naming a profile takes every tensor's weight: once here, not at every look at the progress.
        self._keys = {
            "base": [self.key_of(base)],
            "whole": [self.key_of(profile)],
            "only": [self.key_of(one) for one in alone],
            "without": [self.key_of(one) for one in left_out],
        }
        self.profile = profile
        self.want([base, profile, *(one for pair in zip(alone, left_out, strict=True) for one in pair)])

    def snapshot(self, of: str = "miou") -> dict[str, Any]:
        """Status, and in `of` (miou, or a class number) the anchor, the merge, and by unit `only` and `without`; None:
        not known.
        """
        profile = self.profile
        if profile is None:
            return {
                **self.status(),
                "level": None,
                "weights": [],
                "anchor": 0,
                "of": of,
                "base": None,
                "whole": None,
                "names": [],
                "only": [],
                "without": [],
                "warnings": [],
            }
        figures = {name: [self._value(key, of) for key in keys] for name, keys in self._keys.items()}
        base = self._known.get(self._keys["base"][0])
        warnings = annotation_warnings(base, self.view.space.names) if base else []
        return {
            **self.status(),
            "level": profile.granularity,
            "weights": [list(row) for row in profile.weights.values()],
            "anchor": profile.anchor,
            "of": of,
            "names": list(profile.weights),
            "base": figures["base"][0],
            "whole": figures["whole"][0],
            "only": figures["only"],
            "without": figures["without"],
            "warnings": warnings,
        }

    def _value(self, key: str, of: str) -> float | None:
        figures = self._known.get(key)
        if figures is None:
            return None
        return figures["miou"] if of == "miou" else figures["iou"][int(of)]


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


def _measure_wanted(job: Job) -> None:
    """The background work: profile after profile until none is wanted."""
    assert isinstance(job, ProfileJob)
    pictures, finished = job.view.need_pictures(), 0
    images = len(pictures)
    while (profile := job.next_wanted()) is not None:

        def progress(done: int, of: int, base: int = finished) -> None:
            part = round(images * done / of) if of else 0
            job.progress(base * images + part, (base + 1 + job.waiting()) * images)

        progress(0, 0)
        if job.figures(profile) is None:
            recipe = job.recipe_of(profile)
            job.keep(profile, job.runner.measure(recipe, pictures, progress, fresh=job.fresh))
        finished += 1
