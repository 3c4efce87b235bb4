"""Whether confidence tells right from wrong: risk against coverage, its area, false positives at 95 % recall."""

from __future__ import annotations

import numpy as np

from fusionlib.errors import UsageError
from fusionlib.measures.bins import FINE_BINS, KEPT_BINS, WITHIN

KEPT, OF = 19, 20
"""The threshold of FPR95 keeps 19 of 20 right pixels, decided in whole numbers."""


def risk_coverage(right: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk at every threshold that keeps more pixels than the last: counts (B,) of right and wrong pixels
    by rising confidence -> two (n,) float64.

    Where only pixels of confidence >= t are answered, coverage is their share of all, risk the share of them that is
    wrong. Pixels of one entry are tied: they are kept together. Empty without pixels. Source: Geifman & El-Yaniv,
    "Selective Classification for Deep Neural Networks", 2017.

    Raises `UsageError` for counts of different lengths.
    """
    right, wrong = _checked(right, wrong)
    kept = (right + wrong) > 0
    hits, misses = np.cumsum(right[kept][::-1]), np.cumsum(wrong[kept][::-1])
    covered = hits + misses
    return covered / covered[-1:], misses / covered


def aurc(right: np.ndarray, wrong: np.ndarray) -> float | None:
    """Area under risk against coverage: sum over thresholds of the step of coverage times the risk; None without
    pixels.
    """
    coverage, risk = risk_coverage(right, wrong)
    return float((np.diff(coverage, prepend=0.0) * risk).sum()) if len(coverage) else None


def fpr95(right: np.ndarray, wrong: np.ndarray) -> float | None:
    """Share of the wrong pixels with confidence >= t, at the largest t that keeps 95 % of the right ones; None without
    the one or the other.
    """
    right, wrong = _checked(right, wrong)
    if not right.sum() or not wrong.sum():
        return None
    hits, misses = np.cumsum(right[::-1]), np.cumsum(wrong[::-1])
    place = int(np.argmax(OF * hits >= KEPT * hits[-1]))
    return float(misses[place] / misses[-1])


def by_confidence(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong pixels at each confidence that occurs, rising: confidences (n,) and whether they are right (n,)
    bool -> two (B,) int64.
    """
    values, places = np.unique(np.asarray(confidence).ravel(), return_inverse=True)
    right = np.asarray(right, bool).ravel()
    total = np.bincount(places.ravel(), minlength=len(values))
    hits = np.bincount(places.ravel()[right], minlength=len(values))
    return hits, total - hits


def binned(outcomes: np.ndarray, top: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right and wrong pixels by rising confidence, and the confidence of each bin in units of 1/5040, (143,) each, of
    the state of the measure `calibration`: `outcomes` (2, C + 1, 60) and `top` (2, 84).

    59 bins of 1/60 and, within the last, 84 of 1/5040, each taken at its middle: at most 1/120 off, 1/10080 from 59/60
    on.
    """
    wrong, right = (
        np.concatenate([table[:, : KEPT_BINS - 1].sum(0), fine]) for table, fine in zip(outcomes, top, strict=True)
    )
    coarse = WITHIN * (np.arange(KEPT_BINS - 1) + 0.5)
    return right, wrong, np.concatenate([coarse, FINE_BINS - WITHIN + np.arange(WITHIN) + 0.5])


def confident_error(outcomes: np.ndarray, top: np.ndarray) -> float | None:
    """Confidence of the wrong pixels summed, over all pixels, see `binned`: 1 where all are wrong and sure; None
    without pixels.
    """
    right, wrong, units = binned(outcomes, top)
    pixels = int(right.sum() + wrong.sum())
    return float(wrong @ units) / FINE_BINS / pixels if pixels else None


def _checked(right: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    right, wrong = np.asarray(right, np.int64), np.asarray(wrong, np.int64)
    if right.shape != wrong.shape or right.ndim != 1:
        raise UsageError(
            f"Counts {right.shape} and {wrong.shape}", "right and wrong pixels of the same bins", "Count both"
        )
    return right, wrong
