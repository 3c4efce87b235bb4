"""From what the calibration measures keep to named figures, for any offered number of bins and any class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fusionlib.contracts import Figure
from fusionlib.measures.bins import DEFAULT_BINS, KEPT_BINS, MINIMUM_COUNT, OFFERED_BINS, check_bins
from fusionlib.measures.calibration_figures import classwise_ece, coarsen, ece, jensen_shannon, kl, mce

FIGURES = (
    Figure(
        "ece_sample_weighted",
        "ECE, sample-weighted",
        "%",
        "lower",
        2,
        "Expected calibration error: mean over bins of |accuracy - confidence|, each bin weighted by its pixels",
    ),
    Figure(
        "ece_unweighted",
        "ECE, unweighted (the paper's)",
        "%",
        "lower",
        2,
        "The paper's ECE: plain mean over non-empty bins of |accuracy - confidence|; a bin of three pixels counts like"
        " one of millions",
    ),
    Figure(
        "ece_unweighted_all_bins",
        "ECE, unweighted, empty bins count",
        "%",
        "lower",
        2,
        "As the paper's, but divided by the number of all bins: empty ones count as gap 0. The paper does not say which"
        " it uses",
    ),
    Figure(
        "mce_minimum_count",
        f"MCE, bins of {MINIMUM_COUNT} pixels or more",
        "%",
        "lower",
        2,
        f"Largest |accuracy - confidence| of a bin with {MINIMUM_COUNT} pixels or more",
    ),
    Figure(
        "mce",
        "MCE, literal",
        "%",
        "lower",
        2,
        "Largest |accuracy - confidence| of any non-empty bin; one pixel can decide it",
    ),
    Figure(
        "adaptive_ece",
        "adaptive ECE",
        "%",
        "lower",
        2,
        "ECE over as many bins, cut so that each holds the same number of pixels",
    ),
    Figure(
        "classwise_ece",
        "classwise ECE",
        "%",
        "lower",
        2,
        "Mean over classes of the ECE of the pixels predicted as that class (top-label form)",
    ),
    Figure(
        "brier",
        "Brier score",
        "0 to 2",
        "lower",
        4,
        "Mean over pixels of the squared distance between probabilities and the one-hot truth",
    ),
    Figure("nll", "NLL", "nats", "lower", 4, "Negative log-likelihood: mean of -log p(true class)"),
    Figure(
        "kl",
        "KL, right from wrong",
        "nats",
        "higher",
        4,
        "sum P log(P / Q): P confidence histogram of right pixels, Q of wrong ones, natural logarithm, 1e-12 added to"
        " each normalised bin; 0 when confidence tells nothing; n/a when one of the two sets is empty",
    ),
    Figure(
        "js",
        "Jensen-Shannon",
        "nats",
        "higher",
        4,
        "The symmetric form of KL without epsilon, from 0 to log 2 = 0.693",
    ),
    Figure(
        "auroc",
        "misclassification AUROC",
        "",
        "higher",
        4,
        "Probability that a right pixel is more confident than a wrong one; 0.5 is chance. From a histogram that is"
        " fine where most pixels are, ties half",
    ),
)
"""What is shown of `calibration_summary`, in the order of tables."""


def calibration_summary(
    record: Mapping[str, Any], bins: int = DEFAULT_BINS, label: int | None = None
) -> dict[str, Any]:
    """All figures of one measured network: fractions and nats, None where undefined or not known. `record` is the entry
    `calibration` of that measure, or `calibration_fine` of the other, which knows more by class.

    `label` restricts to the pixels predicted as that class (C: outside the annotation's space); Brier score, likelihood
    and classwise ECE are then None. Keys: `ece_sample_weighted`, `ece_unweighted` (mean over non-empty bins),
    `ece_unweighted_all_bins` (empty bins in the denominator), `mce` (literal), `mce_minimum_count` (bins of at least
    100 pixels), `adaptive_ece`, `classwise_ece` (by predicted class), `brier`, `nll`, `kl`, `js`, `auroc`, `accuracy`,
    `confidence`, `pixels`, `undefined_pixels`, and `bins`: low, high, count, accuracy, confidence (None where empty),
    correct, wrong.

    With undefined pixels (NaN) every figure is None: those that are left would flatter the network.
    """
    check_bins(bins)
    tables = [coarsen(record[name], bins) for name in ("counts", "correct", "confidence")]
    n, hits, sums = (table.sum(0) if label is None else table[label] for table in tables)
    place = 0 if label is None else label + 1
    figures: dict[str, Any] = {
        "ece_sample_weighted": ece(n, hits, sums),
        "ece_unweighted": ece(n, hits, sums, "unweighted"),
        "ece_unweighted_all_bins": ece(n, hits, sums, "unweighted", "count"),
        "mce": mce(n, hits, sums),
        "mce_minimum_count": mce(n, hits, sums, MINIMUM_COUNT),
        "adaptive_ece": record["adaptive"][str(bins)][place],
        "classwise_ece": classwise_ece(*tables) if label is None else None,
        "kl": kl(hits, n - hits),
        "js": jensen_shannon(hits, n - hits),
        "auroc": record["auroc"][place],
        "brier": record["brier"] if label is None else None,
        "nll": record["nll"] if label is None else None,
        "accuracy": float(hits.sum() / n.sum()) if n.sum() else None,
        "confidence": float(sums.sum() / n.sum()) if n.sum() else None,
    }
    if record["undefined_pixels"]:
        figures = dict.fromkeys(figures)
    return {
        **figures,
        "pixels": int(n.sum()),
        "undefined_pixels": record["undefined_pixels"],
        "bins": _bins(n, hits, sums),
    }


def _bins(n: np.ndarray, hits: np.ndarray, sums: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "low": number / len(n),
            "high": (number + 1) / len(n),
            "count": int(count),
            "accuracy": float(right / count) if count else None,
            "confidence": float(total / count) if count else None,
            "correct": int(right),
            "wrong": int(count - right),
        }
        for number, (count, right, total) in enumerate(zip(n, hits, sums, strict=True))
    ]


def costliest_bin(summary: Mapping[str, Any]) -> int | None:
    """The bin that adds most to the sample-weighted ECE, `max_b |correct_b - confidence_sum_b|`; None where all are
    empty.
    """
    shares = {
        number: abs(bin["correct"] - bin["confidence"] * bin["count"])
        for number, bin in enumerate(summary["bins"])
        if bin["count"]
    }
    return max(shares, key=lambda number: shares[number]) if shares else None


def confidence_histograms(record: Mapping[str, Any], label: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong pixels in 60 bins of confidence, each (60,) int64."""
    counts, correct = (np.asarray(record[name], np.int64) for name in ("counts", "correct"))
    counts, correct = (table.sum(0) if label is None else table[label] for table in (counts, correct))
    return correct, counts - correct


__all__ = [
    "DEFAULT_BINS",
    "FIGURES",
    "KEPT_BINS",
    "MINIMUM_COUNT",
    "OFFERED_BINS",
    "calibration_summary",
    "check_bins",
    "confidence_histograms",
    "costliest_bin",
]
