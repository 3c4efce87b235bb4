"""How sure the network is and how often it is right: counts over 60 bins of confidence, by predicted class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.errors import DataError
from fusionlib.measures.bins import FINE_BINS, KEPT_BINS, OFFERED_BINS, WITHIN
from fusionlib.measures.calibration_figures import adaptive_ece, misclassification_auroc
from fusionlib.measures.calibration_summary import FIGURES, calibration_summary
from fusionlib.measures.observation import UNIT, Observation, fixed_sum

STEP = 2.0**-20
"""Step of the sums of confidence: at most 5e-7 off at a pixel, and as often above as below."""

_COLUMNS = KEPT_BINS - 1 + WITHIN
"""Bins that are told apart: 59 of the kept ones, and the fine ones of the last."""

_CENTRES = torch.tensor([round((number + 0.5) / KEPT_BINS / STEP) for number in range(KEPT_BINS)])
"""The middle of every kept bin in steps."""


class Calibration:
    """Histograms of confidence by predicted class, Brier score and negative log-likelihood, over every labelled pixel.

    The label is the confusion matrix's (argmax in the network's space, mapped), right where it equals the truth.
    Confidence is the softmax probability of that label in the annotation's space, in float32: the maximum, and where
    several of the network's classes count as the label their sum. Were it the maximum alone, a network that is sure of
    "tree" but divided between vegetation and terrain would seem unsure and too often right. All classes without a
    counterpart are one category, which is always wrong.

    Bin k of B = 60 is `[k / B, (k + 1) / B)`, decided exactly (in float64); 1.0 falls into the last one. Others take
    `(k / B, (k + 1) / B]`, which differs for confidences on an edge alone. Most pixels fall into the last bin, so that
    what needs finer ones (adaptive ECE, AUROC) is computed from the other 59 and the 84 of 5040 that make up the last,
    over all pixels: within 2e-3 of 5040 bins. By class it takes the measure `calibration_fine`.

    State, with C classes and one row more for predictions outside: `outcomes` (2, C + 1, 60) int64, wrong pixels, then
    right ones; `offsets` (C + 1, 60) int64, sums of confidence less the bin's middle in steps of 2^-20 (small numbers,
    which pack well); `top` (2, 84) int64, outcomes in the fine bins of the last; `losses` (2,) int64 in steps of 2^-24,
    Brier, then negative log-likelihood; `pixels`, `undefined`, `unlikely` () int64. Whole numbers: neither the order of
    the pictures nor how they are split changes a bit. Pixels with NaN are `undefined` and in no bin; those whose true
    class has probability 0 are `unlikely`: in the bins, but they leave the likelihood undefined.
    """

    title: ClassVar[str] = "Calibration"
    summary: ClassVar[str] = "Whether a network is right as often as it is sure: ECE and its kin, proper scores"
    source: ClassVar[str] = "Guo et al. 2017; Weight Fusion, Eq. 3"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "one"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = FIGURES

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """Zeros for `classes` classes."""
        shapes = {
            "outcomes": (2, classes + 1, KEPT_BINS),
            "offsets": (classes + 1, KEPT_BINS),
            "top": (2, WITHIN),
            "losses": (2,),
            **dict.fromkeys(("pixels", "undefined", "unlikely"), ()),
        }
        return {name: torch.zeros(shape, dtype=torch.int64, device=device) for name, shape in shapes.items()}

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels. Raises `DataError` when the truth has an unknown id."""
        (observation,) = observations
        usable = usable_pixels(observation)
        _add_bins(state, observation, usable)
        add_losses(state, observation, usable)

    def compute(self, state: State) -> dict[str, Any]:
        """`calibration`, which `fusionlib.measures.calibration_summary` turns into figures for any offered number of
        bins; and those of 15 bins by name.

        `counts`, `correct`, `confidence` (C + 1, 60) lists; `adaptive` (per offered count) and `auroc`: for all pixels
        first, then None for the pixels predicted as each class; `brier`, `nll`; `pixels`, `undefined_pixels`. None:
        undefined, or not known from 60 bins.
        """
        wrong, correct = state["outcomes"].cpu().numpy()
        counts = wrong + correct
        confidence = (state["offsets"].cpu().numpy() + counts * _CENTRES.numpy()) * STEP
        apart = _told_apart(counts, correct, confidence, state["top"].cpu().numpy())
        unknown = [None] * len(counts)
        record = {
            "counts": counts.tolist(),
            "correct": correct.tolist(),
            "confidence": confidence.tolist(),
            "adaptive": {str(bins): [adaptive_ece(*apart, bins), *unknown] for bins in OFFERED_BINS},
            "auroc": [misclassification_auroc(apart[1], apart[0] - apart[1]), *unknown],
            **losses_of(state),
        }
        return {"calibration": record, **named(record)}


