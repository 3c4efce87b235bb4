"""Calibration in fine bins: adaptive ECE and AUROC of every class, on request."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.bins import DEFAULT_BINS, FINE_BINS, KEPT_BINS, OFFERED_BINS
from fusionlib.measures.calibration import add_losses, fine_bins, losses_of, usable_pixels
from fusionlib.measures.calibration_figures import adaptive_ece, coarsen, misclassification_auroc
from fusionlib.measures.observation import UNIT, Observation


class CalibrationFine:
    """The histograms of the measure `calibration` in B = 5040 bins, which 10, 12, 15, 20, 30 and 60 divide.

    State, with C classes and one row more for predictions outside: `outcomes` (2, C + 1, 5040) int64, wrong pixels,
    then right ones; `confidence` (C + 1, 5040) int64 in steps of 2^-24; `losses`, `pixels`, `undefined` and `unlikely`
    as there. Too much to keep of every picture, so one state stands for all of them.
    """

    title: ClassVar[str] = "Calibration in fine bins"
    summary: ClassVar[str] = "Adaptive ECE and AUROC of every predicted class"
    source: ClassVar[str] = "Nixon et al. 2019 (adaptive ECE); Mann-Whitney statistic (AUROC)"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "one"
    grain: ClassVar[Grain] = "split"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("class_adaptive_ece", "Adaptive ECE", "%", "lower", 2, "By predicted class, in 15 bins", "class"),
        Figure("class_auroc", "AUROC", "", "higher", 3, "How far confidence separates right from wrong", "class"),
    )

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """Zeros for `classes` classes."""
        shapes = {
            "outcomes": (2, classes + 1, FINE_BINS),
            "confidence": (classes + 1, FINE_BINS),
            "losses": (2,),
            **dict.fromkeys(("pixels", "undefined", "unlikely"), ()),
        }
        return {name: torch.zeros(shape, dtype=torch.int64, device=device) for name, shape in shapes.items()}

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels. Raises `DataError` when the truth has an unknown id."""
        (observation,) = observations
        usable = usable_pixels(observation)
        cells = state["confidence"].numel()
        fine = fine_bins(observation.label_confidence)
        cell = fine.add_(observation.predicted_bytes.int(), alpha=FINE_BINS).masked_fill_(~usable, 2 * cells).view(-1)
        steps = observation.label_confidence.double().mul_(1 / UNIT).round_().view(-1)
        # Whole numbers below 2^53 in float64: exact whatever the order of the additions.
        sums = torch.bincount(cell, steps, minlength=cells)
        state["confidence"].view(-1).add_(sums[:cells].long())
        outcomes = torch.bincount(cell.add_(observation.right.view(-1), alpha=cells), minlength=2 * cells)
        state["outcomes"].view(-1).add_(outcomes[: 2 * cells])
        add_losses(state, observation, usable)

    def compute(self, state: State) -> dict[str, Any]:
        """`calibration_fine`: what the measure `calibration` gives, with `adaptive` and `auroc` of every class from the
        5040 bins; and the figures by class, C each.
        """
        wrong, correct, confidence = (table.cpu().numpy() for table in (*state["outcomes"], state["confidence"]))
        fine = {"counts": wrong + correct, "correct": correct, "confidence": confidence}
        kept = {name: coarsen(table, KEPT_BINS) for name, table in fine.items()}
        whole = {name: table.sum(0) for name, table in fine.items()}
        rows = [whole, *(dict(zip(fine, parts, strict=True)) for parts in zip(*fine.values(), strict=True))]
        record = {
            "counts": kept["counts"].tolist(),
            "correct": kept["correct"].tolist(),
            "confidence": (kept["confidence"] * UNIT).tolist(),
            "adaptive": {str(bins): [_adaptive(row, bins) for row in rows] for bins in OFFERED_BINS},
            "auroc": [misclassification_auroc(row["correct"], row["counts"] - row["correct"]) for row in rows],
            **losses_of(state),
        }
        return {
            "calibration_fine": record,
            "class_adaptive_ece": record["adaptive"][str(DEFAULT_BINS)][1:-1],
            "class_auroc": record["auroc"][1:-1],
        }


def _adaptive(row: dict[str, np.ndarray], bins: int) -> float | None:
    return adaptive_ece(row["counts"], row["correct"], row["confidence"] * UNIT, bins)


MEASURES.register("calibration_fine")(CalibrationFine())
