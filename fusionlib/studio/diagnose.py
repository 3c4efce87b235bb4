"""The diagnosis of a set of checkpoints: weights at once, functions and paths in the background, one report of it
all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Architecture, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.discrepancy import TAU
from fusionlib.diagnostics.evidence import SHARE
from fusionlib.diagnostics.survey import WeightSurvey, survey
from fusionlib.engine.jobs import Job
from fusionlib.engine.recipes import source_of
from fusionlib.errors import FusionError, UsageError
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.studies.grid import FINE, alpha_grid, around_best
from fusionlib.studio.diagnosis_functions import CKA_PICTURES, FunctionTable, Obstacles, Pair, Unmeasured
from fusionlib.studio.diagnosis_report import full_report
from fusionlib.studio.intervals import Chance, Intervals
from fusionlib.studio.outlook import closer_points, merges_on, path_summary
from fusionlib.studio.plans import lease, set_plan
from fusionlib.studio.sweep import ENDS, Sweep, sweep_key
from fusionlib.studio.view import MergeView, Selection

GRIDS = (0.05, 0.1, 0.125, 0.25, 0.5)
"""Steps whose points are looked for in the store of results, beside what a sweep's index names."""

OpenSweep = Callable[[MergeView], Sweep]


class Diagnosis(Job):
    """K >= 2 checkpoints, their pictures if there are any, and what is known of them. Belongs to the content: reloads
    find it again.

    `open_sweep` gives the sweep of a view, the one that other pages watch where there is one.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: DecodedCache | None,
        buffers: str,
        *,
        runner: Runner,
        open_sweep: OpenSweep | None = None,
        intervals: Intervals | None = None,
    ) -> None:
        super().__init__("diagnosis " + ", ".join(item.name for item in checkpoints))
        if len(checkpoints) < 2:
            raise UsageError(f"{len(checkpoints)} checkpoint", "two or more to diagnose", "Name another checkpoint")
        self.checkpoints, self.pictures, self.buffers = tuple(checkpoints), pictures, buffers
        self.runner, self.store = runner, Store(runner.answers.database)
        runner.builder.merger.sources.know(checkpoints, pictures)
        self.pairs = tuple(combinations(range(len(checkpoints)), 2))
        self.obstacles = Obstacles(checkpoints, pictures)
        self.known = self.obstacles.known
        prints = [item.fingerprint for item in checkpoints]
        plan = set_plan("diagnose", [item.path for item in checkpoints], pictures, "--buffers", buffers)
        self.lease = lease(runner.desk, plan, *prints, pictures.fingerprint() if pictures else "", buffers)
        self._table = FunctionTable(checkpoints, pictures, self.obstacles, runner) if pictures else None
        self._intervals = intervals or Intervals(runner)
        self._open_sweep = open_sweep or (lambda view: Sweep(view, runner, self.store))
        self._surveys: dict[float, WeightSurvey] = {}
        self._lights: dict[tuple[int, int], MergeView | None] = {}
        self._unfit: dict[tuple[int, int], str] = {}
        self.parts_known = 0
        """Grows whenever something new is known: the networks have run, or a pair's path is finished."""
        self._lock = threading.Lock()

    @property
    def obstacle(self) -> str | None:
        """Why no function at all can be measured, in words; None when some can."""
        return self.obstacles.whole

    def notes(self) -> list[str]:
        """What cannot be measured and why, in words, for the set: nothing where everything can."""
        return [self.obstacle] if self.obstacle else self.obstacles.notes()

    def warnings(self) -> list[str]:
        """What is odd about the masks that the networks were measured against; nothing until one is."""
        alone = next((figures for figures in (self.functions() or {}).get("singles", ()) if figures), None)
        return annotation_warnings(alone, self.pictures.label_space.names) if self.pictures else []

    def weights(self, tau: float = TAU, progress: Progress | None = None) -> WeightSurvey:
        """The weight-space figures, from one pass over the files for each tau asked for."""
        with self._lock:
            if tau not in self._surveys:
                self._surveys[tau] = survey(self.checkpoints, head=self._head(), tau=tau, progress=progress)
            return self._surveys[tau]

    def functions(self) -> dict[str, Any] | None:
        """The function-space figures that are known, here or in the store, of whatever set they were measured with."""
        return self._table.figures() if self._table else None

    def lacking(self, fresh: bool = False) -> Unmeasured:
        """The networks that have to run until all that can be known is, and the pairs that lack figures."""
        return self._table.lacking(fresh) if self._table else Unmeasured((), ())

    def path_obstacle(self, a: int, b: int) -> str | None:
        """Why there is no path to measure between two, in words; None where there is one."""
        if (why := self.obstacles.path(a, b)) is not None:
            return why
        self._light_view(a, b)
        return self._unfit.get((a, b))

    def path(self, a: int, b: int) -> dict[str, Any] | None:
        """What the store knows of the path between two: `points` from alpha 0 (B alone) to 1 (A alone); None without
        ends.

        A curve that was measured with A and B swapped counts as well, except where the statistics are those of A.
        """
        found = self._path_points(a, b)
        if not any(isinstance(key, float) and 0 < key < 1 for key in found) and self.buffers != "anchor":
            found = {_turned(key): figures for key, figures in self._path_points(b, a).items()}
        if not all(isinstance(found.get(end), dict) for end in ENDS):
            return None
        ends = {
            0.0: found["b"],
            1.0: found["a"],
        }  # the networks themselves, with their own statistics, whatever the policy
        points = [
            {"alpha": alpha, **{name: figures[name] for name in ("miou", "loss", "pixel_accuracy")}}
            for alpha, figures in sorted(
                {**{key: value for key, value in found.items() if isinstance(key, float)}, **ends}.items()
            )
        ]
        return {"points": points, "buffers": self.buffers} if len(points) > 2 else None

    def chance(self, a: int, b: int, alphas: Sequence[float]) -> Chance | None:
        """How sure the gain of the best of these merges of two is, as `path` has them."""
        assert self.pictures is not None
        found = None
        for pair, points in (((a, b), alphas), ((b, a), [round(1 - alpha, 9) for alpha in alphas])):
            view = self._light_view(*pair)
            if view is not None:
                merges = [view.recipe(point) for point in points]
                found = self._intervals.of([view.alone(end) for end in ENDS], merges, self.pictures)
            if found is not None and (found.interval is not None or not found.units.enough):
                break
        return found

    def unmeasured(
        self, step: float, pairs: Sequence[tuple[int, int]] | None = None, *, fresh: bool = False
    ) -> list[tuple[int, int]]:
        """Those of `pairs` (default: all) that have a path of which points of this grid, or around its best merge, are
        not known.
        """
        return [
            pair
            for pair in (self.pairs if pairs is None else pairs)
            if self.path_obstacle(*pair) is None and (fresh or _lacks(step, self.path(*pair)))
        ]

    def measure(self, step: float | None, progress: Progress | None = None, *, fresh: bool = False) -> None:
        """Measure functions, and every pair's path with `step` (None: no paths), and wait. Raises `UsageError` where it
        failed.

        The best merge of a path gets neighbours within `FINE`: two more points for each halving of the step that this
        takes.
        """
        self.want(step, fresh=fresh)
        self.follow(progress, "a measurement that runs through")

    def want(self, step: float | None, pairs: Sequence[tuple[int, int]] | None = None, *, fresh: bool = False) -> None:
        """Begin measuring in the background; with `pairs` the paths of these alone.

        Raises: `UsageError` where there is an obstacle or the step is out of range.
        """
        if self.obstacle:
            raise UsageError(self.obstacle, "a known network and pictures", "Give both, or compare the weights alone")
        if step is not None:
            alpha_grid(step)
        self.start(lambda job: self._measure(step, pairs, fresh))

    def report(self, tau: float = TAU) -> dict[str, Any]:
        """Everything that is known, as the JSON of `diagnose`."""
        paths = {pair: self.path(*pair) for pair in self.pairs}
        report = full_report(
            self.checkpoints,
            self.weights(tau),
            self.functions(),
            paths,
            self.obstacles,
            {pair: self.path_obstacle(*pair) for pair in self.pairs},
            {pair: self.chance(*pair, merges_on(path["points"])) for pair, path in paths.items() if path},
        )
        return {**report, "warnings": self.warnings()}

    def _measure(self, step: float | None, pairs: Sequence[tuple[int, int]] | None, fresh: bool) -> None:
        assert self.pictures is not None and self._table is not None
        lack = self.lacking(fresh)
        passes = {} if step is None else self._passes(step, self.unmeasured(step, pairs, fresh=fresh), lack, fresh)
        done, total = (
            len(self.pictures) * len(lack.networks),
            len(self.pictures) * (len(lack.networks) + sum(passes.values())),
        )
        if lack.networks:
            self._decode(total)
            self._table.measure(lack, lambda done, _: self.progress(done, total), fresh=fresh)
            self.parts_known += 1
        for place, (pair, count) in enumerate(passes.items()):
            later = len(self.pictures) * sum(list(passes.values())[place + 1 :])
            done = self._measure_path(pair, step or 0.25, done, len(self.pictures) * count, later, fresh)
            self.parts_known += 1
            self.progress(done, done + later)

    def _measure_path(self, pair: Pair, step: float, done: int, planned: int, later: int, fresh: bool) -> int:
        """Measure a path and the surroundings of its best merge; forward passes done by then.

        So many are done before, planned for this path, and for later ones.
        """
        sweep, total = self._open_sweep(self._full_view(*pair)), done + planned + later
        for points, measure in _legs(sweep, step, fresh):
            each = self._passes_for(sweep.view, points, fresh)
            total = max(total, done + each + later)

            def along(part: int, whole: int, base: int = done, each: int = each, total: int = total) -> None:
                self.progress(base + round(each * part / whole), total)

            measure(along)
            done += each
        return done

    def _passes(
        self, step: float, pairs: Sequence[tuple[int, int]], lack: Unmeasured, fresh: bool
    ) -> dict[tuple[int, int], int]:
        """How many points of each pair's path have to run: those that nobody has measured and no pair before it, nor
        `lack` will.

        How many are left open around the best merge of an unknown path shows only then: two are counted for each
        halving of the step.
        """
        assert self._table is not None and self.pictures is not None
        memo = self.runner.builder.memo
        known = {memo(self._table.recipes[number]) for number in lack.networks}
        passes = {}
        for pair in pairs:
            view = self._light_view(*pair)
            recipes = list(self._recipes(view, alpha_grid(step)).values()) if view else []
            if not fresh:
                found = self.runner.recall(recipes, self.pictures)
                recipes = [one for one, there in zip(recipes, found, strict=True) if there is None]
            memos = set(map(memo, recipes))
            grid = len(memos - known)
            passes[pair] = grid + (closer_points(step) if grid else len(_open_around_best(self.path(*pair))))
            known |= memos
        return passes

    def _passes_for(self, view: MergeView, points: Sequence[float | str], fresh: bool) -> int:
        """Forward passes that these points take."""
        assert self.pictures is not None
        recipes = self._recipes(view, (point for point in points if isinstance(point, float)))
        wanted = [recipes[point] for point in points]
        found = [None] * len(points) if fresh else self.runner.recall(wanted, self.pictures)
        unknown = [one for one, there in zip(wanted, found, strict=True) if there is None]
        count = len(unknown) if fresh else len(set(map(self.runner.builder.memo, unknown)))
        return count * len(self.pictures)

    def _decode(self, total: int) -> None:
        """Read all pictures before the clock starts: decoding says nothing about how long the forward passes will
        take.
        """
        assert self.pictures is not None
        for index in range(len(self.pictures)):
            self.progress(0, total)
            self.pictures.load(index)
        self._begun = time.monotonic()

    def _head(self) -> tuple[str, ...]:
        """Name prefixes of the head in the first network that is known."""
        known = next((one for one in self.known if one is not None), None)
        return tuple(known[0].head) if known else ()

    def _architecture(self, index: int) -> tuple[Architecture, int]:
        known = self.known[index]
        assert known is not None
        return known

    def _selection(self, a: int, b: int) -> Selection:
        data = self.pictures.spec if self.pictures else ""
        return Selection(self.checkpoints[a].name, self.checkpoints[b].name, data, None, self.buffers)

    def _view(self, a: int, b: int, arena: Arena) -> MergeView:
        builder = self.runner.builder
        return MergeView(
            self._selection(a, b),
            [source_of(self.checkpoints[number]) for number in (a, b)],
            arena,
            self._architecture(a),
            self.pictures,
            builder.worker,
            builder.device,
            builder.precision,
        )

    def _full_view(self, a: int, b: int) -> MergeView:
        architecture = self._architecture(a)
        arena = Arena.pack(
            [self.checkpoints[a], self.checkpoints[b]], head=architecture[0].head, device=self.runner.builder.device
        )
        arena.require_finite()
        return self._view(a, b, arena)

    def _light_view(self, a: int, b: int) -> MergeView | None:
        """A view that can only name its results: statistics alone are packed, so that looking results up reads next to
        nothing.
        """
        if (a, b) not in self._lights:
            view = None
            if self.obstacles.path(min(a, b), max(a, b)) is None:
                try:
                    arena = Arena.pack([self.checkpoints[a], self.checkpoints[b]], only_statistics=True)
                    view = self._view(a, b, arena)
                except FusionError as error:
                    self._unfit[a, b] = f"There is no path between them: {error.got}"
            self._lights[a, b] = view
        return self._lights[a, b]

    def _path_points(self, a: int, b: int) -> dict[float | str, dict[str, Any]]:
        view = self._light_view(a, b)
        return {} if view is None else self._known_points(view)

    def _known_points(self, view: MergeView) -> dict[float | str, dict[str, Any]]:
        assert self.pictures is not None
        indexed = (self.store.get(sweep_key(view)) or {}).get("alphas", ())
        alphas = {float(alpha) for alpha in (*indexed, *(point for step in GRIDS for point in alpha_grid(step)))}
        recipes = self._recipes(view, alphas)
        found = self.runner.recall(list(recipes.values()), self.pictures)
        return {point: figures for point, figures in zip(recipes, found, strict=True) if figures is not None}

    def _recipes(self, view: MergeView, alphas: Iterable[float]) -> dict[float | str, Recipe]:
        """The networks at these points, and the two alone."""
        return {**{alpha: view.recipe(alpha) for alpha in alphas}, **{end: view.alone(end) for end in ENDS}}


def _legs(sweep: Sweep, step: float, fresh: bool) -> Iterator[tuple[Sequence[float | str], Callable[[Progress], Any]]]:
    """The points of a path and how to measure them: ends and grid, then what these leave open around the best merge."""
    yield (*ENDS, *alpha_grid(step)), lambda along: sweep.measure(step, along, fresh=fresh)
    while wanted := around_best(sweep.scores, FINE, SHARE):
        yield wanted, lambda along, wanted=wanted: sweep.measure_points(wanted, along)


def _open_around_best(path: Mapping[str, Any] | None) -> list[float]:
    return path_summary(path["points"])["unrefined"] if path else []


def _lacks(step: float, path: Mapping[str, Any] | None) -> bool:
    return (
        path is None
        or not set(alpha_grid(step)) <= {point["alpha"] for point in path["points"]}
        or bool(_open_around_best(path))
    )


def _turned(point: float | str) -> float | str:
    """The same point where A and B have swapped places."""
    return round(1 - point, 9) if isinstance(point, float) else ENDS[point == ENDS[0]]


__all__ = ["CKA_PICTURES", "Diagnosis"]
