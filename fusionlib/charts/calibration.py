"""Figures of calibration: reliability diagram, separation of right and wrong, curves along alpha, bands over pairs,
temperature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fusionlib.charts.calibration_terms import TERMS, best_alpha
from fusionlib.charts.colours import ENSEMBLE, MERGE, QUIET, A, B
from fusionlib.measures.calibration_summary import MINIMUM_COUNT

COLOURS = {"a": A, "b": B, "m": MERGE, "e": ENSEMBLE}
"""By role."""

RIGHT, WRONG = "#1aa89b", "#e8622c"
_LEGEND = {"orientation": "h", "y": 1.02, "x": 0, "xanchor": "left", "yanchor": "bottom"}
_MARGIN = {"l": 8, "r": 12, "t": 48, "b": 48}

Entry = tuple[str, str, Mapping[str, Any]]
"""Role (a, b, m or e), name, summary."""


def reliability_figure(entries: Sequence[Entry], chosen: tuple[str, int] | None = None) -> go.Figure:
    """Accuracy per confidence bin over pixels per bin (log axis), networks side by side within each bin; empty bins
    stay empty.

    A dot stands at mean confidence and accuracy of its bin, so its height over the diagonal is the gap; a bar of that
    length, from confidence to accuracy, stands beside those of the other networks. Bins under `MINIMUM_COUNT` pixels
    are faint and no line leads to them: their accuracy is chance. `customdata` of every point starts with role and bin
    number. `chosen` (role, bin) is outlined.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.05)
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 100],
            mode="lines",
            line={"color": QUIET, "dash": "dot", "width": 1.5},
            hoverinfo="skip",
            name="perfectly calibrated",
        ),
        1,
        1,
    )
    for place, entry in enumerate(entries):
        for row, trace in _network(entry, place, len(entries), chosen):
            figure.add_trace(trace, row, 1)
    bins = len(entries[0][2]["bins"]) if entries else 10
    figure.update_layout(
        title={"text": "Reliability", "y": 0.985, "yanchor": "top"},
        height=580,
        margin={**_MARGIN, "t": 84},
        legend=_LEGEND,
        barmode="overlay",
        clickmode="event+select",
        hovermode="closest",
    )
    edges = np.linspace(0, 1, bins + 1)
    every = max(1, bins // 5)
    named = [f"{edge:.2g}" if number % every == 0 else "" for number, edge in enumerate(edges)]
    figure.update_xaxes(range=[0, 1], tickvals=edges, ticktext=named, showgrid=True)
    figure.update_xaxes(title="confidence (probability of the predicted class)", row=2, col=1)
    figure.update_yaxes(title="accuracy (% of pixels)", range=[-3, 103], row=1, col=1)
    figure.update_yaxes(title="pixels (log)", type="log", dtick=2, exponentformat="power", row=2, col=1)
    return figure


def _network(entry: Entry, place: int, count: int, chosen: tuple[str, int] | None) -> list[tuple[int, Any]]:
    """Traces of a network with the row of the figure in which each belongs: bars, line and points, pixels."""
    role, name, summary = entry
    bins, width = summary["bins"], 1 / len(summary["bins"])
    slot = 0.86 * width / count
    full = [(number, bin) for number, bin in enumerate(bins) if bin["count"]]
    tiny = [bin["count"] < MINIMUM_COUNT for _, bin in full]
    about = [_about(role, number, bin) for number, bin in full]
    picked = [(role, number) == chosen for number, _ in full]
    marker = {"color": COLOURS[role], "line": _outline(role, picked)}
    bars: dict[str, Any] = {
        "x": [bin["low"] + 0.07 * width + (place + 0.5) * slot for _, bin in full],
        "width": slot * 0.92,
        "showlegend": False,
    }
    common: dict[str, Any] = {"customdata": about, "hovertemplate": _HOVER.format(name=name), "legendgroup": role}
    common["name"] = name
    faint = {**marker, "opacity": [0.12 if small else 0.4 for small in tiny]}
    return [
        (1, go.Bar(y=[row[5] for row in about], base=[row[4] for row in about], marker=faint, **bars, **common)),
        (1, _joined(role, about, tiny)),
        (1, _points(marker, about, tiny, picked, common)),
        (2, go.Bar(y=[row[2] for row in about], marker=marker, **bars, **common)),
    ]


_HOVER = (
    "<b>{name}</b><br>%{{customdata[2]:,}} pixels%{{customdata[6]}}<br>accuracy %{{customdata[3]:.1f}}"
    " %<br>confidence %{{customdata[4]:.1f}} %<br>gap %{{customdata[5]:+.1f}} points<br><i>click: see where they"
    " are</i><extra></extra>"
)


def _about(role: str, number: int, bin: Mapping[str, Any]) -> list[Any]:
    """What the pointer is told of a bin; shares in %."""
    return [
        role,
        number,
        bin["count"],
        100 * bin["accuracy"],
        100 * bin["confidence"],
        100 * (bin["accuracy"] - bin["confidence"]),
        f", under {MINIMUM_COUNT}: little can be said" if bin["count"] < MINIMUM_COUNT else "",
    ]


def _outline(role: str, picked: Sequence[bool]) -> dict[str, Any]:
    return {
        "color": ["#f2c230" if one else COLOURS[role] for one in picked],
        "width": [3 if one else 0 for one in picked],
    }


def _joined(role: str, about: Sequence[Sequence[Any]], tiny: Sequence[bool]) -> go.Scatter:
    """The line through the bins that have pixels enough."""
    return go.Scatter(
        x=[row[4] / 100 for row in about],
        y=[None if small else row[3] for row, small in zip(about, tiny, strict=True)],
        mode="lines",
        line={"width": 1.2, "color": COLOURS[role]},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=role,
    )


def _points(
    marker: Mapping[str, Any],
    about: Sequence[Sequence[Any]],
    tiny: Sequence[bool],
    picked: Sequence[bool],
    common: Mapping[str, Any],
) -> go.Scatter:
    return go.Scatter(
        x=[row[4] / 100 for row in about],
        y=[row[3] for row in about],
        mode="markers",
        marker={
            **marker,
            "size": [11 if one else 5 if small else 7 for one, small in zip(picked, tiny, strict=True)],
            "opacity": [0.35 if small else 1 for small in tiny],
        },
        **common,
    )


def separation_figure(name: str, right: np.ndarray, wrong: np.ndarray) -> go.Figure:
    """Confidence of right and of wrong pixels, each as percent of its own kind: two (B,) histograms."""
    figure = go.Figure()
    edges = np.linspace(0, 1, len(right) + 1)
    for counts, title, colour in ((wrong, "wrong pixels", WRONG), (right, "right pixels", RIGHT)):
        if counts.sum():
            figure.add_trace(
                go.Bar(
                    x=(edges[1:] + edges[:-1]) / 2,
                    y=100 * counts / counts.sum(),
                    width=np.diff(edges),
                    name=title,
                    marker={"color": colour, "line": {"width": 0}},
                    opacity=0.62,
                    customdata=counts,
                    hovertemplate="confidence %{x:.3f}<br>%{y:.2f} % (%{customdata:,} pixels)<extra>"
                    + title
                    + "</extra>",
                )
            )
    figure.update_layout(
        title=f"Confidence of right and wrong pixels: {name}",
        height=320,
        margin=_MARGIN,
        bargap=0,
        barmode="overlay",
        legend={"x": 0.03, "y": 0.97, "xanchor": "left", "yanchor": "top"},
        xaxis_title="confidence (probability of the predicted class)",
        yaxis_title="share of the right, or wrong, pixels (%)",
    )
    figure.update_xaxes(range=[0, 1])
    return figure


def _panels(keys: Sequence[str]) -> tuple[go.Figure, list[tuple[str, int, int]]]:
    """mIoU over the whole width, the other figures below in two columns, one axis of alpha."""
    rest = [key for key in keys if key != "miou"]
    rows = 1 + -(-len(rest) // 2)
    specs: list[list[Any]] = [[{"colspan": 2}, None], *[[{}, {}] for _ in range(rows - 1)]]
    if len(rest) % 2:
        specs[-1][1] = None
    titles = [f"{TERMS[key].axis}: {'higher' if TERMS[key].higher else 'lower'} is better" for key in ("miou", *rest)]
    figure = make_subplots(
        rows=rows, cols=2, specs=specs, subplot_titles=titles, vertical_spacing=0.28 / rows, horizontal_spacing=0.07
    )
    figure.update_layout(height=170 + 190 * rows, margin={**_MARGIN, "t": 64}, showlegend=False)
    figure.update_annotations(font_size=13)
    figure.update_xaxes(range=[-0.02, 1.02])
    places = [("miou", 1, 1), *((key, 2 + number // 2, 1 + number % 2) for number, key in enumerate(rest))]
    for key, row, col in places:
        figure.update_yaxes(title=TERMS[key].unit or "probability", row=row, col=col)
        if row == rows or (row == rows - 1 and col == 2 and len(rest) % 2):
            figure.update_xaxes(title="alpha (weight of A, no unit)", row=row, col=col)
    return figure, places


def curves_figure(points: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> go.Figure:
    """Figures against alpha under the mIoU curve; the alpha of the best mIoU runs through all, each figure's own best
    is a star.
    """
    figure, places = _panels(keys)
    best = best_alpha(points, "miou")
    for key, row, col in places:
        term, own = TERMS[key], best_alpha(points, key)
        shown = [term.shown(point[key]) for point in points]
        figure.add_trace(
            go.Scatter(
                x=[point["alpha"] for point in points],
                y=shown,
                mode="lines+markers",
                line={"color": COLOURS["m"], "width": 2},
                marker={
                    "opacity": 1,
                    "size": [14 if point["alpha"] == own else 6 for point in points],
                    "symbol": ["star" if point["alpha"] == own else "circle" for point in points],
                },
                customdata=[_named(point["alpha"], own, best) for point in points],
                hovertemplate="<b>alpha %{x:g}</b>%{customdata}<br>" + term.title + " %{y:.4g}<extra></extra>",
            ),
            row,
            col,
        )
        if best is not None:
            figure.add_vline(x=best, line={"color": QUIET, "dash": "dash", "width": 1.2}, row=row, col=col)  # type: ignore[arg-type]
    figure.update_layout(title="Calibration along alpha")
    return figure


def _named(alpha: float, own: float | None, best: float | None) -> str:
    """What is special about an alpha: the ends are networks alone, and two of the points may be best."""
    said = [
        text
        for applies, text in (
            (alpha == 0, "B alone"),
            (alpha == 1, "A alone"),
            (alpha == own, "best measured point"),
            (alpha == best, "best measured mIoU"),
        )
        if applies
    ]
    return f" ({', '.join(said)})" if said else ""


def band_figure(bands: Mapping[str, Sequence[Mapping[str, float]]], pairs: int) -> go.Figure:
    """Mean over pairs with the band from lowest to highest, per figure."""
    figure, places = _panels(list(bands))
    for key, row, col in places:
        term, rows = TERMS[key], bands.get(key, ())
        x = [point["alpha"] for point in rows]
        high, low = ([term.shown(point[side]) for point in rows] for side in ("high", "low"))
        figure.add_trace(
            go.Scatter(
                x=[*x, *x[::-1]],
                y=[*high, *low[::-1]],
                mode="lines",
                line={"width": 0},
                hoverinfo="skip",
                fill="toself",
                fillcolor="rgba(26, 147, 111, 0.2)",
            ),
            row,
            col,
        )
        figure.add_trace(
            go.Scatter(
                x=x,
                y=[term.shown(point["mean"]) for point in rows],
                mode="lines+markers",
                marker={"size": 6},
                line={"color": COLOURS["m"], "width": 2},
                customdata=list(zip(low, high, strict=True)),
                hovertemplate=(
                    f"<b>alpha %{{x:g}}</b><br>{term.title}: mean %{{y:.4g}}<br>lowest pair %{{customdata[0]:.4g}}"
                    "<br>highest pair %{customdata[1]:.4g}<extra></extra>"
                ),
            ),
            row,
            col,
        )
    figure.update_layout(title=f"Mean and range over {pairs} pair{'' if pairs == 1 else 's'}")
    return figure


def temperature_figure(losses: Sequence[Sequence[float]], temperature: float) -> go.Figure:
    """Likelihood against temperature on the pictures that it was fitted on."""
    figure = go.Figure(
        go.Scatter(
            x=[pair[0] for pair in losses],
            y=[pair[1] for pair in losses],
            mode="lines+markers",
            line={"color": QUIET, "width": 2},
            hovertemplate="<b>measured at T %{x:.3g}</b><br>NLL %{y:.4f} nats<extra></extra>",
        )
    )
    figure.add_vline(x=temperature, line={"color": COLOURS["m"], "width": 2})
    figure.add_vline(x=1, line={"color": QUIET, "dash": "dot"})
    figure.update_layout(
        title=f"Likelihood against temperature, fitted T {temperature:.3f}",
        height=320,
        margin=_MARGIN,
        showlegend=False,
        xaxis_title="temperature T (log, no unit; above 1: less sure)",
        yaxis_title="NLL where it was fitted (nats)",
    )
    figure.update_xaxes(type="log", tickvals=[0.25, 0.5, 1, 2, 4, 8])
    return figure
