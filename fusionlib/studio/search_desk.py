"""The searches of a process: one per content, whichever page or session asks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.identity import identities
from fusionlib.runs.runner import Runner
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.search import SearchWork
from fusionlib.studio.wanted import Wanted
from fusionlib.studio.workspace import Workspace


class SearchDesk:
    """The searches of a process: one per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, runner: Runner) -> None:
        self._workspace, self._runner = workspace, runner
        self._works: WorkDesk[SearchWork] = WorkDesk()

    def open(
        self,
        names: Sequence[str],
        select: Sequence[tuple[str, str | None]],
        report: Sequence[tuple[str, str | None]],
        wanted: Wanted,
        calibration: tuple[str, str | None] | None = None,
    ) -> SearchWork:
        """The search among checkpoints of the workspace; data by short name and split, several for the harmonic mean.
        Statistics are measured on `calibration`, None: on the first data to choose by. Nothing is measured yet.
        """
        wanted.checked_data(select, report)
        self._workspace.refresh_models()
        items = [self._workspace.get(name) for name in names]
        opened = [item.checkpoint for item in items if item.checkpoint is not None]
        pictures = [[self._workspace.pictures(*one) for one in data] for data in (select, report)]
        networks = identities((item.architecture for item in items), pictures[0][0].label_space)
        parts = [*names, *(one.fingerprint for one in opened)]
        parts += (f"{side} {one.fingerprint()}" for side, data in enumerate(pictures) for one in data)
        looked_at = None if calibration is None else self._workspace.pictures(*calibration)
        parts.append("" if looked_at is None else looked_at.fingerprint())
        key = hashlib.sha256("\n".join([*parts, *wanted.options, *networks]).encode()).hexdigest()
        found = self._works.open(key, lambda: self.of(opened, pictures[0], pictures[1], wanted, looked_at))
        if found.state != "running":
            found.recall()
        return found

    def of(
        self,
        checkpoints: Sequence[Checkpoint],
        select: Sequence[DecodedCache],
        report: Sequence[DecodedCache],
        wanted: Wanted,
        calibration: DecodedCache | None = None,
    ) -> SearchWork:
        """The search among opened checkpoints; several datasets for the harmonic mean."""
        return SearchWork(checkpoints, select, report, wanted, calibration, runner=self._runner)
