"""The chart of what a merge changes, class by class."""

from __future__ import annotations

import pytest

from fusionlib.charts.classes import BETTER, SAME, WORSE, class_change_figure, class_changes

NAMES = ("road", "sky", "car", "train", "pole")
MERGED = {"iou": [0.80, 0.50, 0.3004, None, 0.2]}
A = {"iou": [0.70, 0.60, 0.30, 0.1, 0.2]}
B = {"iou": [0.75, 0.40, 0.10, 0.1, 0.2]}


def test_a_change_is_against_the_better_of_both_and_the_largest_gain_stands_first() -> None:
    rows = class_changes(NAMES, MERGED, A, B)
    assert [row[0] for row in rows] == ["road", "car", "pole", "sky"], "what one of them lacks is left out"
    assert [row[1] for row in rows] == pytest.approx([5.0, 0.04, 0.0, -10.0])
    assert rows[0][2:] == pytest.approx((80.0, 70.0, 75.0))


def test_a_change_that_no_digit_shows_is_neither_gain_nor_loss() -> None:
    merged = {"iou": [0.80, 0.50, 0.2996, None, 0.2]}
    (bar,) = class_change_figure(NAMES, merged, A, B).data
    shown = {name: (text, colour) for name, text, colour in zip(bar.y, bar.text, bar.marker.color, strict=True)}
    assert shown == {
        "road": ("+5.0", BETTER),
        "sky": ("-10.0", WORSE),
        "car": ("0.0", SAME),
        "pole": ("0.0", SAME),
    }