def named(record: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a record at the default number of bins, by name."""
    summary = calibration_summary(record)
    return {figure.name: summary[figure.name] for figure in FIGURES}


def usable_pixels(observation: Observation) -> torch.Tensor:
    """(N, H, W) bool: labelled pixels without NaN. Raises `DataError` when the truth has an unknown id."""
    void = observation.truth.numel() - observation.pixels
    if bool(torch.count_nonzero(observation.truth >= observation.classes) != void):
        raise DataError(
            f"Annotation ids {sorted(set(torch.unique(observation.truth).tolist()))}",
            f"ids 0 to {observation.classes - 1}, or 255 for void",
            "Correct the masks",
        )
    return (observation.label_confidence > 0).logical_and_(observation.valid)  # false for NaN


def fine_bins(confidence: torch.Tensor) -> torch.Tensor:
    """(N, H, W) int32: which of the 5040 bins, exactly: a product of 24 and 13 bits fits float64. NaN anywhere."""
    return (confidence.double() * FINE_BINS).int().clamp_(0, FINE_BINS - 1)


def add_losses(state: State, observation: Observation, usable: torch.Tensor) -> None:
    """Add `losses`, `pixels`, `undefined` and `unlikely` of the pixels that are `usable`."""
    counted, loss = usable.sum(), observation.loss  # pixels with NaN are beyond its limit too
    undefined = observation.pixels - counted
    state["losses"] += torch.stack([fixed_sum(observation.squared_error, usable), loss.steps])
    state["pixels"] += counted
    state["undefined"] += undefined
    state["unlikely"] += loss.beyond - undefined


def losses_of(state: State) -> dict[str, Any]:
    """`brier`, `nll`, `pixels` and `undefined_pixels` of what `add_losses` has added."""
    pixels, undefined, unlikely = (int(state[name]) for name in ("pixels", "undefined", "unlikely"))
    brier, nll = (total * UNIT / pixels if pixels and not undefined else None for total in state["losses"].tolist())
    return {
        "brier": brier,
        "nll": None if unlikely else nll,
        "pixels": pixels,
        "undefined_pixels": undefined,
    }


def _add_bins(state: State, observation: Observation, usable: torch.Tensor) -> None:
    fine, rows = fine_bins(observation.label_confidence), state["offsets"].shape[0]
    # 84 fine bins are a kept one: x * 12484 >> 20 is x // 84 for all of them, six times faster.
    column = torch.maximum((fine * 12484) >> 20, fine - (KEPT_BINS - 1) * (WITHIN - 1))
    cells = rows * _COLUMNS
    cell = column.add_(observation.predicted_bytes.int(), alpha=_COLUMNS).add_(observation.right, alpha=cells)
    # Other pixels fall into one cell more instead of being selected away, which would copy all the others.
    cell = cell.masked_fill_(~usable, 2 * cells).view(-1)
    steps = (observation.label_confidence * (1 / STEP)).round_().view(-1)
    outcomes = torch.bincount(cell, minlength=2 * cells + 1)[:-1].view(2, rows, _COLUMNS)
    # Whole numbers below 2^53 in float64: exact whatever the order of the additions.
    sums = torch.bincount(cell, steps.double(), minlength=2 * cells + 1)[:-1].view(2, rows, _COLUMNS)
    kept = _kept(outcomes)
    state["outcomes"] += kept
    state["offsets"] += _kept(sums.sum(0).long()) - kept.sum(0) * _CENTRES.to(kept.device)
    state["top"] += outcomes[:, :, KEPT_BINS - 1 :].sum(1)


def _kept(columns: torch.Tensor) -> torch.Tensor:
    """(..., 143) -> (..., 60): the fine bins of the last one together."""
    return torch.cat([columns[..., : KEPT_BINS - 1], columns[..., KEPT_BINS - 1 :].sum(-1, keepdim=True)], -1)


def _told_apart(
    counts: np.ndarray, correct: np.ndarray, confidence: np.ndarray, top: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, right ones and sums of confidence over all classes in 143 bins, (143,) each.

    Within the last bin confidences are the middles of the fine bins, moved together so that their sum is what it is.
    """
    inside, last = top.sum(0), confidence[:, -1].sum()
    middles = inside * (FINE_BINS - WITHIN + np.arange(WITHIN) + 0.5) / FINE_BINS
    moved = middles + inside * ((last - middles.sum()) / max(1, inside.sum()))
    tables = ((counts, inside), (correct, top[1]), (confidence, moved))
    first, second, third = (np.concatenate([table[:, :-1].sum(0), fine]) for table, fine in tables)
    return first, second, third


MEASURES.register("calibration")(Calibration())
