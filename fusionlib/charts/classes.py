"""Change of IoU per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

BETTER, WORSE, SAME = "#1a936f", "#c8553d", "#7d8590"
"""Green and red of equal lightness that colour-blind readers tell apart by the bars' direction as well; and neither."""

LEAST = 0.05
"""Points of which one decimal shows something."""


def class_changes(
    names: Sequence[str], merged: Mapping[str, Any], a: Mapping[str, Any], b: Mapping[str, Any]
) -> list[tuple[str, float, float, float, float]]:
    """Rows (class, change, merge, A, B): IoU in percent; change = merge - max(A, B) in points, best first.

    Classes that any of the three lacks are left out.
    """
    rows = []
    for name, *scores in zip(names, merged["iou"], a["iou"], b["iou"], strict=True):
        if all(score is not None for score in scores):
            merge, first, second = (100 * score for score in scores)
            rows.append((name, merge - max(first, second), merge, first, second))
    return sorted(rows, key=lambda row: -row[1])


def class_change_figure(
    names: Sequence[str], merged: Mapping[str, Any], a: Mapping[str, Any], b: Mapping[str, Any]
) -> go.Figure:
    """Horizontal bars of `class_changes`, the largest gain on top."""
    rows = class_changes(names, merged, a, b)[::-1]
    figure = go.Figure(
        go.Bar(
            x=[row[1] for row in rows],
            y=[row[0] for row in rows],
            orientation="h",
            marker_color=[_colour(row[1]) for row in rows],
            text=["0.0" if _colour(row[1]) == SAME else f"{row[1]:+.1f}" for row in rows],
            textposition="outside",
            cliponaxis=False,
            customdata=[row[2:] for row in rows],
            hovertemplate=(
                "%{y}: merge %{customdata[0]:.1f} %, A %{customdata[1]:.1f} %, B %{customdata[2]:.1f} %<extra></extra>"
            ),
        )
    )
    figure.update_layout(
        height=max(220, 26 * len(rows) + 104),
        margin={"l": 8, "r": 40, "t": 32, "b": 48},  # the tools lie above the first bar
        bargap=0.35,
        xaxis_title="change of IoU against the better of A and B (percentage points)",
        yaxis_title=None,
        xaxis_zeroline=True,
        showlegend=False,
    )
    return figure


def _colour(change: float) -> str:
    if abs(change) < LEAST:
        return SAME
    return BETTER if change > 0 else WORSE
