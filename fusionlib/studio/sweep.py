"""The interpolation curve of a view, measured in the background from coarse to fine and kept in the store."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from fusionlib.contracts import Progress
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.question import Step
from fusionlib.recipe import Recipe
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.runs.work import Work
from fusionlib.studies.curve import BASIC, Curve, best_of
from fusionlib.studies.grid import alpha_grid, coarse_to_fine
from fusionlib.studio.plans import lease, view_plan
from fusionlib.studio.view import LETTERS, MergeView

ENDS = ("a", "b")
"""A and B of a pair alone, with their own statistics: what a merge has to beat."""

Point = float | str


class Sweep(Work):
    """Points of one view: alphas, and each checkpoint alone. Belongs to the content, not to a page: reloads find it
    again.

    Each point is kept as soon as it is measured; points that are known are not measured again, also after a restart.
    """

    measures: Sequence[str] = BASIC

    def __init__(self, view: MergeView, runner: Runner, store: Store) -> None:
        pictures = view.pictures
        self.view, self.store = view, store
        data = pictures.fingerprint() if pictures else ""
        super().__init__(
            f"sweep {' - '.join(view.selection.names)}",
            Curve((), data, tuple(self.measures)),
            runner,
            {data: pictures} if pictures else {},
        )
        self._all = self._study
        """Every point that was ever asked for."""
        self._naming = threading.Lock()
        self._index_key = sweep_key(view.id)
        self._plan(0.05)
        self.look()

    def look(self) -> None:
        """Take what others have measured since. While it runs it finds out itself."""
        view, pictures = self.view, self.view.pictures
        if self.state == "running" or view.obstacle or pictures is None or not pictures.labelled:
            return
        self._recall((*view.ends, *alpha_grid(0.05), *self._listed()))
        if self.state == "idle" and self.points:
            self.state = "done"

    def _listed(self) -> set[float]:
        """Alphas that the store lists; of two also those of the same curve from B to A."""
        listed = listed_alphas(self.store, self._index_key)
        if len(self.view.arena) > 2:
            return listed
        return listed | {round(1 - alpha, 9) for alpha in listed_alphas(self.store, sweep_key(self.view.turned))}

    def want(self, step: float, *, fresh: bool = False) -> None:
        """Measure the grid of `step`, coarse to fine; points that are there already stay."""
        self._plan(step)
        self.want_points((*self.view.ends, *coarse_to_fine(alpha_grid(step))), fresh=fresh)

    def cost(self, step: float) -> int:
        """Forward passes' worth of work that is left of the grid of `step`, at most: pictures may be known."""
        steps = self._curve((*self.view.ends, *alpha_grid(step))).steps({})
        left = {self.runner.builder.memo(one.questions[0].recipes[0]): one for one in steps if self._lacks(one)}
        return self._passes(left.values())  # each network once: at 0 and 1 the merge is often B and A themselves

    def _lacks(self, step: Step) -> bool:
        return any(one not in self.known for one in step.questions)

    def want_points(self, points: Iterable[Point], *, fresh: bool = False) -> None:
        """Measure these in this order, in place of what was waiting; points that are there already stay."""
        self.begin(self._curve(points), fresh=fresh)

    def want_point(self, alpha: float) -> None:
        """Measure one more alpha, before whatever else is waiting."""
        alpha = self.view.uniform(alpha).shares(len(self.view.arena))[0]
        if alpha in self.points:
            return
        waiting = [point for point, _ in self._study.points] if self.state == "running" and not self.stopping else []
        self.want_points((alpha, *waiting))

    def measure(self, step: float, progress: Progress | None = None, *, fresh: bool = False) -> dict[str, Any]:
        """Measure the grid of `step` and wait for it; a snapshot of its points. Raises `UsageError` where it failed.

        With `fresh` nothing is taken from the store. An interrupt cancels; what was measured stays stored.
        """
        grid = alpha_grid(step)
        self._plan(step)
        self.run(self._curve((*self.view.ends, *coarse_to_fine(grid))), progress, fresh=fresh)
        return _finished(self.snapshot(), grid)

    def measure_points(self, points: Iterable[Point], progress: Progress | None = None) -> None:
        """Measure these as well and wait for them. Raises `UsageError` where it failed."""
        self.run(self._curve(points), progress)

    @property
    def points(self) -> dict[Point, dict[str, Any]]:
        """Figures of all points that are known."""
        return self._all.found(dict(self.known))

    @property
    def scores(self) -> dict[float, float]:
        """mIoU by alpha as far as it is measured, at 1 and 0 that of A and of B alone; nothing before both are
        known.
        """
        found = self.points
        a, b = (found[end]["miou"] if end in found else None for end in ENDS)
        if a is None or b is None:
            return {}
        inner = {
            point: figures["miou"]
            for point, figures in found.items()
            if not isinstance(point, str) and figures["miou"] is not None
        }
        return {**inner, 1.0: a, 0.0: b}

    def snapshot(self) -> dict[str, Any]:
        """State, progress (in alphas) and points as JSON values; `best` is the alpha with the highest mIoU."""
        found = self.points
        points = [{"alpha": point, **figures} for point, figures in found.items() if not isinstance(point, str)]
        points.sort(key=lambda point: point["alpha"])
        ends = {name: found.get(name) for name in self.view.ends}
        done = len(points)
        planned = {point for point, _ in self._study.points if not isinstance(point, str)}
        inner = any(0 < point["alpha"] < 1 for point in points)
        state = "idle" if self.state == "done" and not inner else self.state  # A and B alone are no curve
        message = self.message or ("; ".join(self.store.notes) or None if state == "done" else None)
        ends_and_points = [figures for figures in (*ends.values(), *points) if figures]
        warnings = annotation_warnings(ends_and_points[0], self.view.space.names) if ends_and_points else []
        return {
            **self.status(),
            "state": state,
            "message": message,
            "warnings": warnings,
            "done": done,
            "total": len(planned | {point["alpha"] for point in points}),
            "points": points,
            **ends,
            "images": len(self.view.pictures) if self.view.pictures else 0,
            "best": best_of(points, "alpha"),
        }

    def recipe_at(self, point: Point) -> Recipe:
        """The network at a point."""
        return self.view.alone(point) if isinstance(point, str) else self.view.recipe(point)

    @property
    def _study(self) -> Curve:
        assert isinstance(self.study, Curve)
        return self.study

    def _plan(self, step: float) -> None:
        """What is to be done, for whoever looks at the runs."""
        plan = view_plan("sweep", self.view, "--step", f"{step:g}")
        self.lease = lease(self.runner.desk, plan, self.view.id)

    def _curve(self, points: Iterable[Point]) -> Curve:
        """The study of these points; what they are is remembered, and listed for whoever opens the view next."""
        wanted = tuple(points)
        with self._naming:
            named = dict(self._all.points)
            if new := [point for point in dict.fromkeys(wanted) if point not in named]:
                named |= {point: self.recipe_at(point) for point in new}
                self._all = self._study.of(named)
        return self._study.of({point: named[point] for point in wanted})

    def _recall(self, points: Iterable[Point]) -> None:
        curve = self._curve(dict.fromkeys(points))
        found = self.recalled(one for step in curve.steps({}) for one in step.questions if one not in self.known)
        self.known.update(found)

    def told(self) -> None:
        """Keep a list of what is measured: grids are looked for anyway, other alphas would not be found again."""
        list_alphas(self.store, self._index_key, (point for point in self.points if not isinstance(point, str)))


def sweep_key(view: str) -> str:
    """Where the store lists the alphas that were measured of a view of this id, beside those of the usual grids."""
    return key_of("sweep", view)


def listed_alphas(store: Store, key: str) -> set[float]:
    """What the store lists."""
    return set(map(float, (store.get(key) or {}).get("alphas", ())))


def list_alphas(store: Store, key: str, alphas: Iterable[float]) -> None:
    """Add these to what the store lists."""
    known = listed_alphas(store, key)
    if new := set(alphas) - known:
        store.put(key, {"alphas": sorted(known | new)})


def _finished(snapshot: dict[str, Any], grid: tuple[float, ...]) -> dict[str, Any]:
    """The part of a snapshot that a grid asked for."""
    points = [point for point in snapshot["points"] if point["alpha"] in grid]
    return {
        "points": points,
        "best": best_of(points, "alpha"),
        **{end: snapshot[end] for end in LETTERS if end in snapshot},
        "images": snapshot["images"],
        "warnings": snapshot["warnings"],
    }
