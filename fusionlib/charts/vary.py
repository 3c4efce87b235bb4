"""Figure of a varied parameter: a curve for every dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusionlib.charts.colours import ENSEMBLE, MERGE
from fusionlib.charts.search import plain

TICKS = 11
"""Values of an axis of a map that are all written."""

COLOURS = (MERGE, ENSEMBLE)
"""Target and source."""


def vary_figure(curves: Sequence[Mapping[str, Any]], parameter: str, labels: Sequence[str]) -> go.Figure:
    """mIoU over the parameter, the best of each curve marked by a star. `customdata` of a point starts with its
    value.
    """
    figure = go.Figure()
    for curve, label, colour in zip(curves, labels, COLOURS, strict=False):
        points = [point for point in curve["points"] if point["miou"] is not None]
        figure.add_trace(_trace(points, plain(label), {"color": colour, "size": 8}, "lines+markers"))
        if curve["best"] and (top := [one for one in points if one["value"] == curve["best"]["value"]]):
            star = {"symbol": "star", "size": 17, "color": colour, "line": {"width": 1, "color": "#5c4600"}}
            figure.add_trace(_trace(top, f"best: {parameter} {top[0]['value']:g}", star, "markers"))
    figure.update_xaxes(title=parameter)
    figure.update_yaxes(title="mIoU (%)")
    figure.update_layout(
        height=380,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        clickmode="event+select",
    )
    return figure


def map_figure(curve: Mapping[str, Any], label: str) -> go.Figure:
    """mIoU over two parameters as a heat map, the best marked by a star. `customdata` of a point starts with its number
    among the curve's points.
    """
    numbered = [(number, point) for number, point in enumerate(curve["points"]) if point["miou"] is not None]
    across, up = (sorted({point[name] for _, point in numbered}) for name in ("value", "second_value"))
    cells = {(point["value"], point["second_value"]): 100 * point["miou"] for _, point in numbered}
    names, best = (curve["parameter"], curve["second"]), curve["best"]
    figure = go.Figure(
        go.Heatmap(
            x=across,
            y=up,
            z=[[cells.get((x, y)) for x in across] for y in up],
            colorscale="Viridis",
            colorbar={"title": "mIoU (%)", "thickness": 12},
            hoverinfo="skip",
        )
    )
    # Squares that nobody sees: a heat map tells of no click.
    hover = f"{names[0]} %{{x:g}}, {names[1]} %{{y:g}}: %{{customdata[1]:.2f}} %<extra>{plain(label)}</extra>"
    figure.add_trace(
        go.Scatter(
            x=[point["value"] for _, point in numbered],
            y=[point["second_value"] for _, point in numbered],
            mode="markers",
            marker={"symbol": "square", "size": 22, "opacity": 0},
            customdata=[[number, 100 * point["miou"]] for number, point in numbered],
            hovertemplate=hover,
            showlegend=False,
        )
    )
    if best:
        star = {"symbol": "star", "size": 18, "color": "#ffffff", "line": {"width": 2, "color": "#1b1b1b"}}
        place = {"x": [best["value"]], "y": [best["second_value"]], "hoverinfo": "skip", "showlegend": False}
        figure.add_trace(go.Scatter(mode="markers", name="best", marker=star, **place))
    figure.update_xaxes(title=names[0], tickvals=across if len(across) <= TICKS else None)
    figure.update_yaxes(title=names[1], tickvals=up if len(up) <= TICKS else None)
    figure.update_layout(
        height=400,
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        title=plain(label),
        clickmode="event+select",
        hovermode="closest",
        hoverdistance=-1,  # a click anywhere in a cell is one on its square
    )
    return figure


def _trace(points: Sequence[Mapping[str, Any]], name: str, marker: dict[str, Any], mode: str) -> go.Scatter:
    return go.Scatter(
        x=[point["value"] for point in points],
        y=[100 * point["miou"] for point in points],
        mode=mode,
        name=name,
        marker=marker,
        line={"color": marker["color"], "width": 2},
        customdata=[[point["value"]] for point in points],
        hovertemplate="%{x:g}: %{y:.2f} %<extra>%{fullData.name}</extra>",
    )
