"""Figures of a mixture layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

ALONE, LEFT_OUT = "#1f8a9e", "#c8553d"


def contribution_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """By unit in network order, in percentage points: the unit alone against the anchor, and the merge without it
    against the merge.

    A unit that matters gains alone and loses when left out: its two bars point away from each other.
    """
    names = [next(iter(row.values())) for row in rows]
    figure = go.Figure(
        [
            go.Bar(x=names, y=[row["alone"] for row in rows], name="alone, against the anchor", marker_color=ALONE),
            go.Bar(
                x=names, y=[row["left out"] for row in rows], name="left out, against the merge", marker_color=LEFT_OUT
            ),
        ]
    )
    figure.update_layout(
        height=340,
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
        barmode="group",
        bargap=0.25,
        yaxis_title="percentage points",
        legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"},
    )
    figure.update_xaxes(tickangle=-50, type="category")
    figure.update_yaxes(zeroline=True)
    return figure
