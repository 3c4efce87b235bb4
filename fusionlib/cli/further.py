"""Figures of whatever measure of one network is asked for beside the usual ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusionlib.cli.common import percent
from fusionlib.contracts import MEASURES, Figure, Measure
from fusionlib.errors import DataError, UsageError


def further_measures(names: Sequence[str]) -> dict[str, Measure]:
    """Measures by name. Raises `UsageError` for one of several networks, or an unknown one."""
    found = {name: MEASURES.get(name) for name in names}
    for name, measure in found.items():
        if measure.networks != "one":
            of_one = ", ".join(name for name, item in sorted(MEASURES.items()) if item.networks == "one")
            raise UsageError(f"--measure {name}, which is of several networks", f"one of {of_one}", "Correct --measure")
    return found


def need_no_masks(measures: Mapping[str, Measure], title: str) -> tuple[str, ...]:
    """Their names. Raises `DataError` where one needs the masks that the pictures of this title do not have."""
    if lacking := [name for name, measure in measures.items() if measure.needs == "masks"]:
        free = ", ".join(name for name, item in sorted(MEASURES.items()) if _needs_none(item))
        raise DataError(
            f"{title} has no masks, which {' and '.join(lacking)} need{'s' * (len(lacking) == 1)}",
            f"labelled pictures, or measures without masks: {free}",
            "Choose data with masks, or correct --measure",
        )
    return tuple(measures)


def _needs_none(measure: Measure) -> bool:
    return measure.networks == "one" and measure.needs != "masks"


def named_figures(
    measures: Mapping[str, Measure], figures: Mapping[str, Any], classes: Sequence[str]
) -> dict[str, Any]:
    """The figures that measures declare, by name; those of classes by the class's name."""
    declared = [figure for measure in measures.values() for figure in measure.figures]
    return {
        figure.name: dict(zip(classes, figures[figure.name], strict=True))
        if figure.each == "class"
        else figures[figure.name]
        for figure in declared
    }


def show_further(names: Sequence[str], result: Mapping[str, Any]) -> None:
    """Figures of these measures, then a table of those by class. Other lists are for machines."""
    for name in names:
        measure = MEASURES.get(name)
        print(f"\n{measure.title}")
        for figure in measure.figures:
            if not figure.each:
                print(f"{_label(figure):48}{_text(figure, result[figure.name]):>10}")
        by_class = [figure for figure in measure.figures if figure.each == "class"]
        if by_class:
            print(f"{'class':18}" + "".join(f"{_label(figure):>{len(_label(figure)) + 3}}" for figure in by_class))
            for label in result[by_class[0].name]:
                cells = ((figure, _text(figure, result[figure.name][label])) for figure in by_class)
                print(f"{label:18}" + "".join(f"{text:>{len(_label(figure)) + 3}}" for figure, text in cells))


def _label(figure: Figure) -> str:
    return f"{figure.label} ({figure.unit})" if figure.unit == "nats" else figure.label


def _text(figure: Figure, value: float | None) -> str:
    if value is None:
        return "n/a"
    return percent(value).strip() if figure.unit == "%" else f"{value:,.{figure.digits}f}"
