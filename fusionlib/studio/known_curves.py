"""What anybody has measured of the curves between checkpoints: looked up in the tables, nothing runs for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.evidence import SHARE, Evidence
from fusionlib.engine.identity import Network
from fusionlib.engine.recipes import calibration_of, source_of
from fusionlib.errors import FusionError
from fusionlib.question import Question, Told, figures_of
from fusionlib.recipe import Recipe, Source
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.studies.compare import CURVE, Row
from fusionlib.studies.curve import BASIC, CALIBRATED
from fusionlib.studies.grid import alpha_grid, best_merge, merges_of
from fusionlib.studies.path import MergePath
from fusionlib.studio.intervals import Chance, Intervals
from fusionlib.studio.outlook import Judged, curve_evidence, gravest
from fusionlib.studio.selection import view_key
from fusionlib.studio.sweep import listed_alphas, sweep_key
from fusionlib.studio.view import MergeView

GRIDS = (0.05, 0.1, 0.125, 0.25, 0.5)
"""Steps whose points are looked for in the tables, beside what a sweep's index names."""


@dataclass(frozen=True)
class KnownCurve:
    """Figures of the two networks alone, `ends` (None where not known), and of the merges between them, by alpha, the
    weight of the first. `path` names the networks, `told` are the answers.
    """

    path: MergePath
    data: str
    ends: tuple[dict[str, Any] | None, dict[str, Any] | None]
    merges: Mapping[float, dict[str, Any]]
    told: Mapping[Question, Told] = field(repr=False)

    @property
    def best(self) -> float | None:
        """The alpha of the highest mIoU where both networks have at least the share of a merge."""
        return best_merge({alpha: one["miou"] for alpha, one in self.merges.items() if one["miou"] is not None}, SHARE)

    def answers(self, recipe: Recipe) -> dict[Question, Told]:
        """What is known of one of its networks."""
        return {question: told for question, told in self.told.items() if question.recipes == (recipe,)}


