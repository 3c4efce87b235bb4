"""Figures of a report: plain lines and bars, whose ink the page sets to its light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fusionlib.charts.classes import BETTER, WORSE
from fusionlib.charts.colours import MERGE, QUIET, A, B

PANELS = (("miou", "mIoU (%)", 100.0), ("loss", "loss (nats)", 1.0))


def curve_figure(
    points: Sequence[Mapping[str, Any]],
    ends: tuple[str, str],
    here: tuple[float, Mapping[str, Any]] | None,
) -> go.Figure:
    """mIoU and loss along alpha, the lowest first; A at 1 and B at 0 in their colours, and `here`, the merge, as a
    diamond.

    Names are taken as they are: Plotly reads tags in them.
    """
    figure = make_subplots(1, 2, horizontal_spacing=0.09)
    for column, (key, label, scale) in enumerate(PANELS, start=1):
        line = [(point["alpha"], scale * point[key]) for point in points if point[key] is not None]
        _line(figure, column, line, label)
        for alpha, name, colour in ((0.0, ends[1], B), (1.0, ends[0], A)):
            _mark(figure, column, [one for one in line if one[0] == alpha], name, colour, "circle")
        if here is not None and here[1].get(key) is not None:
            _mark(figure, column, [(here[0], scale * here[1][key])], "merge", MERGE, "diamond")
        figure.update_yaxes(title_text=label, row=1, col=column)
    figure.update_xaxes(title_text=f"alpha: 0 is {ends[1]}, 1 is {ends[0]}", range=[-0.04, 1.04], zeroline=False)
    figure.update_yaxes(zeroline=False)
    figure.update_layout(
        template=None,
        height=360,
        margin={"l": 64, "r": 16, "t": 44, "b": 56},
        legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"},
        hovermode="closest",
    )
    return figure


def _line(figure: go.Figure, column: int, line: Sequence[tuple[float, float]], label: str) -> None:
    figure.add_trace(
        go.Scatter(
            x=[alpha for alpha, _ in line],
            y=[value for _, value in line],
            mode="lines+markers",
            line={"color": QUIET, "width": 2.5},
            marker={"size": 6},
            showlegend=False,
            hovertemplate=f"alpha %{{x:g}}: {label} %{{y:.3f}}<extra></extra>",
        ),
        1,
        column,
    )


def _mark(
    figure: go.Figure, column: int, point: Sequence[tuple[float, float]], name: str, colour: str, symbol: str
) -> None:
    figure.add_trace(
        go.Scatter(
            x=[alpha for alpha, _ in point],
            y=[value for _, value in point],
            mode="markers",
            name=name,
            legendgroup=f"{symbol} {colour}",
            showlegend=column == 1,
            marker={"color": colour, "size": 14, "symbol": symbol},
            hovertemplate="alpha %{x:g}: %{y:.3f}<extra></extra>",
        ),
        1,
        column,
    )


def class_figure(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Horizontal bars: change of IoU per class in points with its 95 % interval, the largest gain on top. Classes
    without a change are left out; `names` are theirs, taken as they are.
    """
    drawn = [(name, row) for name, row in zip(names, rows, strict=True) if row["change"] is not None]
    drawn.sort(key=lambda one: one[1]["change"])
    changes = [100 * row["change"] for _, row in drawn]
    reach = [row["interval"] or (row["change"], row["change"]) for _, row in drawn]
    places = list(range(len(drawn)))
    figure = go.Figure(
        go.Bar(
            x=changes,
            y=places,
            orientation="h",
            marker_color=[BETTER if change >= 0 else WORSE for change in changes],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [max(0.0, 100 * high - change) for (_, high), change in zip(reach, changes, strict=True)],
                "arrayminus": [max(0.0, change - 100 * low) for (low, _), change in zip(reach, changes, strict=True)],
                "color": QUIET,
                "thickness": 1.5,
                "width": 4,
            },
            hovertemplate="%{x:+.2f} points<extra></extra>",
        )
    )
    figure.update_layout(
        template=None,
        height=max(220, 28 * len(drawn) + 84),
        margin={"l": 8, "r": 16, "t": 8, "b": 52},
        bargap=0.4,
        showlegend=False,
        xaxis_title="change of IoU (points), 95 % interval",
    )
    figure.update_yaxes(
        showgrid=False, zeroline=False, tickvals=places, ticktext=[name for name, _ in drawn], automargin=True
    )
    return figure
