"""What the calibration figures are called, which way is better, and their definitions in one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusionlib.measures.calibration_summary import FIGURES
from fusionlib.measures.confusion import Confusion


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
    figure.name: Term(figure.label, figure.unit, figure.better == "higher", f"{figure.help}.")
    for figure in (*(one for one in Confusion.figures if one.name == "miou"), *FIGURES)
}
"""mIoU, which calibration is set against, and the figures of `calibration_summary`, in the order of tables."""


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
