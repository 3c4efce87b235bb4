"""Figures of calibration, for plain arrays: how far confidence is from accuracy, and how far it separates right from
wrong.

Shapes: B bins of confidence in order, bin k being `[k / B, (k + 1) / B)` and 1.0 in the last; `counts` pixels per bin,
`correct` those of them that are right, `confidence_sums` the sum of their confidences. All functions are written for
these three (B,) arrays, integers or floats, so coarse bins are sums of fine ones. A figure is None where it is
undefined (no pixel, or none of the two kinds that it compares).

TEXT below is "Improving Predictive Performance and Calibration by Weight Fusion in Semantic Segmentation".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fusionlib.errors import UsageError

EPSILON = 1e-12
"""Added to both histograms of the KL divergence; TEXT does not say what it does with empty bins."""

WEIGHTINGS = ("sample", "unweighted")
EMPTY = ("skip", "count")


def coarsen(histogram: Any, bins: int) -> np.ndarray:
    """Sums of neighbouring bins: (..., B) -> (..., bins), exact for integers.

    Raises `UsageError` unless `bins` divides B.
    """
    fine = np.asarray(histogram)
    if bins < 1 or fine.shape[-1] % bins:
        raise UsageError(
            f"{bins} bins out of {fine.shape[-1]}",
            "a divisor, so that every fine bin lies in one coarse bin",
            "Try 10, 12, 15, 20 or 30",
        )
    return fine.reshape(*fine.shape[:-1], bins, -1).sum(-1)


def ece(
    counts: Any, correct: Any, confidence_sums: Any, weighting: str = "sample", empty: str = "skip"
) -> float | None:
    """Expected calibration error: the mean over bins of `gap_b = |correct_b / n_b - confidence_sum_b / n_b|`, a
    fraction.

    `sample`: `sum_b n_b / N gap_b` (Guo et al. 2017, Eq. 3). `unweighted`: `1 / B sum_b gap_b`, as TEXT writes it,
    where a bin of three pixels weighs as much as one of three million. Empty bins have no gap and add nothing; with
    `empty="skip"` the B of the unweighted mean counts only the others, with `"count"` all of them (which makes the
    figure smaller; TEXT does not say which).

    Raises `UsageError` for unknown names, or arrays that are no histogram.
    """
    if weighting not in WEIGHTINGS or empty not in EMPTY:
        raise UsageError(
            f"weighting {weighting!r}, empty {empty!r}", f"one of {WEIGHTINGS} and one of {EMPTY}", "Correct the name"
        )
    n, hits, sums = _histogram(counts, correct, confidence_sums)
    if not n.sum():
        return None
    if weighting == "sample":
        return float(np.abs(hits - sums).sum() / n.sum())
    full = n > 0
    total = (np.abs(hits - sums)[full] / n[full]).sum()
    return float(total / (len(n) if empty == "count" else full.sum()))


def mce(counts: Any, correct: Any, confidence_sums: Any, minimum_count: int = 1) -> float | None:
    """Maximum calibration error: the largest gap over the bins with at least `minimum_count` pixels, a fraction.

    `minimum_count=1` is the literal definition (Guo et al. 2017, Eq. 5): a single pixel can then decide it.
    """
    if minimum_count < 1:
        raise UsageError(f"A minimum of {minimum_count} pixels", "at least 1", "Use 1 for the literal definition")
    n, hits, sums = _histogram(counts, correct, confidence_sums)
    enough = n >= minimum_count
    return float((np.abs(hits - sums)[enough] / n[enough]).max()) if enough.any() else None


def adaptive_ece(counts: Any, correct: Any, confidence_sums: Any, bins: int = 15) -> float | None:
    """ECE over `bins` groups of equal mass in place of equal width: `1 / bins sum_g |accuracy_g - confidence_g|`.

    The groups are cut out of the histogram given; a bin that straddles a boundary is shared in proportion, so within it
    pixels count as alike. The finer the histogram the nearer this is to sorting all pixels (off by at most a bin's
    width).

    Source: Nguyen and O'Connor 2015, section 4; Nixon et al. 2019 ("Measuring Calibration in Deep Learning"), ACE
    without classes.
    """
    n, hits, sums = _histogram(counts, correct, confidence_sums)
    total = n.sum()
    if not total:
        return None
    if bins < 1:
        raise UsageError(f"{bins} groups", "at least 1", "Try 15")
    edges = np.linspace(0, total, bins + 1)
    reached = np.concatenate([[0.0], np.cumsum(n)])
    signed = np.concatenate([[0.0], np.cumsum(hits - sums)])
    full = np.concatenate([[True], n > 0])  # a flat stretch of `reached` is one place on the axis of mass
    return float(np.abs(np.diff(np.interp(edges, reached[full], signed[full]))).sum() / total)


def classwise_ece(counts: Any, correct: Any, confidence_sums: Any) -> float | None:
    """Mean over classes of the sample-weighted ECE of each class: three (C, B) arrays; classes without pixels are left
    out.

    With the pixels PREDICTED as a class in its row, as the calibration meter counts them, it is the top-label form
    (Gupta and Ramdas 2022, "Top-label calibration"): when the network says car with 0.8, is it a car in 8 of 10? With
    the probability of class c at EVERY pixel in row c it is the form of Kull et al. 2019 ("Beyond temperature
    scaling"), which costs C times as much.
    """
    rows = [ece(*row) for row in zip(np.asarray(counts), np.asarray(correct), np.asarray(confidence_sums), strict=True)]
    known = [row for row in rows if row is not None]
    return float(np.mean(known)) if known else None


def brier(probabilities: Any, truth: Any) -> float | None:
    """Multi-class Brier score, `1 / N sum_n sum_c (p_nc - [c = truth_n])^2`, from 0 to 2: (N, C) and (N,) ids."""
    p, ids = _predictions(probabilities, truth)
    if not len(ids):
        return None
    return float((np.square(p).sum(1) - 2 * p[np.arange(len(ids)), ids] + 1).mean())


def nll(probabilities: Any, truth: Any) -> float | None:
    """Mean negative log-likelihood, `-1 / N sum_n log p_n,truth_n`, in nats: (N, C) and (N,) ids; None for a
    probability of 0.
    """
    p, ids = _predictions(probabilities, truth)
    chosen = p[np.arange(len(ids)), ids]
    return float(-np.log(chosen).mean()) if len(ids) and (chosen > 0).all() else None


def kl(correct: Any, wrong: Any, epsilon: float = EPSILON) -> float | None:
    """`sum_b P_b log(P_b / Q_b)` in nats: P the confidence histogram of right pixels, Q of wrong ones, both (B,),
    normalised.

    `epsilon` is added to every normalised bin of both, which are then normalised again, so that an empty bin of Q costs
    at most `-log epsilon`. 0: confidence says nothing about being right. None where one of the two sets is empty.

    Source: TEXT, Eq. 3, with the sign turned: as printed (`-sum P log(P / Q)`) it could not be positive, and its tables
    are.
    """
    p, q = _normalised(correct), _normalised(wrong)
    if p is None or q is None:
        return None
    p, q = ((part + epsilon) / (part + epsilon).sum() for part in (p, q))
    return float(_relative_entropy(p, q))


def jensen_shannon(correct: Any, wrong: Any) -> float | None:
    """`KL(P, M) / 2 + KL(Q, M) / 2` with `M = (P + Q) / 2`, in nats from 0 to log 2: symmetric, and needs no
    epsilon.
    """
    p, q = _normalised(correct), _normalised(wrong)
    if p is None or q is None:
        return None
    middle = (p + q) / 2
    return float(_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2


def misclassification_auroc(correct: Any, wrong: Any) -> float | None:
    """Probability that a right pixel is more confident than a wrong one, pixels of one bin counted half: 0.5 is chance.

    `sum_b c_b (sum_{j < b} w_j + w_b / 2) / (sum c sum w)`, the Mann-Whitney statistic, from two (B,) histograms.

    Ties of a bin hide the order within it: the figure is off by at most `sum_b c_b w_b / (2 sum c sum w)`, and lies low
    where confidence separates within bins as well. With the 5040 bins of the calibration meter that is 0.01 when half
    of the right pixels and 4 % of the wrong ones are above 0.9998, in the last bin.
    """
    right, wrong = np.asarray(correct, np.float64), np.asarray(wrong, np.float64)
    if not right.sum() or not wrong.sum():
        return None
    below = np.cumsum(wrong) - wrong
    return float((right * (below + wrong / 2)).sum() / (right.sum() * wrong.sum()))


def _histogram(*arrays: Any) -> Sequence[np.ndarray]:
    n, hits, sums = (np.asarray(array, np.float64) for array in arrays)
    if n.ndim != 1 or not n.shape == hits.shape == sums.shape:
        raise UsageError(
            f"Histograms of shapes {n.shape}, {hits.shape} and {sums.shape}",
            "three arrays (B,)",
            "Give one class at a time",
        )
    if (n < 0).any() or (hits < 0).any() or (hits > n).any():
        raise UsageError(
            "A bin with fewer pixels than right ones, or fewer than none", "0 <= correct <= counts", "Check their order"
        )
    return n, hits, sums


def _predictions(probabilities: Any, truth: Any) -> tuple[np.ndarray, np.ndarray]:
    p, ids = np.asarray(probabilities, np.float64), np.asarray(truth, np.int64)
    if p.ndim != 2 or ids.shape != p.shape[:1] or (len(ids) and not 0 <= ids.min() <= ids.max() < p.shape[1]):
        raise UsageError(
            f"Probabilities {p.shape} and truth {ids.shape}",
            "(N, C) and (N,) ids from 0 to C - 1",
            "Leave void pixels out",
        )
    return p, ids


def _normalised(histogram: Any) -> np.ndarray | None:
    values = np.asarray(histogram, np.float64)
    return values / values.sum() if values.sum() else None


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())
