"""Searches for the best network of some checkpoints: chosen on some pictures, reported on others, with intervals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fusionlib.candidate import Candidate, Learned, Learning, equal, singles
from fusionlib.checkpoints.choices import SAME
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.contracts import STRATEGIES, Progress, Strategy
from fusionlib.data.cache import DecodedCache
from fusionlib.data.chosen import Chosen
from fusionlib.diagnostics.bootstrap import gain_interval, resampled_scores, unit_totals, units_of, units_summed
from fusionlib.diagnostics.survey import WeightSurvey, survey_arena
from fusionlib.engine.blend import CALIBRATION_PICTURES
from fusionlib.engine.identity import identities
from fusionlib.engine.recipes import source_of
from fusionlib.errors import UsageError
from fusionlib.merging.build import check_values
from fusionlib.merging.choices import check_policy
from fusionlib.merging.slices import units
from fusionlib.recipe import Calibration, Recipe
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.candidates import Networks, check_score
from fusionlib.studies.search import Pictures, Search
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.lessons import Lessons
from fusionlib.studio.plans import lease, set_plan
from fusionlib.studio.workspace import Workspace


@dataclass(frozen=True)
class Wanted:
    """What to search for and how: `strategy` by name with its `settings`, and what it chooses by.

    `buffers` None: the strategy's own. `count` is how many pictures `recalibrate` looks at; None: 16, and all of them
    for a network whose statistics are what the strategy is about.
    """

    strategy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    score: str = "miou"
    buffers: str | None = None
    count: int | None = None
    dtype: str | None = None

    def built(self) -> Strategy:
        """The strategy. Raises `UsageError` for whatever is unknown or out of range."""
        check_score(self.score)
        written_dtype(self.dtype)
        if self.buffers is not None:
            check_policy(self.buffers)
        if self.count is not None and self.count < 1:
            raise UsageError(f"{self.count} pictures to measure statistics on", "one or more", "Correct --count")
        kind = STRATEGIES.get(self.strategy)
        return kind(**check_values(f"Strategy {self.strategy!r}", kind, self.settings))

    def checked(self, count: int) -> Wanted:
        """Itself. Raises `UsageError` as `built`, and where the strategy does not take `count` checkpoints."""
        strategy = self.built()
        if not strategy.fewest <= count <= strategy.most:
            takes = (
                f"{strategy.fewest}" if strategy.fewest == strategy.most else f"{strategy.fewest} to {strategy.most}"
            )
            raise UsageError(
                f"{count} checkpoints for the strategy {self.strategy}",
                takes,
                "Name others, or choose another strategy",
            )
        return self

    @property
    def options(self) -> tuple[str, ...]:
        """The same on the command line of `search`."""
        given = ["--strategy", self.strategy, "--score", self.score]
        given += ["--set", *(f"{name}={json.dumps(value).strip(chr(34))}" for name, value in self.settings.items())]
        for option, value in (("--buffers", self.buffers), ("--count", self.count), ("--dtype", self.dtype)):
            given += [] if value is None else [option, str(value)]
        return tuple(given if self.settings else [part for part in given if part != "--set"])


class SearchWork(Work):
    """A search, worked off in the background; what was measured stays known, to whatever asks for the same networks.

    Raises `UsageError` for wrong choices, `DataError` without masks, `LayoutError` for checkpoints that are not alike.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        select: DecodedCache,
        report: DecodedCache,
        wanted: Wanted,
        *,
        runner: Runner,
    ) -> None:
        self.wanted = wanted.checked(len(checkpoints))
        for pictures in (select, report):
            runner.need_masks(pictures)
        self.checkpoints, self.select, self.report = tuple(checkpoints), select, report
        self.names = [one.name for one in checkpoints]
        self._survey: WeightSurvey | None = None
        self._totals: dict[tuple[Candidate, str], np.ndarray | None] = {}
        merger = runner.builder.merger
        merger.sources.know(checkpoints, select)
        merger.sources.know(pictures=report)
        self._lessons = Lessons(runner, [source_of(one) for one in checkpoints], select)
        strategy = wanted.built()
        parts = {
            places: DecodedCache(Chosen(select, places), 0, tiles=select.tiles)
            for places in strategy.parts(len(select))
        }
        study = _study(checkpoints, select, report, parts, strategy, self.wanted, runner)
        datasets = {one.fingerprint(): one for one in (*parts.values(), report, select)}
        super().__init__(f"search {', '.join(self.names)}", study, runner, datasets, self._lease(runner))
        self.study = replace(study, draws=self._draws)
        self.recall()
        if self.settled:
            self.state = "done"

    def want(self, *, fresh: bool = False) -> None:
        """Begin, or go on, in the background. `fresh` measures known networks again."""
        self.begin(fresh=fresh)

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> dict[str, Any]:
        """The same, and wait: `snapshot`. Raises `UsageError` where the search failed."""
        self.run(progress=progress, fresh=fresh)
        return self.snapshot()

    def begin(self, study: Any = None, *, fresh: bool = False) -> None:
        """As of any work; with `fresh` what was learned does not count either."""
        if fresh and self.state != "running":
            self.study = replace(self._study, learned=())
        super().begin(study, fresh=fresh)

    def recall(self) -> None:
        """Take what the tables know, and what was learned before."""
        super().recall()
        while (wish := self._study.wanted(dict(self.known))) is not None and (found := self._lessons.known(wish)):
            self._take(wish, found)
            super().recall()

    def further(self, done: int) -> int | None:
        """Learn what the strategy waits for."""
        wish = self._study.wanted(dict(self.known))
        if wish is None:
            return None
        self.current = "learning weights"
        found = self._lessons.learn(
            wish, lambda part, whole: self.progress(done + part, done + whole), fresh=self.fresh
        )
        self._take(wish, found)
        return done + found.passes

    def _take(self, wish: Learning, found: Learned) -> None:
        self.study = replace(self._study, learned=(*self._study.learned, (wish, found)))

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to ask, and nothing to learn."""
        return super().settled and self._study.wanted(dict(self.known)) is None

    @property
    def optimistic(self) -> bool:
        """Whether a picture is both chosen by and reported on: the figures of the report then flatter the choice."""
        return bool(_keys(self.select) & _keys(self.report))

    @property
    def best(self) -> Recipe | None:
        """The recipe of what was found, None until then: carried out, it is the network that was measured."""
        found = self._study.best(dict(self.known))
        return None if found is None else self._study.networks.recipe(found)

    def snapshot(self) -> dict[str, Any]:
        """State, progress and result as JSON values, as the verb `search` prints it.

        `best` has an `interval` of the gain over the best checkpoint alone on the pictures of the report, and so have
        its figures on both; `inside_noise` where the interval of the report holds 0, None where there is none.
        """
        known = dict(self.known)
        table, passes = self._study.table(known), self._study.passes(known)
        best, found = table.pop("best"), self._study.best(known)
        for ray in table.get("rays", ()):
            ray["cosine"] = self._cosine(ray["start"], ray["other"])
        if best is not None and found is not None:
            for name in ("select", "report"):
                if best[name] is not None:  # found, and not measured there yet
                    best[name]["interval"] = self._interval(found, name, known)
            best["interval"] = best["report"] and best["report"]["interval"]
        interval = best and best["interval"]
        return {
            **self.status(),
            "strategy": self.wanted.strategy,
            "score": self.wanted.score,
            "checkpoints": self.names,
            "buffers": self._study.networks.buffers,
            "select": {"data": self.select.spec, "images": len(self.select)},
            "report": {"data": self.report.spec, "images": len(self.report)},
            "optimistic": self.optimistic,
            "best": best,
            "inside_noise": None if interval is None else interval[0] <= 0 <= interval[1],
            **table,
            "forward_passes_search": passes["search"],
            "forward_passes_beside": passes["beside"],
            "forward_passes_full_grid": passes["full_grid"],
        }

    @property
    def _study(self) -> Search:
        assert isinstance(self.study, Search)
        return self.study

    def _interval(self, found: Candidate, where: str, known: Mapping) -> list[float] | None:
        """Around the gain of the best merge over the best checkpoint alone, both chosen again in each resample among
        all that were asked about on all pictures; on pictures of the report alone the merge is the one that was found.
        """
        pictures = getattr(self, where)
        merges = [found] if not found.alone else []
        if pictures.fingerprint() == self.select.fingerprint():
            merges = [
                one
                for one in self._study.whole(known)
                if not one.alone and (found.alone or one.together == found.together)
            ] or merges
        ends, totals = (
            [self._totals_of(one, pictures.fingerprint()) for one in networks]
            for networks in (singles(len(self.checkpoints)), merges)
        )
        if not totals or any(one is None for one in (*ends, *totals)):
            return None
        interval = gain_interval(ends, totals)  # type: ignore[arg-type]
        return None if interval is None else list(interval)

    def _cosine(self, one: int, other: int) -> float | None:
        """Of the parameters of two checkpoints."""
        if self._survey is None:
            merger, mean = self.runner.builder.merger, self._study.networks.recipe(_mean(len(self.checkpoints)))
            self._survey = survey_arena(merger.arena(mean, 0))
        return self._survey.pair(one, other).cosine

    def _draws(self, candidates: Sequence[Candidate], data: str) -> np.ndarray | None:
        """As `Objective.draws`."""
        totals = [self._totals_of(one, data) for one in candidates]
        return None if any(one is None for one in totals) else resampled_scores(totals)  # type: ignore[arg-type]

    def _totals_of(self, candidate: Candidate, data: str) -> np.ndarray | None:
        """What mIoU needs of a network, unit by unit; None where states are not stored."""
        if self._totals.get((candidate, data)) is None:
            self._totals[candidate, data] = self._read_totals(candidate, self.datasets[data])
        return self._totals[candidate, data]

    def _read_totals(self, candidate: Candidate, pictures: DecodedCache) -> np.ndarray | None:
        networks, resampled = self._study.networks, units_of([pictures.group(index) for index in range(len(pictures))])
        states = self.runner.pictures(networks.questions(candidate, pictures.fingerprint())[0], pictures)
        if states is None:
            return None
        if not networks.counted_together(candidate):
            return unit_totals([state["matrix"].numpy() for state in states], resampled)
        place = networks.place(candidate)
        parts = [
            np.stack([state["right"][place].numpy(), state["truth"].numpy(), state["predicted"][place].numpy()])
            for state in states
        ]
        return units_summed(parts, resampled)

    def _lease(self, runner: Runner) -> Any:
        more = ["--select", self.select.spec, "--report", self.report.spec, *self.wanted.options]
        plan = set_plan("search", [one.path for one in self.checkpoints], None, *more)
        prints = [one.fingerprint for one in self.checkpoints]
        data = [self.select.fingerprint(), self.report.fingerprint()]
        return lease(runner.desk, plan, *prints, *data, *self.wanted.options)


class SearchDesk:
    """The searches of a process: one per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, runner: Runner) -> None:
        self._workspace, self._runner = workspace, runner
        self._works: WorkDesk[SearchWork] = WorkDesk()

    def open(
        self, names: Sequence[str], select: tuple[str, str | None], report: tuple[str, str | None], wanted: Wanted
    ):
        """The search among checkpoints of the workspace; data as its short name and split. Nothing is measured yet."""
        self._workspace.refresh_models()
        items = [self._workspace.get(name) for name in names]
        opened = [item.checkpoint for item in items if item.checkpoint is not None]
        pictures = self._workspace.pictures(*select), self._workspace.pictures(*report)
        networks = identities((item.architecture for item in items), pictures[0].label_space)
        parts = [*names, *(one.fingerprint for one in opened), *(one.fingerprint() for one in pictures)]
        key = hashlib.sha256("\n".join([*parts, *wanted.options, *networks]).encode()).hexdigest()
        found = self._works.open(key, lambda: self.of(opened, *pictures, wanted))
        if found.state != "running":
            found.recall()
        return found

    def of(
        self, checkpoints: Sequence[Checkpoint], select: DecodedCache, report: DecodedCache, wanted: Wanted
    ) -> SearchWork:
        """The search among opened checkpoints."""
        return SearchWork(checkpoints, select, report, wanted, runner=self._runner)


