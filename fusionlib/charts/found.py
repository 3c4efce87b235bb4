"""Figures of what a strategy tells beside the best: the stack of a star, the subsets by their size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fusionlib.candidate import SCORES
from fusionlib.charts.colours import ENSEMBLE, MERGE, QUIET
from fusionlib.charts.search import axis_title, laid_out, plain, score_of

Found = Mapping[str, Any]

BEST = "#f2b705"

_SHORT = {"harmonic": "harmonic (%)", "pixel_accuracy": "accuracy (%)"}
"""Titles that fit beside one of five rows."""


def told_figure(found: Found) -> tuple[go.Figure, str] | None:
    """The figure of the first of `FIGURES` that the strategy has told, and what its marks are; None where it has told
    nothing of the kind.
    """
    return next(((draw(found), marks) for name, (draw, marks) in FIGURES.items() if found.get(name)), None)


def star_figure(found: Found) -> go.Figure:
    """Five series over the other checkpoint, one below the other: the best merge with the start, the other alone, its
    loss, the oracle of both and the cosine of their weights; a diamond at the best merge. The dashed line is the start
    alone. `customdata` of the first two starts with the number of the evaluation.

    Source: Weight Fusion, figures 5 and 8.
    """
    rays, score = found["rays"], found["score"]
    names = [plain(found["checkpoints"][ray["other"]]) for ray in rays]
    places = [(_number(found, _merged(ray, found)), _number(found, _alone(ray["other"], found))) for ray in rays]
    fused, single = ([_select(found, number) for number in column] for column in zip(*places, strict=True))
    series: Sequence[tuple[str, str, list[float | None]]] = (
        ("fused", _SHORT.get(score) or axis_title(score), fused),
        ("single", _SHORT.get(score) or axis_title(score), single),
        ("loss", "nats", [ray["loss"] for ray in rays]),
        ("oracle", "mIoU (%)", [None if ray["oracle"] is None else 100 * ray["oracle"] for ray in rays]),
        ("cosine", "", [ray.get("cosine") for ray in rays]),
    )
    figure = make_subplots(rows=len(series), shared_xaxes=True, vertical_spacing=0.03)
    for row, (name, unit, values) in enumerate(series, 1):
        numbers = [pair[row - 1] if row < 3 else None for pair in places]
        figure.add_trace(_line(name, names, values, MERGE if row == 1 else QUIET, numbers), row=row, col=1)
        figure.update_yaxes(title=f"{name}<br>{unit}" if unit else name, row=row, col=1)
    start = _select(found, _number(found, _alone(rays[0]["start"], found)))
    if start is not None:
        figure.add_hline(start, line_dash="dash", line_color=QUIET, row=1, col=1)  # type: ignore[arg-type]
    _diamond(figure, names, fused, [pair[0] for pair in places], found)
    figure.update_xaxes(title=f"merged with {plain(found['checkpoints'][rays[0]['start']])}", row=len(series), col=1)
    return laid_out(figure, 620)


def subsets_figure(found: Found) -> go.Figure:
    """WF_n, the best merge of each subset of n, and DE_n, its ensemble, over n: a point a subset on the pictures to
    choose by, the best of each n joined; hollow: the chosen one on the pictures of the report. `customdata` starts with
    the number of the evaluation.
    """
    figure, rows = go.Figure(), subset_rows(found)
    for kind, colour, side in (("WF_n", MERGE, -0.06), ("DE_n", ENSEMBLE, 0.06)):
        drawn = [row for row in rows if row[kind]["select"] is not None]
        chosen = [row for row in drawn if row[kind]["best"]]
        points = {"size": 7, "color": colour, "opacity": 0.45}
        figure.add_trace(_subsets(drawn, kind, "select", side, {"marker": points, "mode": "markers", "name": kind}))
        look = {"marker": {"size": 12, "color": colour}, "mode": "lines+markers", "name": f"{kind}, chosen"}
        figure.add_trace(_subsets(chosen, kind, "select", side, look))
        there = [row for row in chosen if row[kind]["report"] is not None]
        hollow = {"size": 13, "color": colour, "symbol": "diamond-open", "line": {"width": 2}}
        look = {"marker": hollow, "mode": "markers", "name": f"{kind}, chosen: report"}
        figure.add_trace(_subsets(there, kind, "report", side, look))
    figure.update_xaxes(title="n, networks of a subset", dtick=1)
    figure.update_yaxes(title=axis_title(found["score"]))
    return laid_out(figure, 360)


def subset_rows(found: Found) -> list[dict[str, Any]]:
    """Tables 5 and 6 of the paper, for all sizes: of each subset its `n`, the names of its `checkpoints`, and for
    `WF_n` and `DE_n` the `select` and `report` score in the unit of its axis, whether it is the `best` of its size by
    the pictures to choose by, and the `number` of its evaluation.
    """
    rows = []
    for one in found["subsets"]:
        share = [1 / len(one["members"]) if place in one["members"] else 0.0 for place in range(_count(found))]
        row = {"n": len(one["members"]), "checkpoints": [found["checkpoints"][place] for place in one["members"]]}
        for kind, weights, together in (("WF_n", one["weights"], False), ("DE_n", share, True)):
            number = _number(found, (weights, together))
            row[kind] = {
                "number": number,
                **{where: _score(found, number, where) for where in ("select", "report")},
                "best": False,
            }
        rows.append(row)
    sign = SCORES[found["score"]][1]
    for kind, size in ((kind, size) for kind in ("WF_n", "DE_n") for size in {row["n"] for row in rows}):
        there = [row[kind] for row in rows if row["n"] == size and row[kind]["select"] is not None]
        if there:
            max(there, key=lambda one: sign * one["select"])["best"] = True
    return rows


FIGURES: Mapping[str, tuple[Callable[[Found], go.Figure], str]] = {
    "rays": (star_figure, "Diamond: the best. Dashed: the start alone."),
    "subsets": (subsets_figure, "Joined: the best of each size, chosen; hollow: the same on pictures of the report."),
}
"""What a strategy may tell beside the best, by its name in the table of a search: how it is drawn, and its marks."""


def _count(found: Found) -> int:
    return len(found["checkpoints"])


def _merged(ray: Mapping[str, Any], found: Found) -> tuple[list[float], bool]:
    row = [0.0] * _count(found)
    row[ray["start"]], row[ray["other"]] = ray["alpha"], 1 - ray["alpha"]
    return row, False


def _alone(number: int, found: Found) -> tuple[list[float], bool]:
    return [float(place == number) for place in range(_count(found))], False


def _number(found: Found, wanted: tuple[Sequence[float], bool]) -> int | None:
    """The evaluation of these weights on all pictures; None where there is none."""
    weights, together = wanted
    for number, one in enumerate(found["evaluations"]):
        alike = max(abs(mine - other) for mine, other in zip(one["weights"], weights, strict=True)) < 1e-9
        if alike and one["ensemble"] == together and one["part"] is None and "units" not in one:
            return number
    return None


def _score(found: Found, number: int | None, where: str) -> float | None:
    return None if number is None else score_of(found["evaluations"][number][where], found["score"])


def _select(found: Found, number: int | None) -> float | None:
    return _score(found, number, "select")


def _line(name: str, x: Sequence[str], y: Sequence[Any], colour: str, numbers: Sequence[int | None]) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers",
        showlegend=False,
        marker={"color": colour, "size": 8},
        line={"color": colour, "width": 2},
        customdata=[[] if number is None else [number] for number in numbers],
        hovertemplate=f"%{{x}}: {name} %{{y:.4g}}<extra></extra>",
    )


def _diamond(
    figure: go.Figure, names: Sequence[str], fused: Sequence[Any], numbers: Sequence[int | None], found: Found
) -> None:
    """On the merge that was found, which is the best of all rays."""
    best = found["best"]
    if best is None:
        return
    wanted = _number(found, (best["weights"], False))
    for name, value, number in zip(names, fused, numbers, strict=True):
        if number == wanted and value is not None:
            mark = {"symbol": "diamond", "size": 15, "color": BEST, "line": {"width": 1, "color": "#5c4600"}}
            trace = go.Scatter(x=[name], y=[value], mode="markers", name="best", showlegend=False, marker=mark)
            trace.update(customdata=[[number]], hovertemplate="best: %{x}, %{y:.4g}<extra></extra>")
            figure.add_trace(trace, row=1, col=1)
            return


def _subsets(
    rows: Sequence[Mapping[str, Any]], kind: str, where: str, side: float, look: Mapping[str, Any]
) -> go.Scatter:
    return go.Scatter(
        x=[row["n"] + side for row in rows],
        y=[row[kind][where] for row in rows],
        customdata=[[row[kind]["number"], plain(", ".join(row["checkpoints"]))] for row in rows],
        hovertemplate="<b>%{customdata[1]}</b><br>%{y:.2f}<extra>%{fullData.name}</extra>",
        **look,
    )
