"""The façade that the pages and the CLI use: open a workspace, look, sweep, evaluate, merge and export."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusionlib.architectures.nearest import unknown_network
from fusionlib.architectures.programs import trust_programs
from fusionlib.architectures.recognise import network_of
from fusionlib.architectures.user import register_user_models
from fusionlib.atomic import tidy
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Architecture, MergeMethod, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.build import Builder, forwards_of
from fusionlib.engine.identity import identities
from fusionlib.engine.merge import Merger, Sources
from fusionlib.engine.network import choose_device
from fusionlib.engine.recipes import recipe_alone
from fusionlib.engine.worker import Worker
from fusionlib.errors import ChangedCheckpointError
from fusionlib.merging.profile import LayerProfile
from fusionlib.options import Options, app_options
from fusionlib.recipe import Recipe
from fusionlib.runs.answers import Answers
from fusionlib.runs.desk import Plan, RunDesk
from fusionlib.runs.keys import key_of
from fusionlib.runs.looked import Looked
from fusionlib.runs.runner import BASIC, Runner
from fusionlib.runs.statistics import StatisticsStore
from fusionlib.runs.store import Store
from fusionlib.studies.choices import GROUPS, PRESETS
from fusionlib.studies.curve import CALIBRATED
from fusionlib.studio.calibrate import CalibrationSweep, ensemble_point
from fusionlib.studio.calibration_jobs import CalibrationDesk, band
from fusionlib.studio.comparison import Comparison
from fusionlib.studio.comparison_rows import SUBSETS_OF, Choices, Own, checkpoint_parameters
from fusionlib.studio.comparisons import ComparisonDesk
from fusionlib.studio.demo import with_demo
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.diagnose import Diagnosis
from fusionlib.studio.domains import DomainsDesk
from fusionlib.studio.errors import ErrorAnalysis, ErrorsDesk
from fusionlib.studio.export import Export, run_recipe, write_recipe
from fusionlib.studio.exports import Exports, content_of
from fusionlib.studio.families import family_desks
from fusionlib.studio.first_look import FirstLooks
from fusionlib.studio.hub_export import hub_obstacle
from fusionlib.studio.intervals import Intervals
from fusionlib.studio.known_curves import KnownCurves
from fusionlib.studio.layer_desk import LayerDesk
from fusionlib.studio.layers import preset_profile, profile_of, uniform_profile
from fusionlib.studio.learners import LearnersDesk
from fusionlib.studio.live import LiveDesk, LiveSession
from fusionlib.studio.mixture_work import MixtureWork
from fusionlib.studio.mixtures import Mixture, method_name, mixture_key, mixture_name, mixture_words, parameters_set
from fusionlib.studio.outlook import OutlookDesk, curve_evidence, gravest
from fusionlib.studio.passes import passes_of
from fusionlib.studio.plans import lease, process_options, set_plan
from fusionlib.studio.prepare import Preparation
from fusionlib.studio.recent import Recent
from fusionlib.studio.recipes import RecipeFiles
from fusionlib.studio.reports import ReportDesk
from fusionlib.studio.rows import Rows
from fusionlib.studio.search import SearchWork
from fusionlib.studio.search_desk import SearchDesk
from fusionlib.studio.sweep import Sweep
from fusionlib.studio.training import TrainingDesk
from fusionlib.studio.varied import VariedDesk, VariedWork, Wish
from fusionlib.studio.view import LETTERS, MergeView, Selection
from fusionlib.studio.views import ViewDesk
from fusionlib.studio.wanted import Wanted
from fusionlib.studio.workspace import Item, Source, Workspace

__all__ = [
    "CALIBRATED",
    "GROUPS",
    "LETTERS",
    "PRESETS",
    "SUBSETS_OF",
    "CalibrationDesk",
    "CalibrationSweep",
    "Choices",
    "Comparison",
    "ComparisonDesk",
    "Diagnosis",
    "ErrorAnalysis",
    "ErrorsDesk",
    "Export",
    "Item",
    "LayerDesk",
    "LayerProfile",
    "LiveDesk",
    "LiveSession",
    "MergeMethod",
    "MergeView",
    "Mixture",
    "Options",
    "Own",
    "SearchWork",
    "Selection",
    "Source",
    "Studio",
    "Sweep",
    "VariedWork",
    "Wanted",
    "Wish",
    "Workspace",
    "app_options",
    "band",
    "checkpoint_parameters",
    "ensemble_point",
    "gravest",
    "method_name",
    "mixture_name",
    "mixture_words",
    "parameters_set",
    "preset_profile",
    "profile_of",
    "uniform_profile",
    "write_recipe",
]

DIAGNOSES = 32
"""Sets of checkpoints whose diagnoses are kept: figures only, no weights."""

KEPT_IN_HOME = ("uploads", "uploads/pictures", "exports", "profiles", "statistics", "thumbnails")
"""Folders of the home folder that files are written into."""


class Studio:
    """One per process: the workspace, the device's worker, the store of results, open views and their sweeps."""

    def __init__(self, options: Options) -> None:
        register_user_models(options.models)
        trust_programs(options.trusted)
        self.options = options
        self.device = choose_device(options.device)
        self.worker = Worker(str(self.device))
        for folder in KEPT_IN_HOME:
            tidy(options.home / folder)
        self.answers = with_demo(Answers(options.home / "results.sqlite", options.home_mb << 20), options, self.device)
        self.store, self.statistics = Store(self.answers.database), StatisticsStore(options.home / "statistics")
        self.workspace, self.sources = Workspace(options), Sources()
        merger = Merger(self.worker, self.device, self.sources, self.statistics)
        self.runner = Runner(Builder(merger, options.precision), self.answers, passes_of(options, self.device))
        self.rows, self.first_looks = Rows(self.runner), FirstLooks(self.runner)
        self.live, self.recent = LiveDesk(), Recent()
        self._mixtures: WorkDesk[MixtureWork] = WorkDesk(64)
        self._diagnoses: WorkDesk[Diagnosis] = WorkDesk(DIAGNOSES)
        self.outlooks, self.intervals = OutlookDesk(), Intervals(self.runner)
        self.calibration = CalibrationDesk(self.workspace, self.runner, self.store)
        self.layers = LayerDesk(self.runner, options.home / "profiles")
        self.curves = KnownCurves(self.runner, self.store, self.intervals)
        self.comparisons = ComparisonDesk(
            self.workspace, runner=self.runner, outlooks=self.outlooks, curves=self.curves, intervals=self.intervals
        )
        self.exports = Exports(options.home / "exports", self.merge)
        self.searches, self.varied = SearchDesk(self.workspace, self.runner), VariedDesk(self.workspace, self.runner)
        self.domains = DomainsDesk(self.workspace, self.runner)
        self.sets, self.snapshots, self.rates = family_desks(self.workspace, self.runner)
        self.learners = LearnersDesk(self.runner)
        self.errors = ErrorsDesk(self.runner, options.home / "thumbnails")
        self.reports = ReportDesk(self.runner, self.errors.thumbnails)
        self.recipes = RecipeFiles(self.runner, self.store, options.home / "exports")
        self.runner.desk.options = process_options(options)
        self.views = ViewDesk(self.workspace, self.runner, self.recent, self.statistics, self.network_of)
        self.training = TrainingDesk(options.home / "lab", self.runner.desk, process_options(options))
        self.looked, self.preparation = Looked(options.home), Preparation(self.view, self.runner.desk)

    @property
    def runs(self) -> RunDesk:
        """The runs of the home folder, whichever process owns them."""
        return self.runner.desk

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the home folder: what could not be kept there, and what was damaged."""
        return (*self.store.notes, *self.statistics.notes, *self.looked.database.notes)

    def view(self, selection: Selection) -> MergeView:
        """The view of two or more checkpoints on a dataset. Raises `LayoutError` where they do not fit one another."""
        return self.views.view(selection)

    def sweep(self, view: MergeView) -> Sweep:
        """The sweep of a view, running or not; the same one for every page and session that looks at this content."""
        return self.views.sweep(view)

    def mixture(self, view: MergeView, mixture: Mixture) -> MixtureWork:
        """The measurement of a merge that a view shows; the same one for every page and session."""
        key = key_of(view.id, mixture_key(mixture))
        return self._mixtures.open(key, lambda: MixtureWork(view, mixture, self.runner))

    def outlook(self, view: MergeView, sweep: Sweep | None = None) -> dict[str, Any]:
        """The verdict beside a view's formula, on weights and what is measured of the curve between two; of more than
        two checkpoints on the gravest pair.
        """
        judged = self.outlooks.of_arena(view.arena, view.architecture)
        if len(judged) == 1:
            ((names, evidence),) = judged
            sweep = sweep or self.sweep(view)
            judged = [(names, curve_evidence(evidence, sweep.snapshot(), names, self.intervals.along(sweep)))]
        elif view.obstacle is None and view.need_pictures().labelled:
            judged = self.curves.measured(view, judged)
        return gravest(judged)

    def diagnosis(self, names: Sequence[str], source: str, split: str | None, buffers: str = "average") -> Diagnosis:
        """The diagnosis of checkpoints of the workspace; the same one for every page and session that looks at this
        content.
        """
        self.workspace.refresh_models()
        items = [self.workspace.get(name) for name in names]
        opened = [item.checkpoint for item in items]
        pictures = self.workspace.pictures(source, split) if source else None
        key = hashlib.sha256(
            "\n".join(
                [
                    *names,
                    *(item.fingerprint for item in opened),  # type: ignore[union-attr]
                    buffers,
                    pictures.fingerprint() if pictures else "",
                    *_identities(items, pictures),
                ]
            ).encode()
        ).hexdigest()
        return self._diagnoses.open(key, lambda: self.diagnose(opened, pictures, buffers))  # type: ignore[arg-type]

    def diagnose(
        self, checkpoints: Sequence[Checkpoint], pictures: DecodedCache | None, buffers: str = "average"
    ) -> Diagnosis:
        """A diagnosis of opened checkpoints; nothing is read or measured yet."""
        self.workspace.refresh_models()
        return Diagnosis(checkpoints, pictures, buffers, runner=self.runner, intervals=self.intervals)

    def recipe(self, view: MergeView, mixture: Mixture) -> Recipe:
        """The recipe of what the view shows at an alpha, or of a layer profile."""
        self._checkpoints(view)
        return view.recipe(mixture)

    def export(
        self, view: MergeView, mixture: Mixture, progress: Progress | None = None, *, hub: bool = False
    ) -> Export:
        """Write what the view shows into the home folder; the name says what it is. `hub`: as a folder of Hugging Face,
        by content, which is replaced.
        """
        recipe = self.recipe(view, mixture)
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in "+".join(view.selection.names))[:100]
        kind, content = (f"-{recipe.dtype}" if recipe.dtype else ""), (f"-{content_of(recipe)[:8]}" if hub else "")
        name = f"{stem}-{mixture_name(mixture)}-{view.selection.buffers}{kind}{content}"
        return self.exports.write(recipe, self._checkpoints(view), name, view.pictures, progress, hub)

    def hub_obstacle(self, view: MergeView, mixture: Mixture) -> str:
        """Why what the view shows cannot be written as a folder of Hugging Face; nothing where it can."""
        return hub_obstacle(self.recipe(view, mixture), self._checkpoints(view))

    def merge(
        self,
        recipe: Recipe,
        checkpoints: Sequence[Checkpoint],
        out: Path,
        calibration: DecodedCache | None = None,
        progress: Progress | None = None,
    ) -> Export:
        """Carry out a recipe on its opened checkpoints."""
        return run_recipe(
            recipe,
            checkpoints,
            out,
            worker=self.worker,
            device=self.device,
            calibration=calibration,
            progress=progress,
            cache=self.statistics,
            tally=self.runner.tally,
        )

    def measure(
        self,
        recipe: Recipe,
        pictures: DecodedCache,
        progress: Progress | None = None,
        *,
        measures: Sequence[str] = BASIC,
        fresh: bool = False,
    ) -> dict[str, Any]:
        """Figures of a recipe's network on pictures with `forwards`, its cost a picture, and `classes`.

        A run: who asks for the same network on the same pictures elsewhere follows.
        """
        builder = self.runner.builder
        content = (builder.memo(recipe), pictures.fingerprint(), builder.precision, builder.device.type)
        files = [Path(source.path) for source in recipe.checkpoints]
        plan = set_plan("evaluate", files, pictures) if len(files) == 1 else Plan("evaluate", ())
        with lease(self.runs, plan, *content)(progress or (lambda *_: None)) as told:
            figures = self.runner.measure(recipe, pictures, told, measures=measures, fresh=fresh)
        space = pictures.label_space if pictures.labelled else builder.space(recipe)
        return {**figures, "forwards": forwards_of(recipe), "classes": list(space.names)}

    def evaluate(
        self,
        checkpoint: Checkpoint,
        pictures: DecodedCache,
        *,
        fresh: bool = False,
        measures: Sequence[str] = BASIC,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Figures of one checkpoint on labelled pictures; what is known is not measured again, unless `fresh`."""
        self.network_of(checkpoint)
        self.sources.know([checkpoint])
        return self.measure(recipe_alone(checkpoint), pictures, progress, measures=measures, fresh=fresh)

    def network_of(self, checkpoint: Checkpoint) -> tuple[Architecture, int]:
        """The network of a checkpoint. Raises `ArchitectureError` when none is known."""
        self.workspace.refresh_models()
        known = network_of(checkpoint.shapes)
        if known is None:
            raise unknown_network([checkpoint])
        return known

    def _checkpoints(self, view: MergeView) -> list[Checkpoint]:
        """The files behind a view.

        Raises `CheckpointError` where one was opened anew since: the view shows what it held before.
        """
        opened = [self.workspace.get(name).checkpoint for name in view.selection.names]
        for item, shown in zip(opened, view.arena.fingerprints, strict=True):
            if item.fingerprint != shown:  # type: ignore[union-attr]
                raise ChangedCheckpointError(
                    f"{item.name} was changed since this view was opened",  # type: ignore[union-attr]
                    "the checkpoint that is shown",
                    "Load the page again to see what the file holds now",
                )
        return opened  # type: ignore[return-value]


def _identities(items: Sequence[Item], pictures: DecodedCache | None) -> list[str]:
    return identities((item.architecture for item in items), pictures.label_space if pictures else None)
