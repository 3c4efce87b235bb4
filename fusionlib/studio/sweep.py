"""The interpolation curve of a view, measured in the background from coarse to fine and kept in the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from fusionlib.contracts import Progress
from fusionlib.engine.jobs import Job
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.recipe import Recipe
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.studies.grid import alpha_grid, coarse_to_fine
from fusionlib.studio.plans import lease, view_plan
from fusionlib.studio.queue import QueueJob
from fusionlib.studio.view import LETTERS, MergeView

ENDS = ("a", "b")
"""A and B of a pair alone, with their own statistics: what a merge has to beat."""

Point = float | str


class Sweep(QueueJob[Point]):
    """Points of one view: alphas, and each checkpoint alone. Belongs to the content, not to a page: reloads find it
    again.

    Each point is kept as soon as it is measured; points that are known are not measured again, also after a restart.
    """

    def __init__(self, view: MergeView, runner: Runner, store: Store) -> None:
        super().__init__(f"sweep {' - '.join(view.selection.names)}", _measure_wanted)
        self.view, self.runner, self.store = view, runner, store
        self.points: dict[Point, dict[str, Any]] = {}
        self.fresh = False
        self._planned = 0
        self._index_key = sweep_key(view)
        self._plan(0.05)
        self._recall()

    def want(self, step: float) -> None:
        """Measure the grid of `step`, coarse to fine; points that are there already stay."""
        self._plan(step)
        self.want_points((*self.view.ends, *coarse_to_fine(alpha_grid(step))))

    def _plan(self, step: float) -> None:
        """What is to be done, for whoever looks at the runs."""
        plan = view_plan("sweep", self.view, "--step", f"{step:g}")
        self.lease = lease(self.runner.desk, plan, self.view.id)

    def want_points(self, points: Iterable[Point]) -> None:
        """Measure these in this order, in place of what was waiting; points that are there already stay."""
        with self.guard:
            self.wanted = deque(point for point in points if point not in self.points)
            self._planned = len({point for point in (*self.points, *self.wanted) if not isinstance(point, str)})
        self.run_wanted()

    def want_point(self, alpha: float) -> None:
        """Measure one more alpha, before whatever else is waiting."""
        alpha = self.view.uniform(alpha).shares(len(self.view.arena))[0]
        with self.guard:
            if alpha in self.points:
                return
            self.wanted.appendleft(alpha)
            self._planned = max(
                self._planned, len({point for point in (*self.points, *self.wanted) if not isinstance(point, str)})
            )
        self.run_wanted()

    def measure(self, step: float, progress: Progress | None = None, *, fresh: bool = False) -> dict[str, Any]:
        """Measure the grid of `step` and wait for it; a snapshot of its points. Raises `UsageError` where it failed.

        With `fresh` nothing is taken from the store. An interrupt cancels; what was measured stays stored.
        """
        grid = alpha_grid(step)
        if fresh:
            self.points, self.fresh = {}, True
        known = [point for point in (*self.view.ends, *grid) if point in self.points]
        self.runner.spare(map(self.recipe_at, known), self.view.need_pictures())
        self.want(step)
        self.follow(progress, "a sweep that runs through")
        return _finished(self.snapshot(), grid)

    def measure_points(self, points: Iterable[Point], progress: Progress | None = None) -> None:
        """Measure these as well and wait for them. Raises `UsageError` where it failed."""
        self.want_points(points)
        self.follow(progress, "a sweep that runs through")

    @property
    def scores(self) -> dict[float, float]:
        """mIoU by alpha as far as it is measured, at 1 and 0 that of A and of B alone; nothing before both are
        known.
        """
        with self.guard:
            found = dict(self.points)
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
        with self.guard:
            points = [
                {"alpha": point, **figures} for point, figures in self.points.items() if not isinstance(point, str)
            ]
            ends = {name: self.points.get(name) for name in self.view.ends}
        points.sort(key=lambda point: point["alpha"])
        known = [point for point in points if point["miou"] is not None]
        best = max(known, key=lambda point: point["miou"], default=None)
        images = len(self.view.pictures) if self.view.pictures else 0
        done = len(points)
        state = "idle" if self.state == "done" and not points else self.state  # A and B alone are no curve
        message = self.message or ("; ".join(self.store.notes) or None if state == "done" else None)
        ends_and_points = [figures for figures in (*ends.values(), *points) if figures]
        warnings = annotation_warnings(ends_and_points[0], self.view.space.names) if ends_and_points else []
        return {
            "state": state,
            "message": message,
            "warnings": warnings,
            "done": done,
            "total": max(done, self._planned),
            "fraction": self._fraction(),
            "seconds_left": self.seconds_left,
            "points": points,
            **ends,
            "images": images,
            "best": {"alpha": best["alpha"], "miou": best["miou"]} if best else None,
        }

    def keep(self, point: Point, figures: dict[str, Any]) -> None:
        """Add a measured point, here and in the store."""
        with self.guard:
            self.points[point] = figures
            listed = sorted(point for point in self.points if not isinstance(point, str))
        self.store.put(self._index_key, {"alphas": listed})

    def recipe_at(self, point: Point) -> Recipe:
        """The network at a point."""
        return self.view.alone(point) if isinstance(point, str) else self.view.recipe(point)

    def measure_point(self, point: Point, progress: Progress) -> dict[str, Any]:
        """The figures of a point; nothing runs where they are known."""
        pictures = self.view.need_pictures()
        return self.runner.measure(self.recipe_at(point), pictures, progress, fresh=self.fresh)

    def _fraction(self) -> float:
        return self.done / self.total if self.total else 0.0

    def _recall(self) -> None:
        pictures = self.view.pictures
        if self.view.obstacle or pictures is None or not pictures.labelled:
            return
        known = (self.store.get(self._index_key) or {}).get("alphas", ())
        points = list(dict.fromkeys((*self.view.ends, *alpha_grid(0.05), *known)))
        found = self.runner.recall([self.recipe_at(point) for point in points], pictures)
        self.points = {point: figures for point, figures in zip(points, found, strict=True) if figures is not None}
        if self.points:
            self.state = "done"


def sweep_key(view: MergeView) -> str:
    """Where the store lists the alphas that were measured of a view, beside those of the usual grids."""
    return key_of("sweep", view.id)


def _finished(snapshot: dict[str, Any], grid: tuple[float, ...]) -> dict[str, Any]:
    """The part of a snapshot that a grid asked for."""
    points = [point for point in snapshot["points"] if point["alpha"] in grid]
    known = [point for point in points if point["miou"] is not None]
    best = max(known, key=lambda point: point["miou"], default=None)
    return {
        "points": points,
        "best": {"alpha": best["alpha"], "miou": best["miou"]} if best else None,
        **{end: snapshot[end] for end in LETTERS if end in snapshot},
        "images": snapshot["images"],
        "warnings": snapshot["warnings"],
    }


def _measure_wanted(job: Job) -> None:
    """The background work of a sweep: point after point until none is wanted."""
    assert isinstance(job, Sweep)
    pictures, finished = job.view.need_pictures(), 0
    while (point := job.next_wanted()) is not None:

        def progress(done: int, of: int, finished: int = finished) -> None:
            images = len(pictures)
            part = round(images * done / of) if of else 0
            job.progress(finished * images + part, (finished + 1 + job.waiting()) * images)

        progress(0, 0)
        job.keep(point, job.measure_point(point, progress))
        finished += 1
