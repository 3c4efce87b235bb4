"""All pairs of a set at a glance: how far apart they point across, what an oracle could gain (or distance) up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusionlib.charts.colours import QUIET
from fusionlib.charts.diagnostics import MARGIN, SECOND, name_of
from fusionlib.diagnostics.bootstrap import in_points

ZONE = "rgba(31, 138, 158, 0.10)"
GAINS = [[0.0, "#e8622c"], [0.5, "#c3ccd4"], [1.0, "#0f7a5c"]]
"""Red: the best merge loses; green: it gains; grey about nothing. Symmetric about 0."""

NEAREST = 1e-7
"""Smallest 1 - cosine that is told from none: a logarithmic axis has no place for 0."""

SPREAD = 30
"""Largest distance over the smallest from which on the axis is logarithmic: one outlier would press the others onto one
line.
"""

LABELLED = 12
"""Most pairs whose names are written beside their points, as far as there is room; the names of all are under the
pointer.
"""

PLOT = (460.0, 330.0)
"""Width and height in pixels that labels are placed for: the chart at a window of 1280."""

LETTER, LINE, POINT, RING = 6.4, 13.0, 9.0, 15.0
"""Width of a letter, height of a line, radius of a point and of the ring around the pair judged, in pixels."""

Numbered = Sequence[tuple[int, Mapping[str, Any]]]
Box = tuple[float, float, float, float]


def pairs_figure(
    pairs: Sequence[Mapping[str, Any]],
    useful: float,
    judged: int | None = None,
    distance: bool = False,
) -> go.Figure:
    """Every pair as a point: 1 - cosine across (log axis, no less than `NEAREST`); oracle mIoU up, or L2 distance until
    one is known and with `distance`.

    The colour is what the best merge gained. `customdata` of a point starts with the number of its pair; pair `judged`
    has a ring around it. Pairs without a cosine cannot be drawn; those without a height are ticks at the foot.
    Distances that differ by `SPREAD` or more get a logarithmic axis.
    """
    known = not distance and any(pair["oracle_miou"] is not None for pair in pairs)
    drawn = [(number, pair) for number, pair in enumerate(pairs) if pair["cosine"] is not None]
    wide = not known and _wide([pair["l2"] for _, pair in drawn])
    heights = {number: height for number, pair in drawn if (height := _height(pair, known, wide)) is not None}
    placed = [(number, pair) for number, pair in drawn if number in heights]
    across = _across([_apart(pair) for _, pair in drawn], 1 - useful)
    up = _range(list(heights.values()), wide)
    figure = go.Figure()
    reach = max((abs(pair["gain"]) for _, pair in placed if pair["gain"] is not None), default=0.01) * 100
    labels = _labels(placed, heights, across, up, wide, judged) if len(placed) <= LABELLED else {}
    if judged in heights:
        figure.add_trace(_ring(judged, pairs[judged], heights[judged], labels.pop(judged, None)))
    for measured in (False, True):
        part = [(number, pair) for number, pair in placed if (pair["gain"] is not None) == measured]
        if part:
            figure.add_trace(_points(part, heights, measured, reach, labels))
    _foot(figure, [(number, pair) for number, pair in drawn if number not in heights], up[0], wide, known)
    figure.add_vrect(x0=10 ** across[0], x1=1 - useful, fillcolor=ZONE, line_width=0, layer="below")
    figure.add_annotation(
        text=f"the paper's useful zone, cosine above {useful:g}",
        x=0,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font_size=12,
    )
    figure.update_layout(
        title="Direction and what an oracle could gain" if known else "Direction and distance",
        height=460,
        margin={**MARGIN, "t": 64},
        xaxis_title="1 - cosine of the parameters (log axis; left: same direction)",
        yaxis_title=(
            "oracle mIoU of the pair (%)"
            if known
            else f"L2 distance (units of the weights{', log axis' if wide else ''})"
        ),
        legend={"orientation": "h", "y": -0.22, "x": 0, "yanchor": "top"},
        clickmode="event+select",
    )
    figure.update_xaxes(type="log", range=across, tickvals=_ticks(*across), tickformat="~g")
    figure.update_yaxes(
        range=up, type="log" if wide else "linear", **({"tickvals": _ticks(*up), "tickformat": "~g"} if wide else {})
    )
    return figure


def _apart(pair: Mapping[str, Any]) -> float:
    return max(1 - pair["cosine"], NEAREST)


def _across(values: Sequence[float], edge: float) -> tuple[float, float]:
    """Range of the axis in powers of ten: all values, and the edge of the useful zone with some of the zone itself."""
    powers = [math.log10(one) for one in (*values, edge)]
    span = max(powers) - min(powers)
    return min(powers) - max(0.12 * span, 0.3), max(powers) + max(0.12 * span, 0.15)


def _height(pair: Mapping[str, Any], oracle: bool, wide: bool) -> float | None:
    """None where there is none: no oracle, or no distance at all on a logarithmic axis."""
    if oracle:
        return None if pair["oracle_miou"] is None else 100 * pair["oracle_miou"]
    return pair["l2"] if pair["l2"] or not wide else None


def _wide(distances: Sequence[float | None]) -> bool:
    known = [one for one in distances if one]
    return len(known) > 1 and max(known) >= SPREAD * min(known)


def _range(heights: Sequence[float], wide: bool) -> tuple[float, float]:
    """The axis' range, in powers of ten where it is logarithmic, with room below for what has no height."""
    values = [math.log10(one) for one in heights] if wide else list(heights)
    low, high = min(values, default=0.0), max(values, default=1.0)
    span = high - low or max(abs(high) * 0.1, 0.1)
    return low - 0.14 * span, high + 0.12 * span


