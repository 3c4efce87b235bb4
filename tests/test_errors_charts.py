"""Charts of error analysis: axes of the confusion matrix by a case made by hand, and what their points stand for."""

from __future__ import annotations

import numpy as np
import pytest

from fusionlib.charts.colours import QUIET
from fusionlib.charts.confusion import NORMALISED, SHOWN, Edge, cells_of, confusion_figure, edges_of, flow_figure
from fusionlib.charts.errors import class_figure, counted, risk_figure, transitions_figure
from fusionlib.measures.error_stack import ErrorStack, Pixels
from fusionlib.measures.transitions import TRANSITIONS, joint_of, strata_of

NAMES = ["road", "sky", "car"]
TRUTH = np.array([[0, 0, 1, 1], [2, 2, 255, 0]], np.uint8)
BEFORE = np.array([[0, 1, 1, 0], [2, 0, 0, 3]], np.uint8)
AFTER = np.array([[1, 0, 1, 0], [0, 2, 0, 0]], np.uint8)


@pytest.fixture
def stack() -> ErrorStack:
    return ErrorStack.of([joint_of(strata_of(TRUTH), BEFORE, AFTER, 3)], 3)


def test_rows_are_the_truth_and_columns_the_prediction(stack: ErrorStack) -> None:
    cells = cells_of(*stack.confusions(), "merge", "none")
    found = {(int(t), int(p)): int(n) for t, p, n in zip(cells.truth, cells.said, cells.counts, strict=True)}
    assert found == {(0, 0): 2, (0, 1): 1, (1, 0): 1, (1, 1): 1, (2, 0): 1, (2, 2): 1}
    squares, points = confusion_figure(cells, NAMES).data
    place = list(zip(points.x, points.y, strict=True)).index((0, 2))
    assert list(points.customdata[place])[:3] == ["truths=2;merges=0", "car", "road"]
    assert squares.z[2][0] == pytest.approx(100 / 7) and np.isnan(squares.z[0][2])
    layout = confusion_figure(cells, NAMES).layout
    assert layout.xaxis.title.text == "prediction" and layout.yaxis.title.text == "truth"
    assert layout.yaxis.range[0] > layout.yaxis.range[1], "the first class stands on top"


def test_a_cell_chooses_the_pixels_that_it_counts(stack: ErrorStack) -> None:
    for shown in SHOWN:
        cells = cells_of(*stack.confusions(), shown, "none")
        points = confusion_figure(cells, NAMES, shown).data[1]
        for about, count in zip(points.customdata, cells.counts, strict=True):
            held = int(stack.holding(Pixels.from_text(about[0])).sum())
            assert held == count if shown != "difference" else held >= abs(count)


def test_shares_are_of_rows_columns_or_all_and_the_diagonal_can_go(stack: ErrorStack) -> None:
    reference, merge = stack.confusions()
    by_row = cells_of(reference, merge, "merge", "row")
    by_column = cells_of(reference, merge, "merge", "column")
    for cells, axis in ((by_row, by_row.truth), (by_column, by_column.said)):
        sums = np.bincount(axis, cells.shares)
        assert sums[np.bincount(axis) > 0] == pytest.approx(100)
    assert cells_of(reference, merge, "merge", "none").shares.sum() == pytest.approx(100)
    errors = cells_of(reference, merge, "merge", "row", off_diagonal=True)
    assert (errors.truth != errors.said).all() and errors.counts.sum() == 3
    outside = cells_of(reference, merge, "reference", "none")
    assert confusion_figure(outside, NAMES, "reference").layout.xaxis.ticktext[-1] == "outside"
    for one in NORMALISED:
        assert np.isfinite(cells_of(reference * 0, merge * 0, "difference", one).shares).all()


