"""Calibration of a view: the networks of interest and the whole path, measured in the background and kept in the
store.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fusionlib.engine.blend import Blend
from fusionlib.engine.ensemble import OutputEnsemble
from fusionlib.engine.maps import bands
from fusionlib.engine.measure import target_mapping
from fusionlib.engine.network import Network
from fusionlib.engine.reliability_maps import ReliabilityMaps, reliability_maps
from fusionlib.engine.worker import FRAME, Run
from fusionlib.errors import DataError, UsageError
from fusionlib.imaging.highlight import highlight
from fusionlib.measures.bins import DEFAULT_BINS
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.merging.linear import Linear
from fusionlib.runs.keys import ensemble_key
from fusionlib.runs.store import Store
from fusionlib.studio.sweep import Point, Sweep
from fusionlib.studio.view import MergeView

CALIBRATION_METERS = ("confusion", "calibration", "cross_entropy")
"""Calibration before cross-entropy: it leaves behind what the loss needs, so the softmax is computed once."""

_ENSEMBLE = "ensemble@"


def ensemble_point(alpha: float) -> str:
    """The point that stands for the output ensemble `alpha A + (1 - alpha) B` of probabilities."""
    return f"{_ENSEMBLE}{Linear(alpha).shares(2)[0]!r}"


class CalibrationSweep(Sweep):
    """A sweep whose points also carry calibration, and which knows output ensembles of A and B as points.

    Raises `DataError` where the pictures have no masks.
    """

    def __init__(self, view: MergeView, store: Store) -> None:
        if not view.need_pictures().labelled:
            raise DataError(
                f"{view.need_pictures().title} has no masks",
                "labelled pictures: calibration compares confidence with truth",
                "Choose data with masks in the sidebar",
            )
        super().__init__(view, store, CALIBRATION_METERS)
        self.title = f"calibration {view.selection.a} - {view.selection.b}"
        self._second: Blend | None = None
        self._eyes: tuple[Blend, Blend] | None = None
        self._looking = threading.Lock()

    def mixture_of(self, point: Point) -> dict[str, Any]:
        """As in any sweep; an ensemble is its members with their shares."""
        alpha = _alpha_of(point)
        if alpha is None:
            return super().mixture_of(point)
        return dict(ensemble_key(self.view.arena.fingerprints, Linear(alpha).shares(2), "softmax"))

    def network_at(self, point: Point, blend: Blend, run: Run) -> Network:
        """As in any sweep; an ensemble needs a second network beside the blend's."""
        alpha = _alpha_of(point)
        if alpha is None:
            return super().network_at(point, blend, run)
        self._second = self._second or self.view.new_blend()
        return self._ensemble((blend, self._second), alpha, run)

    def find(self, point: Point) -> dict[str, Any] | None:
        """The figures of a point where they are known, here or in the store."""
        known = self.points.get(point)
        if known is None:
            known = self.store.get(self.point_key(point))
            if known is not None:
                with self.guard:
                    self.points[point] = known
        return known

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
        with self.guard:
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

        self._eyes = self._eyes or (view.new_blend(), view.new_blend())
        alpha = _alpha_of(point)
        network = (
            super().network_at(point, self._eyes[0], run) if alpha is None else self._ensemble(self._eyes, alpha, run)
        )

        def observe() -> ReliabilityMaps:
            with torch.inference_mode():
                logits = network.logits(sample.image[None], sample.truth.shape)  # type: ignore[union-attr]
                truth = torch.from_numpy(sample.truth)[None].to(view.device)  # type: ignore[arg-type]
                mapping = target_mapping(view.source_space, view.space, view.device)
                return reliability_maps(bands(logits, truth, mapping, view.space.count))

        return run(observe)

    def _ensemble(self, blends: Sequence[Blend], alpha: float, run: Run) -> OutputEnsemble:
        for number, blend in enumerate(blends):
            blend.set_alone(number, run)
        return OutputEnsemble(
            [blend.network for blend in blends], Linear(alpha).shares(2), fingerprints=self.view.arena.fingerprints
        )


def _alpha_of(point: Point) -> float | None:
    return float(point.removeprefix(_ENSEMBLE)) if isinstance(point, str) and point.startswith(_ENSEMBLE) else None
