"""Calibration beyond one view: all pairs of a set, and temperature scaling as the rival of merging."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fusionlib.data.cache import DecodedCache
from fusionlib.data.halves import halves
from fusionlib.engine.identity import identities
from fusionlib.engine.jobs import Job
from fusionlib.engine.observe import target_mapping
from fusionlib.engine.temperature import fit_temperature
from fusionlib.measures.bins import DEFAULT_BINS
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.recipe import Recipe
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.studies.grid import alpha_grid
from fusionlib.studio.calibrate import CALIBRATED, CalibrationSweep
from fusionlib.studio.sweep import Point
from fusionlib.studio.view import MergeView, Selection
from fusionlib.studio.workspace import Workspace

VERSION = 1
"""Of the fit; raised when its results move."""

KEPT = 8
"""Views whose calibration is kept at hand."""


class PairSet(Job):
    """Calibration along alpha for every pair of some checkpoints; each pair's sweep is the one that its own view
    shows.
    """

    def __init__(self, selections: Sequence[Selection], open_sweep: Callable[[Selection], CalibrationSweep]) -> None:
        super().__init__(f"calibration of {len(selections)} pairs")
        self.selections, self._open = tuple(selections), open_sweep
        self._kept: dict[tuple[Selection, float], dict[float, Any]] = {}

    def want(self, step: float) -> None:
        """Measure the grid of `step` for all pairs, one after the other; what is known already is not measured
        again.
        """
        points = len(alpha_grid(step)) + 2

        def work(_: Job) -> None:
            for number, selection in enumerate(self.selections):

                def advance(done: int, total: int, number: int = number) -> None:
                    self.progress(
                        round(1000 * points * (number + done / max(1, total))), 1000 * points * len(self.selections)
                    )

                advance(0, 1)
                self._open(selection).measure(step, advance)

        self.start(work)

    def curves(self, step: float, bins: int = DEFAULT_BINS) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """The pairs whose whole grid is known, with their summaries along alpha."""
        return {
            (selection.a, selection.b): [
                {"alpha": alpha, **calibration_summary(point["calibration"], bins), "miou": point["miou"]}
                for alpha, point in points.items()
            ]
            for selection in self.selections
            if (points := self._points(selection, step))
        }

    def _points(self, selection: Selection, step: float) -> dict[float, Any] | None:
        """The figures of a pair's whole grid, kept here so that its weights need not be packed again to show them."""
        if (selection, step) not in self._kept:
            sweep = self._open(selection)
            points = {alpha: sweep.find(alpha) for alpha in alpha_grid(step)}
            if not all(points.values()):
                return None
            self._kept[selection, step] = points
        return self._kept[selection, step]


def band(curves: Sequence[Sequence[dict[str, Any]]], figure: str, mirrored: bool = True) -> list[dict[str, Any]]:
    """Mean, lowest and highest of one figure over curves on one grid; points that any curve lacks are left out.

    `mirrored`: each curve is first averaged with itself turned round, `(v(alpha) + v(1 - alpha)) / 2`, because which of
    two checkpoints is called A is arbitrary. Source: Weight Fusion, figure 1.
    """
    rows = []
    for place in range(len(curves[0]) if curves else 0):
        values = [
            (curve[place][figure], curve[len(curve) - 1 - place][figure] if mirrored else curve[place][figure])
            for curve in curves
        ]
        if all(a is not None and b is not None for a, b in values):
            means = [(a + b) / 2 for a, b in values]
            rows.append(
                {
                    "alpha": curves[0][place]["alpha"],
                    "mean": float(np.mean(means)),
                    "low": min(means),
                    "high": max(means),
                }
            )
    return rows


def pair_selections(names: Sequence[str], source: str, split: str | None, buffers: str) -> list[Selection]:
    """Every pair of `names` once, in their order."""
    return [Selection(a, b, source, split, buffers) for a, b in combinations(dict.fromkeys(names), 2)]


