"""Figure of a comparison: what each row gains over the best single network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusionlib.charts.colours import QUIET

LONGEST = 32
"""Characters of a row's name beside its bar; the whole name is shown on hover."""

GAIN, LOSS, COSTLY, ALONE = "#1a936f", "#c8553d", "#d9a441", "#8a97a3"


def gain_figure(rows: Sequence[Mapping[str, Any]], title: str) -> go.Figure:
    """A bar a measured row, best on top: mIoU minus that of the best single network, in points.

    Green gains, red loses; amber costs more than one forward pass; single networks are grey. Of equal rows the first
    is above. Rows without a gain are left out.
    """
    drawn = sorted((row for row in rows if row["gain"] is not None), key=lambda row: -row["gain"])[::-1]
    colours = [_colour(row) for row in drawn]
    names = [row["name"] for row in drawn]
    gains = [0.0, *(row["gain"] for row in drawn)]
    room = 0.12 * max(max(gains) - min(gains), 0.01)  # for the figures at the ends of the bars
    details = [[100 * row["miou"], row["forwards"], row["buffers"] or "each network's own"] for row in drawn]
    figure = go.Figure(
        go.Bar(
            x=[row["gain"] for row in drawn],
            y=names,
            orientation="h",
            marker_color=colours,
            customdata=details,
            text=[f"{row['gain']:+.2f}" for row in drawn],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=(
                "<b>%{y}</b><br>%{x:+.2f} points<br>mIoU %{customdata[0]:.2f} %<br>forward passes %{customdata[1]}"
                "<br>statistics: %{customdata[2]}<extra></extra>"
            ),
        )
    )
    figure.add_vline(x=0, line_width=1, line_color=QUIET)
    figure.update_layout(
        title=title,
        height=150 + 26 * len(drawn),
        margin={"l": 8, "r": 48, "t": 44, "b": 52},
        bargap=0.3,
        xaxis_title="mIoU over the best single network (points)",
        showlegend=False,
    )
    figure.update_xaxes(range=[min(gains) - room * (min(gains) < 0), max(gains) + room])
    figure.update_yaxes(automargin=True, tickmode="array", tickvals=names, ticktext=[_short(name) for name in names])
    return figure


def _colour(row: Mapping[str, Any]) -> str:
    if row["group"] in ("single", "temperature"):
        return ALONE
    return COSTLY if row["forwards"] > 1 else GAIN if row["gain"] >= 0 else LOSS


def _short(name: str) -> str:
    """The beginning and the end, which for a subset says the method."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 13]}\u2026{name[-12:]}"