def test_the_chosen_cell_is_ringed(stack: ErrorStack) -> None:
    cells = cells_of(*stack.confusions())
    (ring,) = confusion_figure(cells, NAMES, chosen="truths=2;merges=0").layout.shapes
    assert (ring.x0, ring.x1, ring.y0, ring.y1) == (-0.5, 0.5, 1.5, 2.5)
    assert not confusion_figure(cells, NAMES, chosen="truths=1").layout.shapes


def test_edges_are_changes_alone_with_most_pixels_first(stack: ErrorStack) -> None:
    edges = edges_of(stack.flow())
    assert edges[0].count >= edges[-1].count and all(one.before != one.after for one in edges)
    assert sum(one.count for one in edges) == 5
    assert Edge(3, 0, 1) in edges
    for one in edges:
        assert stack.holding(Pixels((), (one.before,), (one.after,))).sum() == one.count
    link = flow_figure(edges, NAMES, [(1, 2, 3)] * len(NAMES)).data[0]
    assert set(link.node.color) <= {"#010203", QUIET}
    assert link.node.label[link.link.source[edges.index(Edge(3, 0, 1))]] == "outside"


def test_the_bar_of_transitions_sums_to_all_and_its_parts_choose_pixels(stack: ErrorStack) -> None:
    figure = transitions_figure(stack.totals())
    assert sum(bar.x[0] for bar in figure.data) == pytest.approx(100)
    assert {bar.customdata[0][0] for bar in figure.data} == {f"transitions={one}" for one in TRANSITIONS}
    assert sum(bar.x[0] for bar in transitions_figure(dict.fromkeys(TRANSITIONS, 0)).data) == 0


def row(name: str, change: float | None, interval: list[float] | None = None) -> dict:
    pixels = 0 if change is None else 5000
    return {
        "name": name,
        "pixels": pixels,
        **dict.fromkeys(TRANSITIONS, pixels // 5),
        "iou": {"reference": 0.5, "merge": 0.5 + (change or 0)},
        "change": change,
        "interval": interval,
    }


def test_a_class_that_is_absent_is_named_with_na_and_has_no_bar() -> None:
    rows = [row("road", 0.1, [0.05, 0.2]), row("sky", None), row("car", -0.2)]
    (bar,) = class_figure(rows, {name: [number] for number, name in enumerate(NAMES)}).data
    assert list(bar.y) == ["sky  n/a", "car  5.0k", "road  5.0k"]
    assert list(bar.x) == [None, pytest.approx(-20), pytest.approx(10)]
    assert bar.error_x.array[2] == pytest.approx(10) and bar.error_x.arrayminus[2] == pytest.approx(5)
    texts = [about[0] for about in bar.customdata]
    assert texts[0] == "" and Pixels.from_text(texts[2]).truths == (0,)


def test_risk_is_drawn_for_what_has_a_confidence() -> None:
    curve = [{"coverage": 0.5, "risk": 0.1}, {"coverage": 1.0, "risk": 0.3}]
    names = {"reference": "A", "merge": "the merge"}
    assert [line.name for line in risk_figure({"merge": curve}, names).data] == ["the merge"]
    assert len(risk_figure({"merge": curve, "reference": curve}, names).data) == 2


def test_pixels_are_counted_in_few_digits() -> None:
    assert [counted(one) for one in (0, 999, 1535, 9949, 9950, 999_499, 999_500, 3_400_000)] == [
        "0", "999", "1.5k", "9.9k", "10k", "999k", "1.0M", "3.4M",
    ]  # fmt: skip


def test_little_is_faint_on_a_light_and_on_a_dark_page() -> None:
    cells = cells_of(np.eye(3, 4, dtype=np.int64), np.ones((3, 4), np.int64), "merge", "row", False)
    for shown, faintest in (("merge", 0), ("difference", 4)):
        scale = confusion_figure(cells, NAMES, shown).data[0].colorscale
        opacity = [float(colour.rsplit(",", 1)[1][:-1]) for _, colour in scale]
        assert min(opacity) == opacity[faintest] <= 0.05 and opacity[-1] == 1.0
        assert [at for at, _ in scale] == sorted(at for at, _ in scale)
