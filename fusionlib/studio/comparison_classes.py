"""Class by class: a row of a comparison beside the best single network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusionlib.studies.compare import Row
from fusionlib.studies.curve import best_of
from fusionlib.studio.comparison import Comparison


def best_single(comparison: Comparison) -> Row | None:
    """The single network of the highest mIoU, the first of equal ones; None until one is measured."""
    rows = [row for row in comparison.rows() if row.group == "single"]
    scored = [(figures["miou"], row) for row in rows if (figures := comparison.figures(row))]
    scored = [(score, row) for score, row in scored if score is not None]
    return max(scored, key=lambda one: one[0])[1] if scored else None


def best_merge(listed: Sequence[Mapping[str, Any]]) -> str | None:
    """The name of the row of the highest mIoU, among those of a snapshot, that is none of the single networks."""
    best = best_of([row for row in listed if row["group"] != "single"], "name")
    return best["name"] if best else None


def class_rows(comparison: Comparison, name: str) -> list[dict[str, Any]]:
    """IoU of every class for the best single network and for the row called `name`, the `change` and its 95 % interval
    as fractions, None where undefined; in the order of the classes. Nothing where either is not measured.
    """
    alone, row = best_single(comparison), next((row for row in comparison.rows() if row.name == name), None)
    before, after = (one and comparison.figures(one) for one in (alone, row))
    if alone is None or row is None or not before or not after:
        return []
    recipes = comparison.recipe_of(alone), comparison.recipe_of(row)
    names = comparison.pictures.label_space.names
    intervals = comparison.intervals.classes(*recipes, comparison.pictures) or [None] * len(names)
    return [
        {
            "class": label,
            "single": old,
            "row": new,
            "change": None if None in (old, new) else new - old,
            "interval": intervals[place],
        }
        for place, (label, old, new) in enumerate(zip(names, before["iou"], after["iou"], strict=True))
    ]
