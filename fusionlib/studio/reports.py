"""What a report is made of, found out in the background: nothing of it that is known is measured again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.data.cache import DecodedCache
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.question import figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.runs.desk import Plan
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.curve import CALIBRATED, Curve
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.report import Report
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.diagnose import GRIDS
from fusionlib.studio.errors import ErrorAnalysis
from fusionlib.studio.mixtures import Mixture
from fusionlib.studio.plans import lease
from fusionlib.studio.report_subject import STEP, Subject, of_recipe, report_study
from fusionlib.studio.sweep import listed_alphas, sweep_key
from fusionlib.studio.thumbnails import Thumbnails
from fusionlib.studio.view import MergeView, view_key

SCORES = ("miou", "pixel_accuracy", "loss", "ece")
"""What is said of every network: fractions, nats, and the pixel-weighted calibration error."""


class _Reported(Work):
    """What both kinds of report have."""

    subject: Subject
    pictures: DecodedCache

    @property
    def complete(self) -> bool:
        """Whether all that the report says is known."""
        return self.settled

    def cost(self) -> int:
        """Forward passes' worth of work until all is known."""
        return self._passes(self._left())

    def scores(self, recipe: Recipe) -> dict[str, float | None]:
        """`SCORES` of a network of the report, as far as they are known."""
        told = told_of(_asked(recipe, self.pictures), self.known)
        return dict.fromkeys(SCORES) if told is None else _scores(figures_of(told))

    def build(self, recipe: Recipe) -> str:
        """The build key of a network of the report; empty where it was never built."""
        told = told_of(_asked(recipe, self.pictures), self.known)
        return told[0].builds[0] if told else ""

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        """The file of a network that is one checkpoint alone."""
        return self.runner.builder.merger.sources.checkpoint(recipe.checkpoints[0])


class ReportWork(ErrorAnalysis, _Reported):
    """A network against the best of one or more others, on labelled pictures."""

    def __init__(
        self, subject: Subject, pictures: DecodedCache, runner: Runner, thumbnails: Thumbnails, step: float = STEP
    ) -> None:
        self.subject = subject
        study = report_study(subject, pictures.fingerprint(), step)
        super().__init__(study, pictures, runner, thumbnails, Plan("report", ()))

    @property
    def complete(self) -> bool:
        """Whether all is measured, and transitions are derived from it."""
        return self.ready and self.settled

    def points(self) -> list[dict[str, Any]]:
        """Points of the curve that are known, whoever has measured them: `alpha` and figures, the lowest first. The
        ends are the first two members alone.
        """
        study = self.study
        assert isinstance(study, Report)
        found = {point["alpha"]: point for point in study.points(self.known)}
        ends = {0.0, 1.0} if self.subject.path is not None and len(self.subject.path.checkpoints) == 2 else set()
        further = {alpha: self.subject.at(alpha) for alpha in (self._looked_for() | ends) - set(found)}
        recipes = {alpha: recipe for alpha, recipe in further.items() if recipe is not None}
        figures = self.runner.recall(list(recipes.values()), self.pictures)
        found |= {
            alpha: {"alpha": alpha, **one} for alpha, one in zip(recipes, figures, strict=True) if one is not None
        }
        return [found[alpha] for alpha in sorted(found)]

    def _looked_for(self) -> set[float]:
        """Alphas of the usual grids, and those that sweeps of the same checkpoints have listed."""
        path = self.subject.path
        if path is None or self.subject.at(0.5) is None:
            return set()
        merger, pictures = self.runner.builder.merger, self.pictures
        network = merger.recognised(merger.sources.checkpoint(path.checkpoints[0]))
        prints = [source.fingerprint for source in path.checkpoints]
        view = view_key(
            prints, path.buffers, path.dtype, pictures, network, self.runner.builder.precision, merger.device
        )
        usual = {alpha for step in GRIDS for alpha in alpha_grid(step) if 0 < alpha < 1}
        return usual | {alpha for alpha in listed_alphas(self._store, sweep_key(view)) if 0 < alpha < 1}


class AloneWork(_Reported):
    """A network that nothing is held against: its own figures. Raises `DataError` without masks."""

    def __init__(self, subject: Subject, pictures: DecodedCache, runner: Runner) -> None:
        runner.need_masks(pictures)
        self.subject, self.pictures = subject, pictures
        data = pictures.fingerprint()
        study = Curve((("merge", subject.network),), data, CALIBRATED)
        hold = lease(runner.desk, Plan("report", ()), subject.network.content, data)
        super().__init__("report", study, runner, {data: pictures}, hold)
        self.recall()
        if self.settled:
            self.state = "done"

    def measure(self, progress: Any = None, *, fresh: bool = False) -> None:
        """Find out, and wait. Raises `UsageError` where it failed."""
        self.run(progress=progress, fresh=fresh)

    def want(self, *, fresh: bool = False) -> None:
        """The same in the background."""
        self.begin(fresh=fresh)


class ReportDesk:
    """The reports of a process: one per content, whichever page or session asks."""

    def __init__(self, runner: Runner, thumbnails: Thumbnails) -> None:
        self._runner, self._thumbnails = runner, thumbnails
        self._works: WorkDesk[ReportWork | AloneWork] = WorkDesk()

    def open(self, subject: Subject, pictures: DecodedCache, step: float = STEP) -> ReportWork | AloneWork:
        """The work of a report, with whatever others have measured by now."""
        networks = [one.content for one in (subject.network, *subject.others)]
        key = key_of("report", networks, subject.name, list(subject.names), pictures.fingerprint(), step)
        found = self._works.open(key, lambda: self._new(subject, pictures, step))
        if found.state != "running":
            found.recall()
        return found

    def of_view(self, view: MergeView, mixture: Mixture, name: str) -> ReportWork | AloneWork:
        """The same of the merge that a view shows, called `name`, on its pictures."""
        subject = of_recipe(name, view.recipe(mixture), names=view.selection.names)
        return self.open(subject, view.need_pictures())

    def _new(self, subject: Subject, pictures: DecodedCache, step: float) -> ReportWork | AloneWork:
        if not subject.others:
            return AloneWork(subject, pictures, self._runner)
        return ReportWork(subject, pictures, self._runner, self._thumbnails, step)


def _asked(recipe: Recipe, pictures: DecodedCache) -> list[Any]:
    return list(Curve(((0, recipe),), pictures.fingerprint(), CALIBRATED).steps({})[0].questions)


def _scores(figures: Mapping[str, Any]) -> dict[str, float | None]:
    ece = calibration_summary(figures["calibration"])["ece_sample_weighted"]
    return {**{name: figures[name] for name in SCORES[:3]}, "ece": ece}


__all__ = ["AloneWork", "ReportDesk", "ReportWork", "Subject"]
