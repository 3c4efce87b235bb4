"""Figures of networks on several domains: each on every one of them, and the way from one to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusionlib.charts.colours import MERGE, QUIET

COLOURS = ("#3b82f6", "#e0682b", "#9a63c9", "#d9a441", "#1f9fb4", "#c8553d", "#7a8b2f", "#c063a0")
COMBINED = "#b7791f"
"""Of data combination, which merges are held against."""

SYMBOLS = ("circle", "square", "triangle-up", "cross")
"""Of domains in their order; colours first, then the next symbol."""

LONGEST = 30
"""Characters of a network's name beside its line."""

TEXT = {"size": 14}
"""A projector shows these charts as they are."""

_LEGEND = {"font": TEXT, "orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"}


def _mark(number: int) -> tuple[str, str]:
    return COLOURS[number % len(COLOURS)], SYMBOLS[number // len(COLOURS) % len(SYMBOLS)]


def networks_figure(rows: Sequence[Mapping[str, Any]], domains: Sequence[str]) -> go.Figure:
    """A line a network, best on top: a point for its mIoU on each domain and a bar at their harmonic mean, in percent.

    A short line is a network that is as good everywhere. Rows have `name`, `domains` and `harmonic`; those of `group`
    "baseline" have a dotted line and another bar, through which a dotted line leads up to all others.
    """
    drawn = list(rows)[::-1]
    marks = [COMBINED if _combined(row) else MERGE for row in drawn]
    places, names = list(range(len(drawn))), [row["name"] for row in drawn]
    figure = go.Figure()
    for place, row in zip(places, drawn, strict=True):
        there = [100 * score for score in row["domains"].values() if score is not None]
        if there:
            figure.add_shape(
                type="line", x0=min(there), x1=max(there), y0=place, y1=place, layer="below",
                line={"color": QUIET, "width": 1.5, "dash": "dot" if _combined(row) else "solid"},
            )  # fmt: skip
        if _combined(row) and row["harmonic"] is not None:
            figure.add_vline(100 * row["harmonic"], line={"color": COMBINED, "width": 1.5, "dash": "dot"})
    for number, domain in enumerate(domains):
        colour, symbol = _mark(number)
        figure.add_scatter(
            x=[_percent(row["domains"][domain]) for row in drawn],
            y=places,
            mode="markers",
            name=domain,
            marker={"color": colour, "symbol": symbol, "size": 9},
            customdata=names,
            hovertemplate=f"<b>%{{customdata}}</b><br>{_plain(domain)}: %{{x:.2f}} %<extra></extra>",
        )
    figure.add_scatter(
        x=[_percent(row["harmonic"]) for row in drawn],
        y=places,
        mode="markers+text",
        name="harmonic mean",
        text=["" if row["harmonic"] is None else f"{100 * row['harmonic']:.1f}" for row in drawn],
        textposition="top center",
        textfont=TEXT,
        marker={"color": marks, "symbol": "line-ns", "size": 9, "line": {"color": marks, "width": 4}},
        customdata=names,
        hovertemplate="<b>%{customdata}</b><br>harmonic mean: %{x:.2f} %<extra></extra>",
    )
    figure.update_layout(
        height=110 + 34 * len(drawn), margin={"l": 8, "r": 8, "t": 34, "b": 40}, legend=_LEGEND, xaxis_title="mIoU (%)"
    )
    figure.update_xaxes(tickfont=TEXT)
    figure.update_yaxes(
        automargin=True,
        tickfont=TEXT,
        tickmode="array",
        tickvals=places,
        ticktext=[_short(name) for name in names],
        range=[-0.6, len(drawn) - 0.2],
        showgrid=False,
        zeroline=False,
    )
    return figure


def path_figure(path: Mapping[str, Any], domains: Sequence[str]) -> go.Figure:
    """mIoU of each domain along alpha, and the harmonic mean as the thick line, in percent; `path` as of the study."""
    points = path["points"]
    alphas = [point["alpha"] for point in points]
    figure = go.Figure()
    for number, domain in enumerate(domains):
        colour, symbol = _mark(number)
        figure.add_scatter(
            x=alphas,
            y=[_percent(point["domains"][domain]) for point in points],
            mode="lines+markers",
            name=domain,
            line={"color": colour, "width": 1.5},
            marker={"symbol": symbol, "size": 5},
            hovertemplate=f"alpha %{{x:.1f}}<br>{_plain(domain)}: %{{y:.2f}} %<extra></extra>",
        )
    figure.add_scatter(
        x=alphas,
        y=[_percent(point["harmonic"]) for point in points],
        mode="lines+markers",
        name="harmonic mean",
        line={"color": MERGE, "width": 4},
        marker={"size": 8},
        hovertemplate="alpha %{x:.1f}<br>harmonic mean: %{y:.2f} %<extra></extra>",
    )
    first, second = map(_plain, path["of"])
    figure.update_layout(
        height=380,
        margin={"l": 8, "r": 8, "t": 34, "b": 40},
        legend=_LEGEND,
        xaxis_title=f"alpha: weight of {first}, the rest is {second}",
        yaxis_title="mIoU (%)",
    )
    figure.update_xaxes(range=[-0.03, 1.03], dtick=0.1, tickfont=TEXT)
    figure.update_yaxes(tickfont=TEXT)
    return figure


def _combined(row: Mapping[str, Any]) -> bool:
    return row.get("group") == "baseline"


def _percent(score: float | None) -> float | None:
    return None if score is None else 100 * score


def _short(name: str) -> str:
    name = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return _plain(name)


def _plain(name: str) -> str:
    """A name in which nothing is markup for the chart."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace("%{", "% {")