def _ticks(low: float, high: float) -> list[float]:
    """1 and 3 of every decade between two powers of ten, 1 alone where these are many: Plotly's own `2` and `5` without
    their decade are hard to read.
    """
    steps = (1, 3) if high - low < 4 else (1,)
    values = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return [value for value in values if low <= math.log10(value) <= high]


def _ring(number: int, pair: Mapping[str, Any], height: float, side: str | None) -> go.Scatter:
    """Around the pair judged, and its name beside the ring rather than beside the point, which the ring would cover."""
    return go.Scatter(
        x=[_apart(pair)],
        y=[height],
        name="judged here",
        hoverinfo="skip",
        customdata=[[number]],
        textfont_size=11,
        mode="markers+text" if side else "markers",
        text=[name_of(pair)] if side else None,
        textposition=side or "top center",
        marker={"size": 24, "symbol": "circle-open", "color": SECOND, "line_width": 2},
    )


def _points(
    part: Numbered, heights: Mapping[int, float], measured: bool, reach: float, labels: Mapping[int, str]
) -> go.Scatter:
    colour: dict[str, Any] = {"color": QUIET, "symbol": "circle-open", "line": {"width": 2}}
    if measured:
        colour = {
            "color": [100 * pair["gain"] for _, pair in part],
            "colorscale": GAINS,
            "cmin": -reach,
            "cmax": reach,
            "colorbar": {"title": {"text": "gain of the<br>best merge<br>(points)"}, "thickness": 12, "len": 0.8},
            "line": {"width": 1, "color": "rgba(255, 255, 255, 0.6)"},
        }
    return go.Scatter(
        x=[_apart(pair) for _, pair in part],
        y=[heights[number] for number, _ in part],
        mode="markers+text" if labels else "markers",
        text=[name_of(pair) if number in labels else "" for number, pair in part],
        textposition=[labels.get(number, "top center") for number, _ in part],
        textfont_size=11,
        marker={"size": 14, **colour},
        name="path measured" if measured else "path not measured",
        showlegend=not measured,
        customdata=_details(part),
        hovertemplate=_hover(),
    )


def _foot(figure: go.Figure, part: Numbered, low: float, wide: bool, oracle: bool) -> None:
    """Pairs that have a cosine and no height, as ticks on the axis: still to be read and clicked."""
    if part:
        figure.add_trace(
            go.Scatter(
                x=[_apart(pair) for _, pair in part],
                y=[10**low if wide else low] * len(part),
                mode="markers",
                cliponaxis=False,
                name="oracle not known" if oracle else "distance 0",
                customdata=_details(part),
                hovertemplate=_hover(),
                marker={"symbol": "line-ns-open", "size": 16, "color": QUIET, "line": {"width": 3, "color": QUIET}},
            )
        )


def _details(part: Numbered) -> list[list[Any]]:
    return [
        [
            number,
            name_of(pair),
            pair["verdict"]["level"],
            _percent(pair["oracle_headroom"], "+.1f"),
            _percent(pair["gain"], "+.1f") + ("" if interval is None else f" ({in_points(interval)})"),
            "n/a" if pair["l2"] is None else f"{pair['l2']:.4g}",
            f"{pair['cosine']:.4f}",
        ]
        for number, pair in part
        for interval in (pair["verdict"]["evidence"]["interval"],)
    ]


def _hover() -> str:
    return (
        "<b>%{customdata[1]}</b><br>cosine %{customdata[6]}, L2 distance %{customdata[5]}<br>oracle over the better one"
        " %{customdata[3]}<br>best merge %{customdata[4]}<br>verdict: %{customdata[2]}<br><i>click: open in"
        " Explore</i><extra></extra>"
    )


def _labels(
    placed: Numbered,
    heights: Mapping[int, float],
    across: tuple[float, float],
    up: tuple[float, float],
    wide: bool,
    judged: int | None,
) -> dict[int, str]:
    """Where names go: pair -> side of its point.

    A name that would cover a point, another name or the edge is left to the pointer.
    """

    def pixel(number: int, pair: Mapping[str, Any]) -> tuple[float, float]:
        height = math.log10(heights[number]) if wide else heights[number]
        return (
            PLOT[0] * (math.log10(_apart(pair)) - across[0]) / (across[1] - across[0]),
            PLOT[1] * (height - up[0]) / (up[1] - up[0]),
        )

    spots = {number: pixel(number, pair) for number, pair in placed}
    taken: list[tuple[int | None, Box]] = [
        (number, (x - radius, y - radius, x + radius, y + radius))
        for number, (x, y) in spots.items()
        for radius in (RING if number == judged else POINT,)
    ]
    chosen: dict[int, str] = {}
    for number, pair in placed:
        for side, box in _sides(*spots[number], LETTER * len(name_of(pair)), RING if number == judged else POINT):
            inside = box[0] >= 0 and box[2] <= PLOT[0] and box[1] >= 0 and box[3] <= PLOT[1]
            if inside and not any(other != number and _meet(box, spot) for other, spot in taken):
                chosen[number] = side
                taken.append((None, box))
                break
    return chosen


def _sides(x: float, y: float, width: float, gap: float) -> list[tuple[str, Box]]:
    half = LINE / 2
    return [
        ("middle right", (x + gap, y - half, x + gap + width, y + half)),
        ("middle left", (x - gap - width, y - half, x - gap, y + half)),
        ("top center", (x - width / 2, y + gap, x + width / 2, y + gap + LINE)),
        ("bottom center", (x - width / 2, y - gap - LINE, x + width / 2, y - gap)),
    ]


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _percent(value: float | None, form: str) -> str:
    return "not measured" if value is None else f"{100 * value:{form}} points"