def _study(
    checkpoints: Sequence[Checkpoint],
    select: DecodedCache,
    report: DecodedCache,
    parts: Mapping[tuple[int, ...], DecodedCache],
    strategy: Strategy,
    wanted: Wanted,
    runner: Runner,
) -> Search:
    """The study of a wish; checkpoints that do not fit one another are said here."""
    merger, sources = runner.builder.merger, tuple(map(source_of, checkpoints))
    mean = Networks(sources).recipe(_mean(len(sources)))
    merger.network(mean)
    layout = merger.arena(mean, 0).layout
    buffers = wanted.buffers or strategy.buffers
    networks = Networks(sources, buffers, None if wanted.dtype == SAME else wanted.dtype, there=len(select))
    if layout.statistics or wanted.buffers == "recalibrate":  # of a network without statistics, asked for: said later
        about = {"data": select.spec, "fingerprint": select.fingerprint()}
        networks = replace(
            networks,
            calibration=Calibration(**about, count=wanted.count or CALIBRATION_PICTURES),
            anew=Calibration(**about, count=wanted.count or len(select)),
        )
    elif buffers == "recalibrate":
        networks = replace(networks, buffers="average")
    granularity = strategy.granularity()
    return Search(
        strategy,
        networks,
        _pictures(select),
        _pictures(report),
        tuple(Pictures(one.fingerprint(), places, select.fingerprint()) for places, one in parts.items()),
        wanted.score,
        tuple(units(layout, granularity)) if granularity else (),
    )


def _mean(count: int) -> Candidate:
    return equal(range(count), count)


def _pictures(data: DecodedCache) -> Pictures:
    return Pictures(data.fingerprint(), tuple(range(len(data))))


def _keys(data: DecodedCache) -> set[str]:
    return {data.picture_key(index) for index in range(len(data))}
