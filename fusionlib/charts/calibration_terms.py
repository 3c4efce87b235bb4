"""What the calibration figures are called, which way is better, and their definitions in one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Term:
    """A figure: its title, unit (`%` is shown as percent of a fraction), whether larger is better, and what it
    means.
    """

    title: str
    unit: str
    higher: bool
    help: str

    def shown(self, value: float | None) -> float | None:
        """The value in the unit shown."""
        return None if value is None else 100 * value if self.unit == "%" else value

    @property
    def axis(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


TERMS: Mapping[str, Term] = {
    "miou": Term(
        "mIoU",
        "%",
        True,
        "Mean intersection over union of the classes present; the quality that calibration is set against.",
    ),
    "ece_sample_weighted": Term(
        "ECE, sample-weighted",
        "%",
        False,
        "Expected calibration error: mean over bins of |accuracy - confidence|, each bin weighted by its pixels.",
    ),
    "ece_unweighted": Term(
        "ECE, unweighted (the paper's)",
        "%",
        False,
        "The paper's ECE: plain mean over non-empty bins of |accuracy - confidence|; a bin of three pixels counts like "
        "one of millions.",
    ),
    "ece_unweighted_all_bins": Term(
        "ECE, unweighted, empty bins count",
        "%",
        False,
        "As the paper's, but divided by the number of all bins: empty ones count as gap 0. "
        "The paper does not say which it uses.",
    ),
    "mce_minimum_count": Term(
        "MCE, bins of 100 pixels or more",
        "%",
        False,
        "Largest |accuracy - confidence| of a bin with 100 pixels or more.",
    ),
    "mce": Term(
        "MCE, literal", "%", False, "Largest |accuracy - confidence| of any non-empty bin; one pixel can decide it."
    ),
    "adaptive_ece": Term(
        "adaptive ECE", "%", False, "ECE over as many bins, cut so that each holds the same number of pixels."
    ),
    "classwise_ece": Term(
        "classwise ECE",
        "%",
        False,
        "Mean over classes of the ECE of the pixels predicted as that class (top-label form).",
    ),
    "brier": Term(
        "Brier score",
        "0 to 2",
        False,
        "Mean over pixels of the squared distance between probabilities and the one-hot truth.",
    ),
    "nll": Term("NLL", "nats", False, "Negative log-likelihood: mean of -log p(true class)."),
    "kl": Term(
        "KL, right from wrong",
        "nats",
        True,
        "sum P log(P / Q): P confidence histogram of right pixels, Q of wrong ones, natural logarithm, 1e-12 added to"
        " each normalised bin; 0 when confidence tells nothing; n/a when one of the two sets is empty.",
    ),
    "js": Term("Jensen-Shannon", "nats", True, "The symmetric form of KL without epsilon, from 0 to log 2 = 0.693."),
    "auroc": Term(
        "misclassification AUROC",
        "",
        True,
        "Probability that a right pixel is more confident than a wrong one; 0.5 is chance. From the fine histogram,"
        " ties half.",
    ),
}
"""By their key in `calibration_summary`, in the order of tables."""


def figure_rows(entries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Table of all figures, one row per (network, summary), in the units of `TERMS`."""
    return [
        {
            "network": name,
            **{term.axis: term.shown(summary.get(key)) for key, term in TERMS.items()},
            "pixels": summary["pixels"],
        }
        for name, summary in entries
    ]


def best_of(key: str, values: Sequence[float | None]) -> list[bool]:
    """Which of these values of one figure is the best, ties included; none where fewer than two are known."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return [False] * len(values)
    best = max(known) if TERMS[key].higher else min(known)
    return [value == best for value in values]


def bin_rows(entries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Table of the reliability diagram: a row per network and bin; accuracy and confidence in percent, nothing where
    empty.
    """

    def percent(value: float | None) -> float | None:
        return None if value is None else 100 * value

    return [
        {
            "network": name,
            "from": bin["low"],
            "to": bin["high"],
            "pixels": bin["count"],
            "right": bin["correct"],
            "wrong": bin["wrong"],
            "accuracy (%)": percent(bin["accuracy"]),
            "mean confidence (%)": percent(bin["confidence"]),
        }
        for name, summary in entries
        for bin in summary["bins"]
    ]


def curve_rows(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Table of the curves against alpha."""
    return [
        {"alpha": point["alpha"], **{term.axis: term.shown(point[key]) for key, term in TERMS.items()}}
        for point in points
    ]


def best_alpha(points: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The alpha at which a figure is best; None while no point has it."""
    known = [point for point in points if point[key] is not None]
    if not known:
        return None
    sign = 1 if TERMS[key].higher else -1
    return max(known, key=lambda point: sign * point[key])["alpha"]
