"""What a mixture layer by layer asks beside its views: the works of a view and the presets on the shelf."""

from __future__ import annotations

from pathlib import Path

from fusionlib.runs.runner import Runner
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.layer_jobs import Contribution, ProfileJob
from fusionlib.studio.layer_presets import PresetShelf
from fusionlib.studio.view import MergeView


class LayerDesk:
    """The same works for every page and session that looks at a view."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self.runner, self.shelf = runner, PresetShelf(folder)
        self._profiles: WorkDesk[ProfileJob] = WorkDesk()
        self._contributions: WorkDesk[Contribution] = WorkDesk()

    def profiles(self, view: MergeView) -> ProfileJob:
        """Measures whole profiles."""
        return self._profiles.open(view.id, lambda: ProfileJob(view, self.runner))

    def contribution(self, view: MergeView) -> Contribution:
        """Measures what each unit contributes."""
        return self._contributions.open(view.id, lambda: Contribution(view, self.runner))
