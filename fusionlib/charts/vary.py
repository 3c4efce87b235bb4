"""Figure of a varied parameter: a curve for every dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusionlib.charts.colours import ENSEMBLE, MERGE
from fusionlib.charts.search import plain

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
