"""Figures of training runs: snapshots on lines to the last one, and what a start gains from epochs of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fusionlib.charts.colours import QUIET
from fusionlib.charts.domains import COLOURS
from fusionlib.charts.search import laid_out, plain

Found = Mapping[str, Any]

VALUES: Mapping[str, tuple[str, float]] = {"miou": ("mIoU (%)", 100), "loss": ("loss (nats)", 1)}
"""What is drawn along alpha: title of its axis, and scale."""

SERIES: Sequence[tuple[str, str, float]] = (
    ("fused", "fused<br>mIoU (%)", 100),
    ("single", "single<br>mIoU (%)", 100),
    ("loss", "loss<br>nats", 1),
    ("oracle", "oracle<br>mIoU (%)", 100),
    ("cosine", "cosine", 1),
)
DASHES = ("solid", "dot")
"""Of the first dataset and the second."""


def snapshots_figure(found: Found, value: str = "miou") -> go.Figure:
    """`value` along alpha, the weight of the last snapshot: a line for every other one, its name at alpha 0; a second
    dataset is dotted. `found` is what snapshots of a run give.

    Source: Huang et al. 2017 (Snapshot Ensembles), figure 5.
    """
    figure, (title, scale) = go.Figure(), VALUES[value]
    for number, line in enumerate(found["lines"]):
        for place, data in enumerate(found["data"]):
            points = [point for point in line["data"][place]["points"] if point[value] is not None]
            figure.add_scatter(
                x=[point["alpha"] for point in points],
                y=[scale * point[value] for point in points],
                name=plain(line["name"]),
                legendgroup=line["name"],
                showlegend=place == 0,
                mode="lines+markers",
                line={"color": COLOURS[number % len(COLOURS)], "dash": DASHES[place], "width": 2},
                marker={"size": 5},
                hovertemplate=f"<b>{plain(line['name'])}</b>, {plain(data['data'])}<br>alpha %{{x:g}}: %{{y:.4g}}"
                "<extra></extra>",
            )
    figure.update_xaxes(title=f"alpha: weight of {plain(found['last'])}, the rest is the snapshot", range=[-0.03, 1.03])
    figure.update_yaxes(title=title)
    return laid_out(figure, 380)


def rates_figure(found: Found) -> go.Figure:
    """The five series over the epochs, one below the other, a colour a run; a diamond at the best epoch of each.

    Dashed: the start alone; dotted: the mean of the start and all epochs of a run, as weight averaging has it.

    Source: Weight Fusion, figures 5 and 8.
    """
    figure = make_subplots(rows=len(SERIES), shared_xaxes=True, vertical_spacing=0.03)
    for number, run in enumerate(found["runs"]):
        colour, name = COLOURS[number % len(COLOURS)], plain(run["name"])
        for row, (series, title, scale) in enumerate(SERIES, 1):
            values = [epoch[series] for epoch in run["epochs"]]
            figure.add_trace(_epochs(run, values, scale, name, colour, shown=row == 1), row=row, col=1)
            figure.update_yaxes(title=title, row=row, col=1)
        if run["best"] is not None:
            place = [epoch["name"] for epoch in run["epochs"]].index(run["best"]["name"])
            figure.add_trace(_diamond(place + 1, 100 * run["best"]["fused"], name, colour), row=1, col=1)
        if run["mean"]["miou"] is not None:
            figure.add_hline(100 * run["mean"]["miou"], line_dash="dot", line_color=colour, row=1, col=1)  # type: ignore[arg-type]
    if found["start"]["miou"] is not None:
        figure.add_hline(100 * found["start"]["miou"], line_dash="dash", line_color=QUIET, row=1, col=1)  # type: ignore[arg-type]
    figure.update_xaxes(title="epoch", dtick=1, row=len(SERIES), col=1)
    return laid_out(figure, 620)


def rate_curves_figure(found: Found) -> go.Figure:
    """What the learning rate decides, of the last epoch of each run: the cosine to the start and the oracle with it on
    the left, over the runs in order; mIoU over alpha, the weight of the start, on the right. A diamond: the best alpha
    where it is better than the start.

    Source: Weight Fusion, figure 4.
    """
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{}, {"rowspan": 2}], [{}, None]],
        shared_xaxes=True,
        horizontal_spacing=0.1,
        vertical_spacing=0.06,
        column_widths=[0.4, 0.6],
    )
    names = [plain(run["name"]) for run in found["runs"]]
    last = [run["epochs"][-1] for run in found["runs"]]
    for row, (series, title, scale) in enumerate((SERIES[4], SERIES[3]), 1):
        figure.add_scatter(
            x=names,
            y=[None if one[series] is None else scale * one[series] for one in last],
            mode="lines+markers",
            line_color=QUIET,
            showlegend=False,
            hovertemplate="%{x}: %{y:.4g}<extra></extra>",
            row=row,
            col=1,
        )
        figure.update_yaxes(title=title, row=row, col=1)
    start = found["start"]["miou"]
    for number, (name, epoch) in enumerate(zip(names, last, strict=True)):
        colour, points = COLOURS[number % len(COLOURS)], [one for one in epoch["curve"] if one["miou"] is not None]
        figure.add_scatter(
            x=[one["alpha"] for one in points],
            y=[100 * one["miou"] for one in points],
            name=name,
            mode="lines",
            line={"color": colour, "width": 2},
            hovertemplate=f"{name}, alpha %{{x:g}}: %{{y:.2f}} %<extra></extra>",
            row=1,
            col=2,
        )
        best = max(points, key=lambda one: one["miou"], default=None)
        if best is not None and start is not None and best["miou"] > start:
            figure.add_trace(_diamond(best["alpha"], 100 * best["miou"], name, colour), row=1, col=2)
    figure.update_xaxes(type="category", row=1, col=1)
    figure.update_xaxes(type="category", title="run", row=2, col=1)
    figure.update_xaxes(title=f"alpha: weight of {plain(found['start']['name'])}", row=1, col=2)
    figure.update_yaxes(title="mIoU (%)", row=1, col=2)
    return laid_out(figure, 400)


def _epochs(
    run: Found, values: Sequence[float | None], scale: float, name: str, colour: str, *, shown: bool
) -> go.Scatter:
    return go.Scatter(
        x=list(range(1, len(values) + 1)),
        y=[None if value is None else scale * value for value in values],
        customdata=[[plain(epoch["name"])] for epoch in run["epochs"]],
        name=name,
        legendgroup=name,
        showlegend=shown,
        mode="lines+markers",
        line={"color": colour, "width": 2},
        hovertemplate=f"{name}, %{{customdata[0]}}: %{{y:.4g}}<extra></extra>",
    )


def _diamond(x: float, y: float, name: str, colour: str) -> go.Scatter:
    mark = {"symbol": "diamond", "size": 13, "color": colour, "line": {"width": 1, "color": "#5c4600"}}
    hover = f"best of {name}: %{{x:g}}, %{{y:.2f}} %<extra></extra>"
    return go.Scatter(
        x=[x], y=[y], mode="markers", showlegend=False, marker=mark, legendgroup=name, hovertemplate=hover
    )
