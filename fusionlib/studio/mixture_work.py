"""One merge of a view, measured on the whole split: whatever method it is of."""

from __future__ import annotations

from typing import Any

from fusionlib.engine.build import forwards_of
from fusionlib.runs.desk import Plan
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.curve import Curve
from fusionlib.studio.mixtures import Mixture, mixture_words
from fusionlib.studio.plans import lease
from fusionlib.studio.view import MergeView

MERGE = "merge"
"""What the merge is called among the points; the checkpoints alone are called by their letters."""


class MixtureWork(Work):
    """The merge and the checkpoints alone, which it has to beat."""

    def __init__(self, view: MergeView, mixture: Mixture, runner: Runner) -> None:
        pictures = view.need_pictures()
        recipe, data = view.recipe(mixture), pictures.fingerprint()
        points = (*((end, view.alone(end)) for end in view.ends), (MERGE, recipe))
        hold = lease(runner.desk, Plan("measure", ()), view.id, recipe.content)
        self._curve = Curve(points, data)
        super().__init__(mixture_words(mixture), self._curve, runner, {data: pictures}, hold)
        self._recipe, self._images = recipe, len(pictures)
        self.recall()
        if self.settled:
            self.state = "done"

    @property
    def points(self) -> dict[str, dict[str, Any]]:
        """Figures by name, as far as they are known."""
        return self._curve.found(self.known)

    def cost(self) -> int:
        """Forward passes' worth of work until the merge is measured, its statistics included."""
        ahead = self.runner.builder.merger.preparing(self._recipe, self._images)
        found = self.points
        missing = [name for name, _ in self._curve.points if name not in found and name != MERGE]
        return ahead + self._images * (forwards_of(self._recipe) + len(missing))

    def want(self) -> None:
        """Measure it in the background."""
        self.begin()
