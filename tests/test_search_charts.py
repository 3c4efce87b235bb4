"""Charts of searches, of a varied parameter and of a trade: what is drawn, and what a click on it says."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest

from fusionlib.charts.colours import ENSEMBLE, MERGE, QUIET, A, B
from fusionlib.charts.found import subset_rows, told_figure
from fusionlib.charts.pareto import front, pareto_figure
from fusionlib.charts.search import is_best, place_of, score_of, search_figure, words_of
from fusionlib.charts.vary import map_figure, vary_figure


def evaluation(weights: list[float], miou: float | None, **more: Any) -> dict[str, Any]:
    figures = {"miou": miou, "pixel_accuracy": 0.5, "loss": 1.0, "images": 2}
    return {"weights": weights, "ensemble": False, "part": None, "select": figures, "report": None, **more}


def found(evaluations: list[dict[str, Any]], best: int | None = None, **more: Any) -> dict[str, Any]:
    names = ["left", "right", "third", "fourth"][: len(evaluations[0]["weights"])]
    return {
        "checkpoints": names,
        "score": "miou",
        "evaluations": evaluations,
        "best": None if best is None else evaluations[best],
        "select": {"data": "town", "images": 2},
        "report": {"data": "city", "images": 2},
        **more,
    }


def numbers(trace: Any) -> list[int]:
    return [int(point[0]) for point in trace.customdata]


PAIR = [evaluation([1.0, 0.0], 0.2), evaluation([0.0, 1.0], 0.4), evaluation([0.5, 0.5], 0.6)]


def test_a_pair_is_a_curve_over_alpha_with_both_alone_as_lines() -> None:
    figure = search_figure(found(PAIR, best=2), [A, B])
    line = next(trace for trace in figure.data if trace.name == "chosen by")
    assert list(line.x) == [0, 0.5, 1] and list(line.y) == [40, 60, 20] and numbers(line) == [1, 2, 0]
    assert {shape.line.color: shape.y0 for shape in figure.layout.shapes} == {A: 20, B: 40}
    star = next(trace for trace in figure.data if trace.name == "best")
    assert list(star.x) == [0.5] and numbers(star) == [2]
    assert figure.layout.xaxis.title.text == "alpha: weight of left"
    assert figure.layout.yaxis.title.text == "mIoU (%)"


def test_the_report_parts_and_ensembles_of_a_pair_are_told_apart() -> None:
    report = evaluation([0.25, 0.75], 0.3, report={"miou": 0.1, "pixel_accuracy": 0.5, "loss": 2.0, "images": 2})
    told = found([*PAIR, report, evaluation([0.5, 0.5], 0.7, ensemble=True), evaluation([0.5, 0.5], 0.9, part=0)], 2)
    marks = {trace.name: trace for trace in search_figure(told, [A, B]).data}
    assert list(marks["report"].y) == [10] and numbers(marks["report"]) == [3]
    assert marks["ensemble"].marker.color == ENSEMBLE and numbers(marks["ensemble"]) == [4]
    assert numbers(marks["a part"]) == [5] and 90 not in marks["chosen by"].y
    same = {**told, "report": told["select"]}  # on the same pictures the diamonds would lie on the curve
    assert "report" not in {trace.name for trace in search_figure(same, [A, B]).data}


def test_three_are_a_triangle_whose_corners_are_the_checkpoints() -> None:
    assert [place_of(row) for row in ([1, 0, 0], [0, 1, 0])] == [(0, 0), (1, 0)]
    assert place_of([1 / 3] * 3) == pytest.approx((0.5, 3**0.5 / 6))
    corners = [evaluation(row, 0.1) for row in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])]
    figure = search_figure(found([*corners, evaluation([0.5, 0.5, 0.0], 0.3, ensemble=True)], 3), [A, B, QUIET])
    dots = next(trace for trace in figure.data if trace.name == "evaluated")
    assert list(dots.x) == [0, 1, 0.5, 0.5] and list(dots.marker.symbol) == ["circle"] * 3 + ["square"]
    assert list(dots.marker.color) == [10, 10, 10, 30]
    assert [(note.text, note.font.color) for note in figure.layout.annotations] == [
        ("left", A),
        ("right", B),
        ("third", QUIET),
    ]


def test_more_and_profiles_are_ranked_bars_best_on_top_and_lower_loss_is_better() -> None:
    row = [0.25] * 4
    told = found([evaluation(row, 0.1), evaluation(row, 0.3, ensemble=True), evaluation(row, None)], 0)
    (bars,) = [trace for trace in search_figure(told, [A, B, QUIET, QUIET]).data if isinstance(trace, go.Bar)]
    assert numbers(bars) == [0, 1] and list(bars.marker.color) == [MERGE, ENSEMBLE]
    profile = {"units": {"stem": [0.1, 0.9]}, "granularity": "block"}
    figure = search_figure(found([evaluation([0.5, 0.5], 0.1, **profile)]), [A, B])
    assert isinstance(figure.data[0], go.Bar)
    losses = [evaluation([0.5, 0.5], 0.1, **profile), evaluation([0.4, 0.6], 0.1, **profile)]
    losses[0]["select"] = {**losses[0]["select"], "loss": 0.5}
    assert numbers(search_figure(found(losses, score="loss"), [A, B]).data[0]) == [1, 0]


STAR = {
    "rays": [
        {"start": 0, "other": 1, "alpha": 0.5, "loss": 0.7, "oracle": 0.8, "cosine": 0.9},
        {"start": 0, "other": 2, "alpha": 0.25, "loss": 0.6, "oracle": None},
    ]
}


def test_a_star_is_the_papers_stack_of_five_with_a_diamond_at_the_best() -> None:
    rows = ([1.0, 0.0, 0.0], 0.3), ([0.0, 1.0, 0.0], 0.2), ([0.5, 0.5, 0.0], 0.4), ([0.25, 0.0, 0.75], 0.6)
    told = found([*(evaluation(*row) for row in rows), evaluation([0.0, 0.0, 1.0], None)], 3, **STAR)
    figure, marks = told_figure(told)
    assert "Diamond" in marks
    series = {trace.name: trace for trace in figure.data}
    assert list(series) == ["fused", "single", "loss", "oracle", "cosine", "best"]
    assert all(list(trace.x) == ["right", "third"] for name, trace in series.items() if name != "best")
    assert [list(series[name].y) for name in ("fused", "single")] == [[40, 60], [20, None]]
    assert [list(series[name].y) for name in ("loss", "oracle", "cosine")] == [[0.7, 0.6], [80, None], [0.9, None]]
    assert numbers(series["fused"]) == [2, 3] and numbers(series["best"]) == [3]
    assert (list(series["best"].x), series["best"].marker.symbol) == (["third"], "diamond")
    assert [shape.y0 for shape in figure.layout.shapes] == [30], "the start alone"
    assert told_figure({**told, "best": None}) is not None and told_figure(found(PAIR)) is None


def test_subsets_are_the_papers_tables_with_the_best_of_each_size_chosen() -> None:
    report = {"report": {"miou": 0.1, "pixel_accuracy": 0.5, "loss": 2.0, "images": 2}}
    third = 1 / 3
    rows = [
        evaluation([0.5, 0.5, 0.0], 0.3, ensemble=True),
        evaluation([0.0, 0.5, 0.5], 0.5, ensemble=True, **report),
        evaluation([0.2, 0.8, 0.0], 0.6, **report),
        evaluation([0.0, 0.5, 0.5], 0.4),
        evaluation([third] * 3, 0.7, ensemble=True),
    ]
    members = ([0, 1], [0.2, 0.8, 0.0]), ([1, 2], [0.0, 0.5, 0.5]), ([0, 1, 2], [0.1, 0.1, 0.8])
    told = found(rows, 2, subsets=[{"members": one, "weights": weights} for one, weights in members])
    table = subset_rows(told)
    assert [row["n"] for row in table] == [2, 2, 3] and table[1]["checkpoints"] == ["right", "third"]
    assert [(row["DE_n"]["select"], row["DE_n"]["best"]) for row in table] == [(30, False), (50, True), (70, True)]
    assert [(row["WF_n"]["select"], row["WF_n"]["best"]) for row in table] == [(60, True), (40, False), (None, False)]
    assert table[1]["DE_n"]["report"] == 10 and table[0]["DE_n"]["report"] is None
    marks = {trace.name: trace for trace in told_figure(told)[0].data}
    assert numbers(marks["WF_n"]) == [2, 3] and numbers(marks["WF_n, chosen"]) == [2]
    assert numbers(marks["DE_n, chosen"]) == [1, 4] and list(marks["DE_n, chosen: report"].y) == [10]
    chosen = {name: [row[name]["best"] for row in subset_rows({**told, "score": "loss"})] for name in ("DE_n", "WF_n")}
    assert chosen["DE_n"] == [True, False, True], "the first of equal ones, the least loss"


def test_words_scores_and_the_best() -> None:
    assert words_of(evaluation([0.25, 0.0, 0.75], 0.1, ensemble=True), "abc") == "ensemble: a 0.25, c 0.75"
    assert score_of({"miou": 0.5}, "miou") == 50 and score_of({"loss": 0.5}, "loss") == 0.5
    assert score_of(None, "miou") is None and score_of({"miou": None}, "miou") is None
    told = found([*PAIR, evaluation([0.5, 0.5], 0.6, ensemble=True), evaluation([0.5, 0.5], 0.6, part=1)], 2)
    assert [is_best(one, told) for one in told["evaluations"]] == [False, False, True, False, False]


def test_names_act_as_no_markup() -> None:
    hostile = {**found(PAIR), "checkpoints": ["<b>x</b>", "<a href='//e'>y</a>"]}
    assert "<b>x" not in str(search_figure(hostile, [A, B]).data[0].customdata)
    assert all("<a" not in (note.text or "") for note in search_figure(hostile, [A, B]).layout.annotations)
    assert "<b>" not in search_figure(hostile, [A, B]).layout.xaxis.title.text


def test_curves_of_a_parameter_mark_their_best() -> None:
    points = [{"value": value, "miou": miou} for value, miou in ((0, 0.1), (1, 0.4), (2, None))]
    curves = [{"points": points, "best": {"value": 1, "miou": 0.4}}, {"points": points[:1], "best": None}]
    figure = vary_figure(curves, "start", ["target", "source"])
    assert [trace.name for trace in figure.data] == ["target", "best: start 1", "source"]
    assert list(figure.data[0].x) == [0, 1] and numbers(figure.data[1]) == [1]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("start", "mIoU (%)")


def test_a_map_marks_its_best_and_a_click_says_its_point() -> None:
    rows = (0.2, 0.5, 0.1), (0.2, 1.0, None), (0.8, 0.5, 0.4)
    points = [{"value": value, "second_value": other, "miou": miou} for value, other, miou in rows]
    best = {"value": 0.8, "second_value": 0.5, "miou": 0.4}
    figure = map_figure({"parameter": "density", "second": "scale", "points": points, "best": best}, "<b>town")
    heat, squares, star = figure.data
    assert (list(heat.x), list(heat.y), [list(row) for row in heat.z]) == ([0.2, 0.8], [0.5], [[10, 40]])
    assert numbers(squares) == [0, 2] and (star.x[0], star.y[0]) == (0.8, 0.5)
    titles = figure.layout.xaxis.title.text, figure.layout.yaxis.title.text, figure.layout.title.text
    assert titles == ("density", "scale", "&lt;b&gt;town")


def test_the_front_is_what_nothing_beats_in_both() -> None:
    assert front([(1, 5), (2, 4), (2, 7), (3, 7), (0.5, 1)]) == [4, 0, 2]
    assert front([(1, 1), (1, 1)]) == [0] and front([]) == []


def test_a_trade_has_both_costs_and_leaves_out_what_is_unknown() -> None:
    row = {"name": "isotropic", "group": "methods", "miou": 0.5, "ece": 0.1, "forwards": 1}
    rows = [row, {**row, "name": "<i>", "ece": None, "forwards": 2}, {**row, "miou": None}, {**row, "group": "single"}]
    dots = [trace for trace in pareto_figure(rows).data if trace.mode == "markers"]
    assert [numbers(trace) for trace in dots] == [[0, 3], [0, 1, 3]]
    assert list(dots[1].marker.color) == [MERGE, ENSEMBLE, QUIET] and "&lt;i&gt;" in str(dots[1].customdata)
    assert dots[0].x[0] == pytest.approx(10) and dots[0].y[0] == pytest.approx(50)
