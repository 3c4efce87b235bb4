"""The diagnosis of a set of checkpoints: weights at once, functions and paths in the background, one report of it
all.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.discrepancy import TAU
from fusionlib.diagnostics.survey import WeightSurvey, survey
from fusionlib.engine.jobs import Job
from fusionlib.engine.recipes import calibration_of, recipe_alone, source_of
from fusionlib.errors import FusionError, UsageError
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.runs.work import Work
from fusionlib.studies.diagnose import Diagnose, Pair, PairPath, Unmeasured
from fusionlib.studies.grid import alpha_grid, merges_of, merges_on
from fusionlib.studies.path import MergePath
from fusionlib.studio.diagnosis_obstacles import Obstacles
from fusionlib.studio.diagnosis_report import full_report
from fusionlib.studio.intervals import Chance, Intervals
from fusionlib.studio.known_curves import GRIDS
from fusionlib.studio.plans import lease, set_plan
from fusionlib.studio.selection import view_key
from fusionlib.studio.sweep import list_alphas, listed_alphas, sweep_key


class Diagnosis(Work):
    """K >= 2 checkpoints, their pictures if there are any, and what is known of them. Belongs to the content: reloads
    find it again.

    A path measured with A and B swapped is the same path: an average does not depend on the order of its checkpoints.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: DecodedCache | None,
        buffers: str,
        *,
        runner: Runner,
        intervals: Intervals | None = None,
    ) -> None:
        if len(checkpoints) < 2:
            raise UsageError(f"{len(checkpoints)} checkpoint", "two or more to diagnose", "Name another checkpoint")
        self.checkpoints, self.pictures, self.buffers = tuple(checkpoints), pictures, buffers
        self.store = Store(runner.answers.database)
        runner.builder.merger.sources.know(checkpoints, pictures)
        self.pairs = tuple(combinations(range(len(checkpoints)), 2))
        self.obstacles = Obstacles(checkpoints, pictures)
        data = pictures.fingerprint() if pictures else ""
        self._plan = Diagnose(
            tuple(map(recipe_alone, checkpoints)),
            data,
            bool(pictures and pictures.labelled),
            tuple(number for number, why in enumerate(self.obstacles.singles) if why is None),
            tuple(pair for pair, why in self.obstacles.pairs.items() if why is None),
        )
        super().__init__(
            "diagnosis " + ", ".join(item.name for item in checkpoints),
            self._plan,
            runner,
            {data: pictures} if pictures else {},
            lease(
                runner.desk,
                set_plan("diagnose", [item.path for item in checkpoints], pictures, "--buffers", buffers),
                *(item.fingerprint for item in checkpoints),
                data,
                buffers,
            ),
        )
        self._intervals = intervals or Intervals(runner)
        self._surveys: dict[float, WeightSurvey] = {}
        self._paths: dict[Pair, PairPath | None] = {}
        self._unfit: dict[Pair, str] = {}
        self._indices: dict[Pair, str] = {}
        self._unfinished: set[Hashable] = set()
        self.parts_known = 0
        """Grows whenever something new is known: the networks have run, or a pair's path is finished."""
        self._reading = threading.Lock()

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
        with self._reading:
            if tau not in self._surveys:
                self._surveys[tau] = survey(self.checkpoints, head=self._head(), tau=tau, progress=progress)
            return self._surveys[tau]

    def functions(self) -> dict[str, Any] | None:
        """The function-space figures that are known, here or in the tables, of whatever set they were measured with."""
        self._look()
        return self._plan.functions(dict(self.known))

    def lacking(self, fresh: bool = False) -> Unmeasured:
        """The networks that have to run until all that can be known is, and the pairs that lack figures."""
        self._look()
        return self._plan.lacking({} if fresh else dict(self.known))

    def path_obstacle(self, a: int, b: int) -> str | None:
        """Why there is no path to measure between two, in words; None where there is one."""
        if (why := self.obstacles.path(a, b)) is not None:
            return why
        self._path_of((a, b))
        return self._unfit.get((a, b))

    def path(self, a: int, b: int) -> dict[str, Any] | None:
        """What is known of the path between two: `points` from alpha 0 (B alone) to 1 (A alone); None without ends.

        These are the networks themselves, with their own statistics, whatever the policy.
        """
        self._look([(a, b)])
        return self._known_path((a, b))

    def chance(self, a: int, b: int, alphas: Sequence[float]) -> Chance | None:
        """How sure the gain of the best of these merges of two is, as `path` has them."""
        assert self.pictures is not None
        path = self._path_of((a, b))
        if path is None:
            return None
        ends = [self._plan.members[number] for number in (a, b)]
        return self._intervals.of(ends, list(map(path.recipe, alphas)), self.pictures)

    def unmeasured(self, step: float, pairs: Sequence[Pair] | None = None, *, fresh: bool = False) -> list[Pair]:
        """Those of `pairs` (default: all) that have a path of which points of this grid, or around its best merge, are
        not known.
        """
        self._look(self.pairs if pairs is None else pairs)
        plan, known = self._planned(step, pairs), {} if fresh else dict(self.known)
        return [path.pair for path in plan.paths if plan.lacks(path, known)]

    def measure(self, step: float | None, progress: Progress | None = None, *, fresh: bool = False) -> None:
        """Measure functions, and every pair's path with `step` (None: no paths), and wait. Raises `UsageError` where it
        failed.

        The best merge of a path gets neighbours within `FINE`: two more points for each halving of the step that this
        takes.
        """
        self._look(() if step is None else self.pairs)
        self.run(self._wanted(step, None), progress, fresh=fresh)

    def want(self, step: float | None, pairs: Sequence[Pair] | None = None, *, fresh: bool = False) -> None:
        """Begin measuring in the background; with `pairs` the paths of these alone. What is running goes on as it is.

        Raises: `UsageError` where there is an obstacle or the step is out of range.
        """
        wanted = self._wanted(step, pairs)
        if self.state != "running" or self.stopping:
            self.begin(wanted, fresh=fresh)

    def report(self, tau: float = TAU) -> dict[str, Any]:
        """Everything that is known, as the JSON of `diagnose`."""
        self._look(self.pairs)
        paths = {pair: self._known_path(pair) for pair in self.pairs}
        report = full_report(
            self.checkpoints,
            self.weights(tau),
            self._plan.functions(dict(self.known)),
            paths,
            self.obstacles,
            {pair: self.path_obstacle(*pair) for pair in self.pairs},
            {pair: self.chance(*pair, merges_on(path["points"])) for pair, path in paths.items() if path},
        )
        return {**report, "warnings": self.warnings()}

    def told(self) -> None:
        """Say which parts are finished, and list the points of paths for whoever looks for them next."""
        plan, known = self._under_way, dict(self.known)
        before, self._unfinished = self._unfinished, plan.unfinished(known)
        self.parts_known += len(before - self._unfinished)
        for path in (one for one in plan.paths if one.pair in before):
            found = merges_of(point["alpha"] for point in plan.points(path, known) or ())
            self._paths[path.pair] = (self._path_of(path.pair) or path).also(found)
            list_alphas(self.store, self._index(path.pair), found)

    def _work_off(self, job: Job) -> None:
        self._look([path.pair for path in self._under_way.paths])  # whoever held the run before has measured
        self._unfinished = self._under_way.unfinished(dict(self.known))
        super()._work_off(job)

    @property
    def _under_way(self) -> Diagnose:
        assert isinstance(self.study, Diagnose)
        return self.study

    def _wanted(self, step: float | None, pairs: Sequence[Pair] | None) -> Diagnose:
        """The plan with these paths. Raises as `want`."""
        if self.obstacle:
            raise UsageError(self.obstacle, "a known network and pictures", "Give both, or compare the weights alone")
        if step is None:
            return self._plan
        alpha_grid(step)
        return self._planned(step, pairs)

    def _planned(self, step: float, pairs: Sequence[Pair] | None) -> Diagnose:
        found = map(self._path_of, self.pairs if pairs is None else pairs)
        return replace(self._plan, step=step, paths=tuple(path for path in found if path is not None))

    def _look(self, pairs: Iterable[Pair] = ()) -> None:
        """Take what the tables know of networks, pairs and these paths: others may have measured it since."""
        if self.fresh and self.state == "running":
            return
        asked = list(self._plan.together)
        for pair in pairs:
            if (path := self._path_of(pair)) is not None:
                turned = listed_alphas(self.store, self._index((pair[1], pair[0])))
                listed = {*listed_alphas(self.store, self._index(pair)), *(round(1 - alpha, 9) for alpha in turned)}
                self._paths[pair] = path = path.also(listed)
                asked += path.looked_for
        self.known.update(self.recalled([one for one in asked if one not in self.known]))

    def _known_path(self, pair: Pair) -> dict[str, Any] | None:
        path = self._path_of(pair)
        points = path and self._plan.points(path, dict(self.known))
        return {"points": points, "buffers": self.buffers} if points else None

    def _path_of(self, pair: Pair) -> PairPath | None:
        if pair not in self._paths:
            self._paths[pair] = self._new_path(pair)
        return self._paths[pair]

    def _new_path(self, pair: Pair) -> PairPath | None:
        """The path between two; None where there is none. Statistics and integers alone are read for that."""
        if self.obstacles.path(*pair) is not None:
            return None
        files = [self.checkpoints[number] for number in pair]
        try:
            Arena.pack(files, only_statistics=True)
        except FusionError as error:
            self._unfit[pair] = f"There is no path between them: {error.got}"
            return None
        sources = tuple(map(source_of, files))
        merges = MergePath(sources, self.buffers, None, calibration_of(self.pictures, self.buffers))
        return PairPath(pair, merges, self._plan.data).also(alpha for step in GRIDS for alpha in alpha_grid(step))

    def _index(self, pair: Pair) -> str:
        """Where the points of a sweep from the second of two to the first are listed."""
        if pair not in self._indices:
            builder, first = self.runner.builder, self.obstacles.known[pair[0]]
            prints = [self.checkpoints[number].fingerprint for number in pair]
            view = view_key(prints, self.buffers, None, self.pictures, first, builder.precision, builder.device)
            self._indices[pair] = sweep_key(view)
        return self._indices[pair]

    def _head(self) -> tuple[str, ...]:
        """Name prefixes of the head in the first network that is known."""
        known = next((one for one in self.obstacles.known if one is not None), None)
        return tuple(known[0].head) if known else ()


__all__ = ["Diagnosis"]
