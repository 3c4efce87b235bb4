"""Networks of one family: members of a training run, runs from one start, samples."""

from __future__ import annotations

from fusionlib.runs.runner import Runner
from fusionlib.studio.rates import RatesDesk
from fusionlib.studio.sets import SetDesk
from fusionlib.studio.snapshots import SnapshotDesk
from fusionlib.studio.workspace import Workspace


def family_desks(workspace: Workspace, runner: Runner) -> tuple[SetDesk, SnapshotDesk, RatesDesk]:
    """Where a process finds what it measures of such families."""
    return SetDesk(workspace, runner), SnapshotDesk(workspace, runner), RatesDesk(workspace, runner)