class KnownCurves:
    """Curves between two checkpoints on some pictures, as far as sweeps, diagnoses and comparisons measured them."""

    def __init__(self, runner: Runner, store: Store, intervals: Intervals) -> None:
        self.runner, self.store, self.intervals = runner, store, intervals

    def of(self, pair: Sequence[Checkpoint], buffers: str, dtype: str | None, pictures: DecodedCache) -> KnownCurve:
        """The curve of two files; it has no merges where there is no path between them."""
        recognised = self.runner.builder.merger.recognised
        sources, network = [source_of(one) for one in pair], recognised(pair[0])
        if network is None or network != recognised(pair[1]):
            return KnownCurve(MergePath(tuple(sources), buffers, dtype), pictures.fingerprint(), (None, None), {}, {})
        return self.between(sources, buffers, dtype, pictures, network)

    def between(
        self,
        pair: Sequence[Source],
        buffers: str,
        dtype: str | None,
        pictures: DecodedCache,
        network: Network | None,
    ) -> KnownCurve:
        """The curve of two checkpoints that fit one another, of this network."""
        path = MergePath(tuple(pair), buffers, dtype, calibration_of(pictures, buffers))
        data, alphas = pictures.fingerprint(), self._alphas(pair, buffers, dtype, pictures, network)
        ends, merges = (path.alone(0), path.alone(1)), {alpha: path.at(alpha) for alpha in alphas}
        told = self._told([*ends, *merges.values()], data, pictures)
        figures = {alpha: found for alpha, recipe in merges.items() if (found := _figures(recipe, data, told))}
        a, b = (_figures(recipe, data, told) for recipe in ends)
        return KnownCurve(path, data, (a, b), figures, told)

    def evidence(self, known: Evidence, curve: KnownCurve, names: Sequence[str], pictures: DecodedCache) -> Evidence:
        """What is known of a pair with what is measured of its curve."""
        points = [{"alpha": alpha, **figures} for alpha, figures in sorted(curve.merges.items())]
        found = {"a": curve.ends[0], "b": curve.ends[1], "points": points, "images": len(pictures)}

        def chance(alphas: Sequence[float]) -> Chance | None:
            ends = [curve.path.alone(number) for number in (0, 1)]
            return self.intervals.of(ends, list(map(curve.path.at, alphas)), pictures)

        return curve_evidence(known, found, names, chance)

    def outlook(
        self, judged: Judged, files: Sequence[Checkpoint], buffers: str, dtype: str | None, pictures: DecodedCache
    ) -> dict[str, Any] | None:
        """The gravest verdict among the pairs of files, as they were `judged` by their weights, with what is measured;
        None where nothing could be judged.
        """
        curves = (self.of(pair, buffers, dtype, pictures) for pair in combinations(files, 2))
        found = [
            (names, self.evidence(known, curve, names, pictures))
            for (names, known), curve in zip(judged, curves, strict=False)
        ]
        return gravest(found) if found else None

    def measured(self, view: MergeView, judged: Judged) -> Judged:
        """What is known of the pairs of a view, in their order, with what is measured of the curve of each."""
        chosen, pictures = view.selection, view.need_pictures()
        curves = (
            self.between(pair, chosen.buffers, chosen.dtype, pictures, view.network)
            for pair in combinations(view.sources, 2)
        )
        return [
            (names, self.evidence(known, curve, names, pictures))
            for (names, known), curve in zip(judged, curves, strict=True)
        ]

    def _alphas(
        self,
        pair: Sequence[Source],
        buffers: str,
        dtype: str | None,
        pictures: DecodedCache,
        network: Network | None,
    ) -> list[float]:
        """Where to look: the usual grids, and what sweeps of these two in either order have listed."""
        builder = self.runner.builder

        def listed(order: Sequence[Source]) -> set[float]:
            prints = [one.fingerprint for one in order]
            view = view_key(prints, buffers, dtype, pictures, network, builder.precision, builder.device)
            return listed_alphas(self.store, sweep_key(view))

        turned = {round(1 - alpha, 9) for alpha in listed(pair[::-1])}
        grids = {alpha for step in GRIDS for alpha in alpha_grid(step)}
        return merges_of(grids | listed(pair) | turned)

    def _told(self, recipes: Sequence[Recipe], data: str, pictures: DecodedCache) -> dict[Question, Told]:
        asked = [Question((recipe,), data, name) for recipe in recipes for name in CALIBRATED]
        try:
            found = self.runner.known(asked, pictures)
        except FusionError:  # a network that cannot be made has no figures either
            return {}
        return {question: told for question, told in zip(asked, found, strict=True) if told is not None}


def curve_row(pair: tuple[int, ...], curve: KnownCurve, names: Sequence[str]) -> Row | None:
    """The row of a comparison for the best merge of a curve between two of `names`; None of a single point, which is
    no curve.
    """
    best = curve.best
    if best is None or len(curve.merges) < 2:
        return None
    title = f"best alpha of the curve: {names[pair[0]]} {best:g}, {names[pair[1]]} {1 - best:g}"
    return Row(CURVE, title, "linear", pair, curve.path.buffers, {"alpha": best}, recipe=curve.path.at(best))


def chosen_on_curve(curve: KnownCurve, images: int) -> str:
    """How the alpha of that row came about."""
    return (
        f"alpha {curve.best:g} is the best of the {len(curve.merges)} that are known, chosen on the same {images}"
        " pictures: optimistic"
    )


def _figures(recipe: Recipe, data: str, told: Mapping[Question, Told]) -> dict[str, Any] | None:
    """Of a network all of whose basic figures are known; calibration beside them where it is known too."""
    found = {name: told.get(Question((recipe,), data, name)) for name in CALIBRATED}
    if any(found[name] is None for name in BASIC):
        return None
    return figures_of(one for one in found.values() if one is not None)
