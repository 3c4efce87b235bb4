"""How sure the network is and how often it is right: counts over a fine grid of confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fusionlib.contracts import METERS
from fusionlib.errors import DataError
from fusionlib.measures.bins import KEPT_BINS, OFFERED_BINS
from fusionlib.measures.calibration_figures import adaptive_ece, coarsen, misclassification_auroc
from fusionlib.measures.observation import Observation

FINE_BINS = 5040
"""Bins that are counted. 10, 12, 15, 20, 30 and 60 divide it (4096 has no divisor among them), so coarse bins are exact
sums.
"""

_UNIT = 2.0**-24
"""Fixed-point step of all sums; int64 then holds 5e11 pixels at 1."""

_LIMIT = 2.0**24
"""Losses at or above this many nats (and NaN, infinity) are undefined, as in the cross-entropy meter."""


class CalibrationMeter:
    """Histograms of confidence by predicted class, Brier score and negative log-likelihood, over every labelled pixel.

    The label is the confusion meter's (argmax in the network's space, mapped), right where it equals the truth.
    Confidence is the softmax probability of that label in the annotation's space, in float32: the maximum, and where
    several of the network's classes count as the label their sum. Were it the maximum alone, a network that is sure of
    "tree" but divided between vegetation and terrain would seem unsure and too often right. All classes without a
    counterpart are one category, which is always wrong.

    Bin k of B = 5040 is `[k / B, (k + 1) / B)`, decided exactly (in float64); 1.0 falls into the last one. Others take
    `(k / B, (k + 1) / B]`, which differs for confidences on an edge alone.

    State, with C classes and one row more for predictions outside: `outcomes` (2, C + 1, 5040) int64, wrong pixels,
    then right ones; `confidence` (C + 1, 5040) int64 in units of 2^-24; `losses` (2,) int64 in the same unit, Brier,
    then negative log-likelihood; `pixels`, `undefined`, `unlikely` () int64. Whole numbers: neither the order of the
    pictures nor how they are split changes a bit. Pixels with NaN are `undefined` and in no bin; those whose true class
    has probability 0 are `unlikely`: in the bins, but they leave the likelihood undefined.
    """

    title = "Calibration"
    version = 1
    source = "Guo et al. 2017; Weight Fusion, Eq. 3"

    def init(self, classes: int, device: torch.device) -> dict[str, torch.Tensor]:
        """Zeros for `classes` classes."""

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        return {
            "outcomes": zeros(2, classes + 1, FINE_BINS),
            "confidence": zeros(classes + 1, FINE_BINS),
            "losses": zeros(2),
            **{name: zeros() for name in ("pixels", "undefined", "unlikely")},
        }

    def update(self, state: dict[str, torch.Tensor], observation: Observation) -> None:
        """Add the labelled pixels of one batch. Raises `DataError` when the truth has an unknown id."""
        valid, confidence = observation.valid, observation.label_confidence  # first: one pass then serves what follows
        pixels = valid.sum()
        if int((observation.truth >= observation.classes).sum()) != valid.numel() - int(
            pixels
        ):  # more than the void ones
            raise DataError(
                f"Annotation ids {sorted(set(torch.unique(observation.truth).tolist()))}",
                f"ids 0 to {observation.classes - 1}, or 255 for void",
                "Correct the masks",
            )
        usable = valid & (confidence > 0)  # false for NaN
        self._add_bins(state, observation, confidence, usable)
        log_probability = observation.truth_log_probability
        likely = (log_probability > -_LIMIT).logical_and_(usable)
        self._add_losses(
            state, torch.stack([observation.squared_error, log_probability]), torch.stack([usable, likely])
        )
        counted, sure = usable.sum(), likely.sum()
        state["pixels"] += counted
        state["undefined"] += pixels - counted
        state["unlikely"] += counted - sure

    def _add_bins(
        self, state: dict[str, torch.Tensor], observation: Observation, confidence: torch.Tensor, usable: torch.Tensor
    ) -> None:
        cells = state["confidence"].numel()
        exact = confidence.double()
        fine = (exact * FINE_BINS).int().clamp_(0, FINE_BINS - 1)
        # Void pixels fall into one cell more instead of being selected away, which would copy all the others.
        cell = fine.add_(observation.predicted.int(), alpha=FINE_BINS).masked_fill_(~usable, 2 * cells).reshape(-1)
        # Whole numbers below 2^53 in float64: exact whatever the order of the additions.
        sums = torch.bincount(cell, exact.mul_(1 / _UNIT).round_().reshape(-1), minlength=cells)
        state["confidence"].view(-1).add_(sums[:cells].long())
        right = (observation.predicted == observation.truth_ids).logical_and_(usable).reshape(-1)
        outcomes = torch.bincount(cell.add_(right, alpha=cells), minlength=2 * cells)
        state["outcomes"].view(-1).add_(outcomes[: 2 * cells])

    def _add_losses(self, state: dict[str, torch.Tensor], losses: torch.Tensor, counted: torch.Tensor) -> None:
        """`losses`, `counted` (2, N, H, W): Brier and log-probability, whose sum is subtracted to give the likelihood's
        loss.
        """
        sums = losses.masked_fill_(~counted, 0.0).mul_(1 / _UNIT).round_().sum((1, 2, 3), dtype=torch.int64)
        state["losses"] += sums * sums.new_tensor([1, -1])

    def compute(self, state: dict[str, torch.Tensor]) -> dict[str, Any]:
        """One entry `calibration`, which `fusionlib.measures.calibration_summary` turns into figures for any offered
        number of bins.

        `counts`, `correct`, `confidence` (C + 1, 60) lists; `adaptive` (per offered count) and `auroc`: for all pixels
        first, then for the pixels predicted as each class, from the 5040 bins; `brier`, `nll`; `pixels`,
        `undefined_pixels`. None: undefined.
        """
        wrong, correct, confidence = (table.cpu().numpy() for table in (*state["outcomes"], state["confidence"]))
        fine = {"counts": wrong + correct, "correct": correct, "confidence": confidence}
        kept = {name: coarsen(table, KEPT_BINS) for name, table in fine.items()}
        rows = [
            dict(zip(fine, parts, strict=True))
            for parts in [tuple(table.sum(0) for table in fine.values()), *zip(*fine.values(), strict=True)]
        ]
        pixels, undefined, unlikely = (int(state[name]) for name in ("pixels", "undefined", "unlikely"))
        brier, nll = (
            total * _UNIT / pixels if pixels and not undefined else None for total in state["losses"].tolist()
        )
        return {
            "calibration": {
                "counts": kept["counts"].tolist(),
                "correct": kept["correct"].tolist(),
                "confidence": (kept["confidence"] * _UNIT).tolist(),
                "adaptive": {str(bins): [_adaptive(row, bins) for row in rows] for bins in OFFERED_BINS},
                "auroc": [misclassification_auroc(row["correct"], row["counts"] - row["correct"]) for row in rows],
                "brier": brier,
                "nll": None if unlikely else nll,
                "pixels": pixels,
                "undefined_pixels": undefined,
            }
        }


def _adaptive(row: dict[str, np.ndarray], bins: int) -> float | None:
    return adaptive_ece(row["counts"], row["correct"], row["confidence"] * _UNIT, bins)


METERS.register("calibration")(CalibrationMeter())
