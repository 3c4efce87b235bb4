"""Figure of a trade: the score of everything measured against its calibration and its forward passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fusionlib.charts.colours import ENSEMBLE, MERGE, QUIET
from fusionlib.charts.search import plain


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Numbers of the points (cost, score) that no other beats in both: less cost, no lower score; cheapest first.

    Of equal points the first counts.
    """
    kept: list[int] = []
    for number in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not kept or points[number][1] > points[kept[-1]][1]:
            kept.append(number)
    return kept


COSTS: Mapping[str, tuple[str, str]] = {
    "forwards": ("forward passes", "forward passes a picture"),
    "latency_ms": ("latency", "latency of a picture (ms)"),
    "memory_mb": ("memory", "peak memory of a forward pass (MB)"),
}
"""What a network costs: figures of its row, as they are called and as their axis says."""


def pareto_figure(rows: Sequence[Mapping[str, Any]], cost: str = "forwards") -> go.Figure:
    """mIoU over ECE on the left, over one of `COSTS` on the right; the line joins what nothing else beats in
    both. `customdata` of a point starts with the number of its row; rows without figures are left out.
    """
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    for column, (name, scale, title) in enumerate(
        (("ece", 100, "ECE (%), lower is better"), (cost, 1, COSTS[cost][1])), 1
    ):
        drawn = [(number, row) for number, row in enumerate(rows) if None not in (row["miou"], row[name])]
        points = [(scale * row[name], 100 * row["miou"]) for _, row in drawn]
        best = front(points)
        figure.add_trace(
            go.Scatter(
                x=[points[number][0] for number in best],
                y=[points[number][1] for number in best],
                mode="lines",
                line={"color": QUIET, "width": 1, "dash": "dot"},
                hoverinfo="skip",
                showlegend=False,
            ),
            row=1,
            col=column,
        )
        figure.add_trace(_dots(drawn, points), row=1, col=column)
        figure.update_xaxes(title=title, row=1, col=column)
    if cost == "forwards":
        figure.update_xaxes(dtick=1, row=1, col=2)
    figure.update_yaxes(title="mIoU (%)", row=1, col=1)
    figure.update_layout(height=340, margin={"l": 8, "r": 8, "t": 16, "b": 8}, clickmode="event+select")
    return figure


def _dots(drawn: Sequence[tuple[int, Mapping[str, Any]]], points: Sequence[tuple[float, float]]) -> go.Scatter:
    return go.Scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        mode="markers",
        showlegend=False,
        marker={"size": 11, "color": [_colour(row) for _, row in drawn]},
        customdata=[[number, plain(row["name"])] for number, row in drawn],
        hovertemplate="<b>%{customdata[1]}</b><br>%{x:.3g}, mIoU %{y:.2f} %<extra></extra>",
    )


def _colour(row: Mapping[str, Any]) -> str:
    if row["group"] in ("single", "temperature"):
        return QUIET
    return ENSEMBLE if row["forwards"] > 1 else MERGE
