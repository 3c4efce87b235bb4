"""Figures of error analysis: transitions, change per class, risk against coverage. A point's `customdata` begins with
the pixels that it stands for, as `Pixels.text` writes them; empty where it stands for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusionlib.charts.classes import BETTER, WORSE
from fusionlib.charts.colours import MERGE, QUIET
from fusionlib.measures.bins import MINIMUM_COUNT
from fusionlib.measures.error_stack import Pixels
from fusionlib.measures.transitions import TRANSITIONS

CHANGED = ("fixed", "broken", "both_wrong_different")
"""Transitions of pixels whose label is another one."""

WORDS: Mapping[str, tuple[str, str]] = {
    "both_right": ("right in both", "#4a525c"),
    "fixed": ("fixed", "#0072d2"),
    "broken": ("broken", "#e65a00"),
    "both_wrong_same": ("wrong as before", "#be78b4"),
    "both_wrong_different": ("wrong otherwise", "#d9c81e"),
}
"""How a transition is called, and its colour: the lens of the viewer has nearly the same. Told apart by deuteranopes,
who see the violet of what is wrong as before as a grey of middle brightness.
"""

_LONGEST = 18


def short(name: str) -> str:
    """A class as a tick has it."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def transitions_figure(totals: Mapping[str, int]) -> go.Figure:
    """One bar of all labelled pixels, split by transition, shares in its legend."""
    labelled = max(1, sum(totals.values()))
    figure = go.Figure()
    for name in ("fixed", "broken", "both_wrong_different", "both_wrong_same", "both_right"):
        words, colour = WORDS[name]
        share = 100 * totals[name] / labelled
        figure.add_trace(
            go.Bar(
                x=[share],
                y=[""],
                orientation="h",
                name=f"{words} {share:.1f} %",
                marker={"color": colour, "line": {"width": 0}},
                customdata=[[Pixels(transitions=(name,)).text, totals[name]]],
                hovertemplate=f"{words}: %{{customdata[1]:,}} pixels, %{{x:.2f}} %<extra></extra>",
            )
        )
    figure.update_layout(
        barmode="stack",
        height=72,
        margin={"l": 0, "r": 0, "t": 32, "b": 8},
        legend={"orientation": "h", "y": 1.15, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        xaxis={"range": [0, 100], "showticklabels": False, "showgrid": False, "fixedrange": True},
        yaxis={"showticklabels": False, "fixedrange": True},
        clickmode="event+select",
    )
    return figure


def class_figure(rows: Sequence[Mapping[str, Any]], truths: Mapping[str, Sequence[int]]) -> go.Figure:
    """A bar per class or category with its 95 % interval, the largest gain on top; `truths` are its ids.

    Those that the truth lacks are named with n/a and have no bar.
    """
    order = sorted(rows, key=lambda row: (row["change"] is not None, row["change"] or 0))
    change = [None if row["change"] is None else 100 * row["change"] for row in order]
    figure = go.Figure(
        go.Bar(
            x=change,
            y=[_named(row) for row in order],
            orientation="h",
            marker_color=[BETTER if (value or 0) >= 0 else WORSE for value in change],
            error_x=_whiskers(order),
            customdata=[_about(row, truths[row["name"]]) for row in order],
            hovertemplate="<b>%{customdata[1]}</b><br>%{customdata[2]}<extra></extra>",
        )
    )
    figure.update_layout(
        height=max(200, 26 * len(order) + 72),
        margin={"l": 8, "r": 16, "t": 8, "b": 48},
        bargap=0.35,
        xaxis={"title": "change of IoU (percentage points)", "zeroline": True, "fixedrange": True},
        yaxis={"automargin": True, "fixedrange": True},
        showlegend=False,
        clickmode="event+select",
    )
    return figure


def _named(row: Mapping[str, Any]) -> str:
    return f"{short(row['name'])}  {counted(row['pixels'])}" if row["pixels"] else f"{short(row['name'])}  n/a"


def _whiskers(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """From the bar's end to both ends of the interval; none where there is no interval."""
    sides = [[0.0, 0.0] if row["interval"] is None else _sides(row) for row in rows]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high for _, high in sides],
        "arrayminus": [low for low, _ in sides],
        "color": QUIET,
        "thickness": 1.5,
        "width": 3,
    }


def _sides(row: Mapping[str, Any]) -> list[float]:
    low, high = row["interval"]
    return [max(0.0, 100 * (row["change"] - low)), max(0.0, 100 * (high - row["change"]))]


