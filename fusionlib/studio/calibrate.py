"""Calibration of a view: the networks of interest and the whole path, measured in the background and kept in the
store.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from fusionlib.engine.blend import Blend
from fusionlib.engine.ensemble import OutputEnsemble
from fusionlib.engine.maps import bands
from fusionlib.engine.network import Network
from fusionlib.engine.observe import target_mapping
from fusionlib.engine.reliability_maps import ReliabilityMaps, reliability_maps
from fusionlib.engine.worker import FRAME, Run
from fusionlib.errors import DataError, UsageError
from fusionlib.imaging.highlight import highlight
from fusionlib.measures.bins import DEFAULT_BINS
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.merging.linear import Linear
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.studies.curve import CALIBRATED
from fusionlib.studio.sweep import Point, Sweep
from fusionlib.studio.view import MergeView

_ENSEMBLE = "ensemble@"


def ensemble_point(alpha: float) -> str:
    """The point that stands for the output ensemble `alpha A + (1 - alpha) B` of probabilities."""
    return f"{_ENSEMBLE}{Linear(alpha).shares(2)[0]!r}"


class CalibrationSweep(Sweep):
    """A sweep whose points also carry calibration, and which knows output ensembles of A and B as points.

    Raises `DataError` where the pictures have no masks.
    """

    measures = CALIBRATED

    def __init__(self, view: MergeView, runner: Runner, store: Store) -> None:
        if not view.need_pictures().labelled:
            raise DataError(
                f"{view.need_pictures().title} has no masks",
                "labelled pictures: calibration compares confidence with truth",
                "Choose data with masks in the sidebar",
            )
        super().__init__(view, runner, store)
        self.title = f"calibration {view.selection.a} - {view.selection.b}"
        self._shown_by: Blend | None = None
        self._looking = threading.Lock()

    def recipe_at(self, point: Point) -> Recipe:
        """As in any sweep; a point may be an output ensemble."""
        alpha = _alpha_of(point)
        return super().recipe_at(point) if alpha is None else self.view.ensemble(alpha)

    def find(self, point: Point) -> dict[str, Any] | None:
        """The figures of a point where they are known, here or in the store."""
        if point not in self.points:
            self._recall((point,))
        return self.points.get(point)

    def summary(self, point: Point, bins: int = DEFAULT_BINS, label: int | None = None) -> dict[str, Any] | None:
        """Calibration of a point with its mIoU (none for one class alone) and pixel accuracy; None while it is not
        measured.
        """
        known = self.find(point)
        if known is None:
            return None
        return {
            **calibration_summary(known["calibration"], bins, label),
            "miou": known["miou"] if label is None else None,
        }

    def curve(self, bins: int = DEFAULT_BINS) -> list[dict[str, Any]]:
        """Summaries along alpha, in order, each with its `alpha`: all points known."""
        for end in (0.0, 1.0):  # under most policies A and B themselves, which may be known as such
            self.find(end)
        alphas = sorted(point for point in self.points if isinstance(point, float))
        return [{"alpha": alpha, **(self.summary(alpha, bins) or {})} for alpha in alphas]

    def where(
        self, point: Point, index: int, bins: int, number: int, label: int | None = None
    ) -> tuple[np.ndarray, int, int]:
        """Picture `index` with the pixels of one confidence bin in colour (H, W, 3) uint8, and how many are right and
        wrong.
        """
        count = len(self.view.need_pictures())
        if not 0 <= index < count or not 0 <= number < bins:
            raise UsageError(
                f"Picture {index}, bin {number}", f"0 to {count - 1}, and 0 to {bins - 1}", "Choose another"
            )
        right, wrong = self._maps_of(point, index).chosen(bins, number, label)
        image = self.view.need_pictures().load(index).image
        return highlight(image, right, wrong), int(right.sum()), int(wrong.sum())

    def _maps_of(self, point: Point, index: int) -> ReliabilityMaps:
        key, recent = ("maps", self.view.id, point, index), self.view.recent
        with self._looking:
            if (known := recent.get(key)) is not None:  # another bin of the same picture shows at once
                return known
            maps = self._look(point, index)
            return recent.keep(key, maps, maps.bytes)

    def _look(self, point: Point, index: int) -> ReliabilityMaps:
        view, sample = self.view, self.view.need_pictures().load(index)
        if sample.truth is None:
            raise DataError(f"{sample.name} has no mask", "a labelled picture", "Choose another")

        def run(call: Any) -> Any:
            return view.worker.run(call, FRAME)

        self._shown_by = self._shown_by or view.new_blend()
        network = self._network_at(point, self._shown_by, run)

        def observe() -> ReliabilityMaps:
            with torch.inference_mode():
                logits = network.logits(sample.image[None], sample.truth.shape)  # type: ignore[union-attr]
                truth = torch.from_numpy(sample.truth)[None].to(view.device)  # type: ignore[arg-type]
                mapping = target_mapping(view.source_space, view.space, view.device)
                return reliability_maps(bands(logits, truth, mapping, view.space.count))

        return run(observe)

    def _network_at(self, point: Point, blend: Blend, run: Run) -> Network:
        """A network to look through, made at once: interactive frames do not wait for the runner."""
        if (alpha := _alpha_of(point)) is not None:
            members = [_Alone(blend, number, run) for number in range(len(self.view.ends))]
            return OutputEnsemble(members, self.view.path.shares(alpha), fingerprints=self.view.arena.fingerprints)
        if isinstance(point, str):
            blend.set_alone(self.view.ends.index(point), run)
        else:
            blend.set(self.view.uniform(point), run)
        return blend.network


class _Alone:
    """Checkpoint `number` of a view, in a network that takes in whichever is asked."""

    def __init__(self, blend: Blend, number: int, run: Run) -> None:
        self._blend, self._number, self._run = blend, number, run
        self.device = blend.network.device

    def logits(self, images: np.ndarray, size: tuple[int, int] | None = None) -> torch.Tensor:
        """As any network's."""
        self._blend.set_alone(self._number, self._run)
        return self._blend.network.logits(images, size)


def _alpha_of(point: Point) -> float | None:
    return float(point.removeprefix(_ENSEMBLE)) if isinstance(point, str) and point.startswith(_ENSEMBLE) else None
