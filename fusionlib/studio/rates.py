"""Runs of several learning rates from one start, worked off in the background: what to merge the start with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fusionlib.architectures.nearest import unknown_network
from fusionlib.candidate import equal
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.survey import survey
from fusionlib.engine.identity import identities
from fusionlib.engine.jobs import Job
from fusionlib.engine.recipes import calibration_of, source_of
from fusionlib.errors import UsageError
from fusionlib.merging.choices import check_policy
from fusionlib.runs.desk import Plan
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.runs.work import Work
from fusionlib.studies.candidates import Networks
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.points import STEP
from fusionlib.studies.rates import Rates, Run
from fusionlib.studies.search import Pictures
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.domains_plan import unique
from fusionlib.studio.plans import lease, set_plan
from fusionlib.studio.workspace import Workspace

MOST_EPOCHS = 63
"""Of one run: with its start as many as a recipe names."""


@dataclass(frozen=True)
class RunFiles:
    """The epochs of a run in their order; what it is called mostly is its first learning rate."""

    name: str
    epochs: tuple[Checkpoint, ...]

    @property
    def rate(self) -> float | None:
        """The name as a number, where it is one."""
        try:
            return float(self.name)
        except ValueError:
            return None


class RatesWork(Work):
    """The start merged with every epoch of several runs, on one labelled dataset.

    Raises `UsageError` for wrong choices, `DataError` without masks, `LayoutError` for checkpoints that are not alike,
    `ArchitectureError` for an unknown network.
    """

    def __init__(
        self,
        start: Checkpoint,
        runs: Sequence[RunFiles],
        pictures: DecodedCache,
        buffers: str = "average",
        step: float = STEP,
        *,
        runner: Runner,
    ) -> None:
        self.origin, self.series, self.pictures, self.buffers = start, tuple(runs), pictures, check_policy(buffers)
        alpha_grid(step)
        _check(self.series)
        runner.need_masks(pictures)
        files = list(dict.fromkeys([start, *(one for run in runs for one in run.epochs)]))
        runner.builder.merger.sources.know(files, pictures)
        if unknown := [one for one in files if runner.builder.merger.recognised(one) is None]:
            raise unknown_network(unknown)
        Arena.pack(files, only_statistics=True)
        self._store = Store(runner.answers.database)
        self._cosines: dict[tuple[str, str], float | None] = {}
        data = pictures.fingerprint()
        study = _study(self, step)
        super().__init__(f"rates {start.name}", study, runner, {data: pictures}, self._lease(runner, step))
        self.recall()
        if self.settled:
            self.state = "done"

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> dict[str, Any]:
        """Measure what is not known, and wait: `snapshot`."""
        self.run(progress=progress, fresh=fresh)
        return self.snapshot()

    def cost(self) -> int:
        """Forward passes until all is known, merges that no step names yet among them."""
        return super().cost() + self._study.later(dict(self.known)) * len(self.pictures)

    def recall(self) -> None:
        """Take what is known by now, the cosines of weights as well."""
        super().recall()
        for run in self.series:
            for one in run.epochs:
                pair = self.origin.fingerprint, one.fingerprint
                if pair not in self._cosines and (found := self._store.get(_key(*pair))) is not None:
                    self._cosines[pair] = found["cosine"]

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to ask, and all weights are compared."""
        pairs = ((self.origin.fingerprint, one.fingerprint) for run in self.series for one in run.epochs)
        return super().settled and all(pair in self._cosines for pair in pairs)

    def snapshot(self) -> dict[str, Any]:
        """State, progress, the `cost` of what is left, and the table of what is known, as JSON values: each epoch with
        the `cosine` of its parameters to the start's, each run with its `rate` where its name is a number.
        """
        table = self.table()
        for run, files in zip(table["runs"], self.series, strict=True):
            run["rate"] = files.rate
            for epoch, one in zip(run["epochs"], files.epochs, strict=True):
                epoch["cosine"] = self._cosines.get((self.origin.fingerprint, one.fingerprint))
        return {
            **self.status(),
            "current": self.current if self.state == "running" else None,
            "data": self.pictures.spec,
            "images": len(self.pictures),
            "buffers": self.buffers,
            "cost": self.cost(),
            **table,
        }

    @property
    def _study(self) -> Rates:
        assert isinstance(self.study, Rates)
        return self.study

    def _work_off(self, job: Job) -> None:
        self.stage = "comparing weights"
        for run in self.series:
            self._compare(run)
            self.progress(0, self.total)
        super()._work_off(job)

    def _compare(self, run: RunFiles) -> None:
        """Cosines of the parameters of the start and each epoch, from one pass over the files."""
        pairs = [(self.origin.fingerprint, one.fingerprint) for one in run.epochs]
        if all(pair in self._cosines for pair in pairs):
            return
        found = survey([self.origin, *run.epochs])
        for place, pair in enumerate(pairs, 1):
            self._cosines[pair] = found.pair(0, place).cosine
            self._store.put(_key(*pair), {"cosine": self._cosines[pair]})

    def _lease(self, runner: Runner, step: float) -> Any:
        more = ["--buffers", self.buffers, "--step", f"{step:g}"]
        more += [part for run in self.series for part in ("--run", run.name, *(str(one.path) for one in run.epochs))]
        plan: Plan = set_plan("rates", [self.origin.path], self.pictures, *more)
        prints = [part for run in self.series for part in (run.name, *(one.fingerprint for one in run.epochs))]
        return lease(runner.desk, plan, self.origin.fingerprint, *prints, self.pictures.fingerprint(), self.buffers)


