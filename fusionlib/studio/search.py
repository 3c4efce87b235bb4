"""Searches for the best network of some checkpoints: chosen on some pictures, reported on others, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fusionlib.candidate import Candidate, Learned, Learning, equal, singles
from fusionlib.checkpoints.choices import SAME
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress, Strategy
from fusionlib.data.cache import DecodedCache
from fusionlib.data.chosen import Chosen
from fusionlib.diagnostics.bootstrap import (
    gain_interval,
    middle,
)
from fusionlib.diagnostics.survey import WeightSurvey, survey_arena
from fusionlib.engine.blend import CALIBRATION_PICTURES
from fusionlib.engine.jobs import Job
from fusionlib.engine.recipes import source_of
from fusionlib.errors import UsageError
from fusionlib.merging.slices import units
from fusionlib.recipe import Calibration, Recipe
from fusionlib.runs.finds import Finds
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.candidates import Networks
from fusionlib.studies.search import Domains, Pictures, Search
from fusionlib.studio.finds import find_of
from fusionlib.studio.lessons import Lessons
from fusionlib.studio.plans import lease, set_plan
from fusionlib.studio.search_totals import Totals
from fusionlib.studio.wanted import Wanted


class SearchWork(Work):
    """A search, worked off in the background; what was measured stays known, to whatever asks for the same networks.

    Raises `UsageError` for wrong choices, `DataError` without masks, `LayoutError` for checkpoints that are not alike.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        select: Sequence[DecodedCache],
        report: Sequence[DecodedCache],
        wanted: Wanted,
        calibration: DecodedCache | None = None,
        *,
        runner: Runner,
    ) -> None:
        self.wanted = wanted.checked(len(checkpoints))
        wanted.checked_data(select, report)
        for pictures in (*select, *report):
            runner.need_masks(pictures)
        _refuse_twice(select)
        _refuse_twice(report)
        self.checkpoints, self.select, self.report = tuple(checkpoints), tuple(select), tuple(report)
        if calibration is not None:
            wanted.checked_calibration()
        self.looked_at = calibration or self.select[0]
        self.names = [one.name for one in checkpoints]
        self._survey: WeightSurvey | None = None
        sources = runner.builder.merger.sources
        sources.know(checkpoints)
        for one in (*report, *select, self.looked_at):
            sources.know(pictures=one)
        self._lessons = Lessons(runner, [source_of(one) for one in checkpoints], self.select[0])
        strategy = wanted.built()
        parts = [_parts(one, strategy) for one in self.select]
        study = _study(self, parts, strategy, runner)
        chosen = [one for apart in parts for _, one in apart]
        datasets = {one.fingerprint(): one for one in (*chosen, *report, *select)}
        super().__init__(f"search {', '.join(self.names)}", study, runner, datasets, self._lease(runner))
        self._totals = Totals(study.networks, self.datasets, runner)
        self.study = replace(study, draws=self._totals.draws)
        self._finds = Finds(runner.answers.database)
        self.recall()
        if self.settled:
            self.state = "done"
            self._keep_find(again=False)

    def want(self, *, fresh: bool = False) -> None:
        """Begin, or go on, in the background. `fresh` measures known networks again."""
        self.begin(fresh=fresh)

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> dict[str, Any]:
        """The same, and wait: `snapshot`. Raises `UsageError` where the search failed."""
        self.run(progress=progress, fresh=fresh)
        return self.snapshot()

    def _work_off(self, job: Job) -> None:
        super()._work_off(job)
        if self.settled:
            self._keep_find()

    def _keep_find(self, *, again: bool = True) -> None:
        """Leave what was found to the comparisons of these checkpoints; `again`: in place of what was found before."""
        key = key_of("find", *self._subject)
        if again or not self._finds.there(key):
            found = find_of(self._study, self.wanted, self.select, dict(self.known))
            if found is not None:
                self._finds.put(key, [one.fingerprint for one in self.checkpoints], found)

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

    def expected(self, images: int) -> int:
        """What the strategy expects to ask, and what is reported then."""
        return self._study.ahead(dict(self.known))

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to ask, and nothing to learn."""
        return super().settled and self._study.wanted(dict(self.known)) is None

    @property
    def optimistic(self) -> bool:
        """Whether a picture is both chosen by and reported on: the figures of the report then flatter the choice."""
        return bool(_keys(self.select) & _keys(self.report))

    @property
    def images(self) -> int:
        """How many pictures there are to choose by."""
        return sum(map(len, self.select))

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
        if "rival" in table and table["rival"]["report"] is not None and found is not None:
            keys = tuple(one.fingerprint() for one in self.report)
            draws = self._totals.draws([rival, found], keys) if (rival := self._study.rival(known)) else None
            table["rival"]["interval"] = None if draws is None else list(middle(draws[:, 1] - draws[:, 0]))
        interval = best and best["interval"]
        return {
            **self.status(),
            "strategy": self.wanted.strategy,
            "score": self.wanted.score,
            "checkpoints": self.names,
            "buffers": self._study.networks.buffers,
            "select": _listed(self.select),
            "report": _listed(self.report),
            "statistics": self._statistics,
            "optimistic": self.optimistic,
            "best": best,
            "inside_noise": None if interval is None else interval[0] <= 0 <= interval[1],
            **table,
            "forward_passes_search": passes["search"],
            "forward_passes_beside": passes["beside"],
            "forward_passes_full_grid": passes["full_grid"],
        }

    @property
    def _statistics(self) -> dict[str, Any] | None:
        """On which pictures statistics are measured anew, and at most on how many; None where they are not."""
        networks = self._study.networks
        best = self._study.best(dict(self.known))
        whole = networks.anew if best is not None and best.anew else None
        used = whole or (networks.calibration if networks.buffers == "recalibrate" else None)
        return None if used is None else {"data": used.data, "images": min(used.count, networks.there)}

    @property
    def _study(self) -> Search:
        assert isinstance(self.study, Search)
        return self.study

    def _interval(self, found: Candidate, where: str, known: Mapping) -> list[float] | None:
        """Around the gain of the best merge over the best checkpoint alone, both chosen again in each resample among
        all that were asked about on all pictures; on pictures of the report alone the merge is the one that was found.
        """
        keys = tuple(one.fingerprint() for one in getattr(self, where))
        merges = [found] if not found.alone else []
        if keys == tuple(one.fingerprint() for one in self.select):
            merges = [
                one
                for one in self._study.whole(known)
                if not one.alone and (found.alone or one.together == found.together)
            ] or merges
        if not merges:
            return None
        ends = singles(len(self.checkpoints))
        if len(keys) == 1:
            totals = [[self._totals.of(one, keys[0]) for one in networks] for networks in (ends, merges)]
            if any(one is None for networks in totals for one in networks):
                return None
            interval = gain_interval(totals[0], totals[1])  # type: ignore[arg-type]
            return None if interval is None else list(interval)
        draws = self._totals.draws([*ends, *merges], keys)
        return None if draws is None else list(middle(draws[:, len(ends) :].max(1) - draws[:, : len(ends)].max(1)))

    def _cosine(self, one: int, other: int) -> float | None:
        """Of the parameters of two checkpoints."""
        if self._survey is None:
            merger, mean = self.runner.builder.merger, self._study.networks.recipe(_mean(len(self.checkpoints)))
            self._survey = survey_arena(merger.arena(mean, 0))
        return self._survey.pair(one, other).cosine

    def _lease(self, runner: Runner) -> Any:
        named = (("--select", self.select), ("--report", self.report))
        more = [part for option, data in named for one in data for part in (option, one.spec)]
        if self.looked_at is not self.select[0]:
            more += ["--calibrate", self.looked_at.spec]
        more += self.wanted.options
        plan = set_plan("search", [one.path for one in self.checkpoints], None, *more)
        return lease(runner.desk, plan, *self._subject)

    @property
    def _subject(self) -> tuple[str, ...]:
        """What tells this search from others."""
        prints = [one.fingerprint for one in self.checkpoints]
        named = (("--select", self.select), ("--report", self.report))
        keys = [f"{option} {one.fingerprint()}" for option, data in named for one in data]
        return (*prints, *keys, f"looks at {self.looked_at.fingerprint()}", *self.wanted.options)


_Parts = tuple[tuple[tuple[int, ...], DecodedCache], ...]
"""Numbers of pictures of a dataset, and these as a dataset."""


def _parts(data: DecodedCache, strategy: Strategy) -> _Parts:
    """What a strategy asks about apart, of one dataset."""
    wanted = strategy.parts(len(data))
    return tuple((places, DecodedCache(Chosen(data, places), 0, tiles=data.tiles)) for places in wanted)


def _study(work: SearchWork, parts: Sequence[_Parts], strategy: Strategy, runner: Runner) -> Search:
    """The study of a wish; checkpoints that do not fit one another are said here."""
    wanted, looked_at = work.wanted, work.looked_at
    merger, sources = runner.builder.merger, tuple(map(source_of, work.checkpoints))
    mean = Networks(sources).recipe(_mean(len(sources)))
    merger.network(mean)
    layout = merger.arena(mean, 0).layout
    if looked_at is not work.select[0] and not layout.statistics:
        raise UsageError(
            f"Pictures for statistics, {looked_at.spec}",
            "a network with running statistics",
            "Leave --calibrate out",
        )
    buffers = wanted.buffers or strategy.buffers
    dtype, calibrated = None if wanted.dtype == SAME else wanted.dtype, wanted.score == "ece"
    networks = Networks(sources, buffers, dtype, there=len(looked_at), calibrated=calibrated)
    if layout.statistics or wanted.buffers == "recalibrate":  # of a network without statistics, asked for: said later
        about = {"data": looked_at.spec, "fingerprint": looked_at.fingerprint()}
        networks = replace(
            networks,
            calibration=Calibration(**about, count=wanted.count or CALIBRATION_PICTURES),
            anew=Calibration(**about, count=wanted.count or len(looked_at)),
        )
    elif buffers == "recalibrate":
        networks = replace(networks, buffers="average")
    granularity = strategy.granularity()
    return Search(
        strategy,
        networks,
        _pictures(work.select),
        _pictures(work.report),
        _apart(work.select, parts),
        wanted.score,
        tuple(units(layout, granularity)) if granularity else (),
    )


def _apart(select: Sequence[DecodedCache], parts: Sequence[_Parts]) -> tuple[Domains, ...]:
    """Part by part, of every dataset; one of few pictures is looked at whole where others have parts."""
    wholes = _pictures(select)
    return tuple(
        tuple(
            Pictures(apart[number][1].fingerprint(), apart[number][0], whole.key) if apart else whole
            for apart, whole in zip(parts, wholes, strict=True)
        )
        for number in range(max(map(len, parts)))
    )


def _mean(count: int) -> Candidate:
    return equal(range(count), count)


def _pictures(data: Sequence[DecodedCache]) -> Domains:
    return tuple(Pictures(one.fingerprint(), tuple(range(len(one)))) for one in data)


def _listed(data: Sequence[DecodedCache]) -> dict[str, Any]:
    """As JSON values: one dataset, or several with each of them."""
    about = {"data": ", ".join(one.spec for one in data), "images": sum(map(len, data))}
    return about | ({"domains": [one.spec for one in data]} if len(data) > 1 else {})


def _refuse_twice(data: Sequence[DecodedCache]) -> None:
    keys = [one.fingerprint() for one in data]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise UsageError(f"{data[number].spec} twice", "each domain once", "Name other data")


def _keys(data: Sequence[DecodedCache]) -> set[str]:
    return {one.picture_key(index) for one in data for index in range(len(one))}