def _about(row: Mapping[str, Any], truths: Sequence[int]) -> list[str]:
    if row["change"] is None:
        return ["", row["name"], "n/a: not in these pictures"]
    before, after = (row["iou"][name] for name in ("reference", "merge"))
    interval = ""
    if row["interval"] is not None:
        interval = f"<br>95 % interval {100 * row['interval'][0]:+.1f} to {100 * row['interval'][1]:+.1f}"
    words = (
        f"IoU {100 * (before or 0):.1f} → {100 * (after or 0):.1f} %{interval}<br>"
        f"{row['fixed']:,} fixed, {row['broken']:,} broken of {row['pixels']:,}"
    )
    return [Pixels(truths=tuple(truths), transitions=CHANGED).text, row["name"], words]


def counted(pixels: int) -> str:
    """A number of pixels in three digits or so: 950, 12k, 3.4M."""
    if pixels < 1000:
        return str(pixels)
    if pixels < 9_950:
        return f"{pixels / 1000:.1f}k"
    return f"{pixels / 1000:.0f}k" if pixels < 999_500 else f"{pixels / 1e6:.1f}M"


def risk_figure(curves: Mapping[str, Sequence[Mapping[str, float]]], names: Mapping[str, str]) -> go.Figure:
    """Share of wrong pixels among the most confident ones, against their share of all; a line per network."""
    figure = go.Figure()
    for role, colour, dash in (("reference", QUIET, "dash"), ("merge", MERGE, "solid")):
        points = curves.get(role, ())
        if points:
            figure.add_trace(
                go.Scatter(
                    x=[100 * point["coverage"] for point in points],
                    y=[100 * point["risk"] for point in points],
                    mode="lines",
                    name=names[role],
                    line={"color": colour, "dash": dash, "width": 2.5},
                    hovertemplate="the surest %{x:.0f} %: %{y:.1f} % wrong<extra>%{fullData.name}</extra>",
                )
            )
    figure.update_layout(
        height=320,
        margin={"l": 8, "r": 16, "t": 32, "b": 48},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={"title": "coverage (% of pixels, the surest first)", "range": [0, 100], "fixedrange": True},
        yaxis={"title": "risk (% of them wrong)", "rangemode": "tozero", "fixedrange": True},
    )
    return figure


def bins_figure(wrong: Sequence[int], right: Sequence[int], chosen: int | None = None) -> go.Figure:
    """Accuracy in each bin of confidence beside the diagonal, where it would be as sure as it is right; bins under
    `MINIMUM_COUNT` pixels are faint. The bin `chosen` is outlined.
    """
    count = len(right)
    centres = [100 * (number + 0.5) / count for number in range(count)]
    pixels = [bad + good for bad, good in zip(wrong, right, strict=True)]
    figure = go.Figure(
        go.Bar(
            x=centres,
            y=[100 * good / of if of else None for good, of in zip(right, pixels, strict=True)],
            width=100 / count,
            marker={
                "color": MERGE,
                "opacity": [1.0 if of >= MINIMUM_COUNT else 0.35 for of in pixels],
                "line": {
                    "width": [3 if number == chosen else 0 for number in range(count)],
                    "color": WORDS["broken"][1],
                },
            },
            customdata=[
                [Pixels(bin=(number, count)).text if of else "", of, bad]
                for number, (of, bad) in enumerate(zip(pixels, wrong, strict=True))
            ],
            hovertemplate="%{y:.1f} % right<br>%{customdata[1]:,} pixels, %{customdata[2]:,} wrong<extra></extra>",
            name="the merge",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[0, 100], y=[0, 100], mode="lines", line={"color": QUIET, "dash": "dot"}, hoverinfo="skip", name="ideal"
        )
    )
    figure.update_layout(
        height=280,
        margin={"l": 8, "r": 16, "t": 8, "b": 48},
        bargap=0.05,
        xaxis={"title": "confidence (%)", "range": [0, 100], "fixedrange": True},
        yaxis={"title": "right (% of pixels)", "range": [0, 102], "fixedrange": True},
        showlegend=False,
        clickmode="event+select",
    )
    return figure


__all__ = [
    "CHANGED",
    "TRANSITIONS",
    "WORDS",
    "bins_figure",
    "class_figure",
    "counted",
    "risk_figure",
    "transitions_figure",
]