class RatesDesk:
    """The learning-rate studies of a process: one work per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, runner: Runner) -> None:
        self._workspace, self._runner = workspace, runner
        self._works: WorkDesk[RatesWork] = WorkDesk()

    def open(
        self,
        start: str,
        runs: Sequence[tuple[str, Sequence[str]]],
        source: str,
        split: str | None,
        buffers: str = "average",
        step: float = STEP,
    ) -> RatesWork:
        """Checkpoints of the workspace, each run by its name and those of its epochs in order."""
        self._workspace.refresh_models()
        items = {name: self._workspace.get(name) for name in (start, *(one for _, epochs in runs for one in epochs))}
        opened: dict[str, Checkpoint] = {name: item.checkpoint for name, item in items.items()}  # type: ignore[misc]
        pictures = self._workspace.pictures(source, split)
        networks = identities((item.architecture for item in items.values()), pictures.label_space)
        files = [RunFiles(name, tuple(opened[one] for one in epochs)) for name, epochs in runs]
        prints = [part for run in files for part in (run.name, *(one.fingerprint for one in run.epochs))]
        parts = [*items, opened[start].fingerprint, *prints, pictures.fingerprint(), buffers, str(step), *networks]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        found = self._works.open(key, lambda: self.of(opened[start], files, pictures, buffers, step))
        if found.state != "running":
            found.recall()
        return found

    def of(
        self,
        start: Checkpoint,
        runs: Sequence[RunFiles],
        pictures: DecodedCache,
        buffers: str = "average",
        step: float = STEP,
    ) -> RatesWork:
        """Opened checkpoints; nothing is measured yet."""
        self._workspace.refresh_models()
        return RatesWork(start, runs, pictures, buffers, step, runner=self._runner)


def _check(runs: Sequence[RunFiles]) -> None:
    if not runs:
        raise UsageError("No run", "one or more, each with its epochs", "Name a run")
    for run in runs:
        if not 1 <= len(run.epochs) <= MOST_EPOCHS:
            raise UsageError(f"{len(run.epochs)} epochs of run {run.name}", f"1 to {MOST_EPOCHS}", "Name others")
    names = [run.name for run in runs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"Two runs called {twice}", "a name of its own for each", "Name one of them otherwise")


def _study(work: RatesWork, step: float) -> Rates:
    pictures, start = work.pictures, source_of(work.origin)
    key = pictures.fingerprint()
    calibration = calibration_of(pictures, work.buffers)
    settings = {"buffers": work.buffers, "calibration": calibration, "there": len(pictures)}
    runs = []
    for run in work.series:
        names, sources = unique([one.name for one in run.epochs]), tuple(map(source_of, run.epochs))
        whole = Networks((start, *sources), **settings)
        mean = whole.recipe(equal(range(len(sources) + 1), len(sources) + 1))
        runs.append(Run(run.name, tuple(zip(names, sources, strict=True)), mean))
    domains = (Pictures(key, tuple(range(len(pictures)))),)
    return Rates((work.origin.name, start), tuple(runs), domains, settings, step)


def _key(start: str, other: str) -> str:
    return key_of("cosine of parameters", start, other)