class TemperatureScaling(Job):
    """T of one network fitted on some pictures and reported on others, by default those of the view; the fit is stored
    by content.
    """

    def __init__(
        self,
        view: MergeView,
        point: Point,
        fit_on: DecodedCache,
        sweep: CalibrationSweep,
        store: Store,
        report_on: DecodedCache | None = None,
    ) -> None:
        super().__init__(f"temperature of {point}")
        self.view, self.point, self.fit_on, self.sweep, self.store = view, point, fit_on, sweep, store
        self.report_on = report_on or view.need_pictures()
        self.recipe, self.runner = sweep.recipe_at(point), sweep.runner
        builder = self.runner.builder
        self.key = key_of("temperature", VERSION, builder.memo(self.recipe), fit_on.fingerprint(), builder.precision)
        self.page = key_of("temperature page", self.key, self.report_on.fingerprint())
        """What tells it from others on a page: the same fit may be reported on other pictures."""
        self.result = store.get(self.key)
        if self.summaries() is not None:
            self.state = "done"

    def want(self) -> None:
        """Fit and report, unless that is known."""
        if self.summaries() is None:
            self.start(self._work)

    def summaries(self, bins: int = DEFAULT_BINS) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Figures on the reported pictures at T = 1 and at the fitted T; None until both are known."""
        if self.result is None:
            return None
        found = self.runner.recall(self._recipes(self.result["temperature"]), self.report_on, CALIBRATED)
        if None in found:
            return None
        plain, after = (
            {**calibration_summary(one["calibration"], bins), "miou": one["miou"]}  # type: ignore[index]
            for one in found
        )
        return plain, after

    def _recipes(self, temperature: float) -> list[Recipe]:
        return [self.recipe, self.recipe.model_copy(update={"temperature": temperature})]

    def _work(self, _: Job) -> dict[str, Any]:
        view, pictures, runner = self.view, self.report_on, self.runner
        fit, count = 2 * len(self.fit_on), len(pictures)
        total, done = fit + 2 * count, fit
        self.progress(0, total)
        result = self.store.get(self.key)
        if result is None:
            network = runner.builder.build(self.recipe, lambda *_: self.progress(0, total))
            mapping = target_mapping(network.space, self.fit_on.label_space, view.device)
            found = fit_temperature(
                network, self.fit_on, view.worker, mapping, lambda done, _: self.progress(done, total)
            )
            result = {
                "temperature": found.value,
                "fit_nll_before": found.before,
                "fit_nll_after": min(loss for _, loss in found.losses),
                "losses": [list(pair) for pair in found.losses],
                "at_limit": found.at_limit,
            }
            self.store.put(self.key, result)
        for recipe in self._recipes(result["temperature"]):
            runner.measure(
                recipe, pictures, lambda part, _, at=done: self.progress(at + part, total), measures=CALIBRATED
            )
            done += count
        return result


class CalibrationDesk:
    """The calibrations of a process: one per content, whichever page or session asks."""

    def __init__(
        self, open_view: Callable[[Selection], MergeView], workspace: Workspace, runner: Runner, store: Store
    ) -> None:
        self._open_view, self._workspace, self._runner, self._store = open_view, workspace, runner, store
        self._sweeps: OrderedDict[str, CalibrationSweep] = OrderedDict()
        self._jobs: OrderedDict[str, PairSet | TemperatureScaling] = OrderedDict()
        self._lock = threading.RLock()

    def sweep(self, view: MergeView) -> CalibrationSweep:
        """The calibration of a view. Raises `DataError` without masks."""
        with self._lock:
            if view.id not in self._sweeps:
                self._sweeps[view.id] = CalibrationSweep(view, self._runner, self._store)
                _forget_oldest(self._sweeps)
            self._sweeps.move_to_end(view.id)
            return self._sweeps[view.id]

    def pairs(self, names: Sequence[str], source: str, split: str | None, buffers: str) -> PairSet:
        """All pairs of `names` on one dataset; nothing is read yet."""
        self._workspace.refresh_models()
        items = [self._workspace.get(name) for name in dict.fromkeys(names)]
        pictures = self._workspace.pictures(source, split)
        networks = identities((item.architecture for item in items), pictures.label_space)
        prints = [item.checkpoint.fingerprint for item in items]  # type: ignore[union-attr]
        key = key_of("pairs", list(names), prints, pictures.fingerprint(), buffers, networks)
        selections = pair_selections(names, source, split, buffers)
        return self._job(key, PairSet(selections, lambda wanted: self.sweep(self._open_view(wanted))))  # type: ignore[return-value]

    def temperature(self, view: MergeView, point: Point, fit_on: DecodedCache | None) -> TemperatureScaling:
        """Temperature scaling of one network of the view, fitted on `fit_on`.

        None: fitted on every other picture of the view and reported on the rest. Raises `DataError` where there is but
        one.
        """
        first, second = (fit_on, None) if fit_on is not None else halves(view.need_pictures())
        job = TemperatureScaling(view, point, first, self.sweep(view), self._store, second)
        return self._job(job.page, job)  # type: ignore[return-value]

    def _job(self, key: str, fresh: PairSet | TemperatureScaling) -> PairSet | TemperatureScaling:
        with self._lock:
            job = self._jobs.setdefault(key, fresh)
            self._jobs.move_to_end(key)
            _forget_oldest(self._jobs)
            return job


def _forget_oldest(jobs: OrderedDict[str, Any]) -> None:
    """Figures stay in the store; what is dropped here are the weights that the oldest idle ones hold."""
    for key in list(jobs)[:-1]:
        if len(jobs) > KEPT and jobs[key].state != "running":
            del jobs[key]
