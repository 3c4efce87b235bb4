"""Snapshots of a training run on the lines to the last one, worked off in the background."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fusionlib.architectures.nearest import unknown_network
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.identity import identities
from fusionlib.engine.recipes import calibration_of, recipe_alone
from fusionlib.errors import UsageError
from fusionlib.merging.choices import check_policy
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.snapshots import STEP, Snapshots, lines_of
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.domains_plan import unique
from fusionlib.studio.plans import lease, set_plan
from fusionlib.studio.workspace import Workspace

MOST_DATA = 2
"""Datasets of one chart: train and test."""


class SnapshotWork(Work):
    """Snapshots in the order of their run, the last one last, on one labelled dataset or two.

    Raises `UsageError` for fewer than two and wrong choices, `DataError` without masks, `LayoutError` for checkpoints
    that are not alike, `ArchitectureError` for an unknown network.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: Sequence[DecodedCache],
        buffers: str = "average",
        step: float = STEP,
        *,
        runner: Runner,
    ) -> None:
        self.checkpoints, self.pictures, self.buffers = tuple(checkpoints), tuple(pictures), check_policy(buffers)
        alpha_grid(step)
        if len(checkpoints) < 2:
            raise UsageError(f"{len(checkpoints)} snapshot", "two or more, the last one last", "Name another one")
        if not 1 <= len(pictures) <= MOST_DATA:
            raise UsageError(f"{len(pictures)} datasets", "one or two", "Name others")
        for one in pictures:
            runner.need_masks(one)
            runner.builder.merger.sources.know(checkpoints, one)
        if unknown := [one for one in checkpoints if runner.builder.merger.recognised(one) is None]:
            raise unknown_network(unknown)
        Arena.pack(checkpoints, only_statistics=True)
        self.names = unique([one.name for one in checkpoints])
        members = tuple(map(recipe_alone, checkpoints))
        datasets = {one.fingerprint(): one for one in pictures}
        lines = lines_of(members, buffers=buffers, calibration=calibration_of(pictures[0], buffers))
        study = Snapshots(tuple(self.names), members, lines, tuple(datasets), step)
        super().__init__(f"snapshots {', '.join(self.names)}", study, runner, datasets, self._lease(runner, step))
        self.recall()
        if self.settled:
            self.state = "done"

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> dict[str, Any]:
        """Measure what is not known, and wait: `snapshot`."""
        self.run(progress=progress, fresh=fresh)
        return self.snapshot()

    def snapshot(self) -> dict[str, Any]:
        """State, progress, the `cost` of what is left, and the table of what is known, as JSON values."""
        return {
            **self.status(),
            "current": self.current if self.state == "running" else None,
            "names": self.names,
            "last": self.names[-1],
            "buffers": self.buffers,
            "data": [{"data": one.spec, "images": len(one)} for one in self.datasets.values()],
            "cost": self.cost(),
            **self.table(),
        }

    def _lease(self, runner: Runner, step: float) -> Any:
        more = [part for one in self.pictures for part in ("--data", one.spec)]
        limits = {getattr(one.dataset, "limit", None) for one in self.pictures}
        limit = limits.pop() if len(limits) == 1 else None
        more += ["--limit", str(limit)] if limit else []
        more += ["--buffers", self.buffers, "--step", f"{step:g}"]
        prints = [one.fingerprint for one in self.checkpoints]
        plan = set_plan("snapshots", [one.path for one in self.checkpoints], None, *more)
        return lease(runner.desk, plan, *prints, *(one.fingerprint() for one in self.pictures), self.buffers)


class SnapshotDesk:
    """The snapshots of a process: one work per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, runner: Runner) -> None:
        self._workspace, self._runner = workspace, runner
        self._works: WorkDesk[SnapshotWork] = WorkDesk()

    def open(
        self,
        names: Sequence[str],
        data: Sequence[tuple[str, str | None]],
        buffers: str = "average",
        step: float = STEP,
    ) -> SnapshotWork:
        """Checkpoints of the workspace, the last one last, on its data by short name and split."""
        self._workspace.refresh_models()
        items = [self._workspace.get(name) for name in names]
        opened: list[Checkpoint] = [item.checkpoint for item in items]  # type: ignore[misc]
        pictures = [self._workspace.pictures(*one) for one in dict.fromkeys(data)]
        networks = identities((item.architecture for item in items), pictures[0].label_space)
        prints = [*(one.fingerprint for one in opened), *(one.fingerprint() for one in pictures)]
        key = hashlib.sha256("\n".join([*names, *prints, buffers, str(step), *networks]).encode()).hexdigest()
        found = self._works.open(key, lambda: self.of(opened, pictures, buffers, step))
        if found.state != "running":
            found.recall()
        return found

    def of(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: Sequence[DecodedCache],
        buffers: str = "average",
        step: float = STEP,
    ) -> SnapshotWork:
        """Opened checkpoints; nothing is measured yet."""
        self._workspace.refresh_models()
        return SnapshotWork(checkpoints, pictures, buffers, step, runner=self._runner)
