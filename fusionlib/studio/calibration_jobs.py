"""Calibration beyond one view: all pairs of a set, and temperature scaling as the rival of merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.data.cache import DecodedCache
from fusionlib.data.halves import halves
from fusionlib.engine.recipes import calibration_of, source_of
from fusionlib.errors import DataError
from fusionlib.measures.bins import DEFAULT_BINS
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.recipe import Recipe
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.runs.work import Work
from fusionlib.studies.curve import CALIBRATED, Curve
from fusionlib.studies.grid import alpha_grid, coarse_to_fine
from fusionlib.studies.path import MergePath
from fusionlib.studies.temperature import TemperatureScaling
from fusionlib.studio.calibrate import CalibrationSweep
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.sweep import Point
from fusionlib.studio.view import MergeView
from fusionlib.studio.workspace import Workspace

Pair = tuple[str, str]


class PairSet(Work):
    """Calibration along alpha for every pair of some checkpoints, on one dataset."""

    def __init__(self, paths: Mapping[Pair, MergePath], pictures: DecodedCache, runner: Runner) -> None:
        data = pictures.fingerprint()
        super().__init__(f"calibration of {len(paths)} pairs", Curve((), data, CALIBRATED), runner, {data: pictures})
        self.paths = dict(paths)
        self._curves: dict[float, Curve] = {}

    def want(self, step: float) -> None:
        """Measure the grid of `step` for all pairs, one after the other; what is known already is not measured
        again.
        """
        self.begin(self._curve(step))

    def curves(self, step: float, bins: int = DEFAULT_BINS) -> dict[Pair, list[dict[str, Any]]]:
        """The pairs whose whole grid is known, with their summaries along alpha."""
        curve, grid = self._curve(step), alpha_grid(step)
        found = curve.found(self.known)
        if len(found) < len(curve.points) and self.state != "running":  # others may have measured them since
            self.known |= self.recalled(
                one for each in curve.steps({}) for one in each.questions if one not in self.known
            )
            found = curve.found(self.known)
        return {
            pair: [_along(alpha, found[pair, alpha], bins) for alpha in grid]
            for pair in self.paths
            if all((pair, alpha) in found for alpha in grid)
        }

    def _curve(self, step: float) -> Curve:
        """All points of all pairs, coarse to fine within each."""
        if step not in self._curves:
            assert isinstance(self.study, Curve)
            alphas = coarse_to_fine(alpha_grid(step))
            points = {(pair, alpha): path.at(alpha) for pair, path in self.paths.items() for alpha in alphas}
            self._curves[step] = self.study.of(points)
        return self._curves[step]


def _along(alpha: float, figures: dict[str, Any], bins: int) -> dict[str, Any]:
    return {"alpha": alpha, **calibration_summary(figures["calibration"], bins), "miou": figures["miou"]}


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


class TemperatureJob(Work):
    """T of one network fitted on some pictures and reported on others; both are answers like any other."""

    def __init__(self, recipe: Recipe, runner: Runner, fit_on: DecodedCache, report_on: DecodedCache) -> None:
        self.fit_on, self.report_on = fit_on, report_on
        study = TemperatureScaling(recipe, fit_on.fingerprint(), report_on.fingerprint())
        datasets = {study.fit_on: fit_on, study.report_on: report_on}
        super().__init__("temperature", study, runner, datasets)
        builder = runner.builder
        self.key = key_of("temperature", builder.memo(recipe), study.fit_on, builder.precision)
        self.page = key_of("temperature page", self.key, study.report_on)
        """What tells it from others on a page: the same fit may be reported on other pictures."""
        self.recall()
        if self.summaries() is not None:
            self.state = "done"

    def want(self) -> None:
        """Fit and report, unless that is known."""
        if self.summaries() is None:
            self.begin()

    @property
    def fit(self) -> dict[str, Any] | None:
        """The figures of the fit; None until it is known."""
        return self.table()["fit"]

    def summaries(self, bins: int = DEFAULT_BINS) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Figures on the reported pictures at T = 1 and at the fitted T; None until both are known."""
        table = self.table()
        found = [table[name] for name in ("before", "after")]
        if None in found:
            return None
        plain, after = ({**calibration_summary(one["calibration"], bins), "miou": one["miou"]} for one in found)
        return plain, after

    def told(self) -> None:
        """Raises `DataError` where no temperature is better than another."""
        if (result := self.fit) is not None and result["temperature"] is None:
            raise DataError(
                "No temperature gives a likelihood", "labelled pixels and finite logits", "Choose other data"
            )


class CalibrationDesk:
    """The calibrations of a process: one per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, runner: Runner, store: Store) -> None:
        self._workspace, self._runner, self._store = workspace, runner, store
        self._sweeps: WorkDesk[CalibrationSweep] = WorkDesk()
        self._pairs: WorkDesk[PairSet] = WorkDesk()
        self._temperatures: WorkDesk[TemperatureJob] = WorkDesk()

    def sweep(self, view: MergeView) -> CalibrationSweep:
        """The calibration of a view. Raises `DataError` without masks."""
        return self._sweeps.open(view.id, lambda: CalibrationSweep(view, self._runner, self._store))

    def pairs(self, names: Sequence[str], source: str, split: str | None, buffers: str) -> PairSet:
        """All pairs of `names` on one dataset; nothing is read yet."""
        self._workspace.refresh_models()
        named = dict.fromkeys(names)
        files: list[Checkpoint] = [self._workspace.get(name).checkpoint for name in named]  # type: ignore[misc]
        pictures = self._workspace.pictures(source, split)
        self._runner.builder.merger.sources.know(files, pictures)
        calibration = calibration_of(pictures, buffers)
        sources = dict(zip(named, map(source_of, files), strict=True))
        paths = {
            (a, b): MergePath((sources[a], sources[b]), buffers, None, calibration) for a, b in combinations(named, 2)
        }
        key = key_of("pairs", [item.fingerprint for item in files], pictures.fingerprint(), buffers)
        return self._pairs.open(key, lambda: PairSet(paths, pictures, self._runner))

    def temperature(self, view: MergeView, point: Point, fit_on: DecodedCache | None) -> TemperatureJob:
        """Temperature scaling of one network of the view, fitted on `fit_on`.

        None: fitted on every other picture of the view and reported on the rest. Raises `DataError` where there is but
        one.
        """
        first, second = (fit_on, view.need_pictures()) if fit_on is not None else halves(view.need_pictures())
        job = TemperatureJob(self.sweep(view).recipe_at(point), self._runner, first, second)
        return self._temperatures.open(job.page, lambda: job)
