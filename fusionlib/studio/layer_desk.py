"""Everything the Layers page asks of a view: its units, its jobs and the presets on the shelf."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from fusionlib.runs.runner import Runner
from fusionlib.studio.layer_jobs import Contribution, ProfileJob
from fusionlib.studio.layer_presets import PresetShelf
from fusionlib.studio.layers import describe
from fusionlib.studio.view import MergeView

VIEWS = 8
"""Views whose jobs are kept beside the running ones; what they have measured is in the store."""


class _Jobs(NamedTuple):
    profiles: ProfileJob
    contribution: Contribution
    units: dict[str, Any]


class LayerDesk:
    """The same jobs for every page and session that looks at a view."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self.runner, self.shelf = runner, PresetShelf(folder)
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Jobs] = OrderedDict()

    def units(self, view: MergeView) -> dict[str, Any]:
        """Levels, units, cosines and preset curves of a view, as JSON values; read from the weights at the first
        call.
        """
        held = self._jobs(view).units
        if not held:
            held |= describe(view.arena)
        return held

    def profiles(self, view: MergeView) -> ProfileJob:
        """Measures whole profiles."""
        return self._jobs(view).profiles

    def contribution(self, view: MergeView) -> Contribution:
        """Measures what each unit contributes."""
        return self._jobs(view).contribution

    def _jobs(self, view: MergeView) -> _Jobs:
        with self._lock:
            if view.id not in self._open:
                self._open[view.id] = _Jobs(
                    ProfileJob("profile", view, self.runner), Contribution(view, self.runner), {}
                )
                idle = [key for key, jobs in self._open.items() if not any(job.state == "running" for job in jobs[:2])]
                for key in idle[: max(0, len(self._open) - VIEWS)]:
                    del self._open[key]
            self._open.move_to_end(view.id)
            return self._open[view.id]
