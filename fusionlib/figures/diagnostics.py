"""Figures of the diagnostics: all pairs at a glance, layers by pairs, the path between two, and activation similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

FIRST, SECOND, QUIET = "#1f8a9e", "#c8553d", "#8a97a3"
ZONE = "rgba(31, 138, 158, 0.10)"
GAINS = [[0.0, "#c8553d"], [0.5, "#b9c2ca"], [1.0, "#1a936f"]]
"""Red: the best merge loses; green: it gains; grey about nothing. Symmetric about 0."""

Pairs = Sequence[Mapping[str, Any]]
LIKENESS = [[0.0, "#12242e"], [0.4, "#1f6f82"], [0.75, "#6cc0c0"], [1.0, "#d6efe9"]]
"""Pale where two networks are alike, dark where they part: the exceptions stand out on a light and on a dark page."""

LABELLED = 8
"""Most pairs whose names are written beside their points; more would cover one another, the names are then under the pointer."""

MARGIN = {"l": 8, "r": 12, "t": 44, "b": 52}


def name_of(pair: Mapping[str, Any]) -> str:
    """How charts and tables call a pair."""
    return f"{pair['a']} + {pair['b']}"


def pairs_figure(pairs: Pairs, useful: float, zoom: bool = False, judged: int | None = None) -> go.Figure:
    """Every pair as a point: cosine across; oracle mIoU up (L2 distance until one is known); colour the gain of its best merge.

    `customdata` of a point starts with the number of its pair; pair `judged` has a ring around it. With `zoom` only pairs above `useful`.
    Pairs without a cosine cannot be drawn.
    """
    known = any(pair["oracle_miou"] is not None for pair in pairs)
    drawn = [(number, pair) for number, pair in enumerate(pairs) if pair["cosine"] is not None
             and (not known or pair["oracle_miou"] is not None) and (not zoom or pair["cosine"] > useful)]
    figure = go.Figure()
    for number, pair in drawn:
        if number == judged:
            figure.add_trace(go.Scatter(
                x=[pair["cosine"]], y=[100 * pair["oracle_miou"] if known else pair["l2"]], mode="markers", name="judged here",
                hoverinfo="skip", customdata=[[number]], marker={"size": 24, "symbol": "circle-open", "color": SECOND, "line_width": 2}))
    reach = max((abs(pair["gain"]) for _, pair in drawn if pair["gain"] is not None), default=0.01) * 100
    for measured in (False, True):
        part = [(number, pair) for number, pair in drawn if (pair["gain"] is not None) == measured]
        if part:
            figure.add_trace(_points(part, known, measured, reach, len(drawn) <= LABELLED))
    figure.add_vrect(x0=useful, x1=1.0, fillcolor=ZONE, line_width=0, layer="below", annotation_text=f"useful zone, above {useful:g}",
                     annotation_position="bottom right", annotation_font_size=12)
    figure.update_layout(
        title="Direction shared and what an oracle could gain" if known else "Direction shared and distance", height=460, margin=MARGIN,
        xaxis_title="cosine similarity of the parameters (1 = same direction)",
        yaxis_title="oracle mIoU of the pair (%)" if known else "L2 distance (units of the weights)",
        legend={"orientation": "h", "y": -0.22, "x": 0, "yanchor": "top"}, clickmode="event+select")
    low = min((pair["cosine"] for _, pair in drawn), default=useful)
    figure.update_xaxes(range=[low - 0.12 * (1.002 - low), 1 + 0.06 * (1.002 - low)])
    return figure


def _points(part: Sequence[tuple[int, Mapping[str, Any]]], oracle: bool, measured: bool, reach: float, labels: bool) -> go.Scatter:
    colour: dict[str, Any] = {"color": QUIET, "symbol": "circle-open", "line": {"width": 2}}
    if measured:
        colour = {"color": [100 * pair["gain"] for _, pair in part], "colorscale": GAINS, "cmin": -reach, "cmax": reach,
                  "colorbar": {"title": {"text": "gain of the<br>best merge<br>(points)"}, "thickness": 12, "len": 0.8},
                  "line": {"width": 1, "color": "rgba(255, 255, 255, 0.6)"}}
    details = [[number, name_of(pair), pair["verdict"]["level"], _percent(pair["oracle_headroom"], "+.1f"), _percent(pair["gain"], "+.1f")]
               for number, pair in part]
    return go.Scatter(
        x=[pair["cosine"] for _, pair in part], y=[100 * pair["oracle_miou"] if oracle else pair["l2"] for _, pair in part],
        mode="markers+text" if labels else "markers", text=[name_of(pair) for _, pair in part], textposition=_places(part),
        textfont_size=11,
        marker={"size": 14, **colour}, name="path measured" if measured else "path not measured", showlegend=not measured,
        customdata=details,
        hovertemplate="<b>%{customdata[1]}</b><br>cosine %{x:.4f}<br>oracle over the better one %{customdata[3]} points"
                      "<br>best merge %{customdata[4]} points<br>verdict: %{customdata[2]}<br><i>click: open in Merge</i><extra></extra>")


def _places(part: Sequence[tuple[int, Mapping[str, Any]]]) -> list[str]:
    """Where labels go: neighbours in cosine get different sides, so that they rarely cover one another."""
    order = sorted(range(len(part)), key=lambda number: part[number][1]["cosine"])
    sides = {position: ("top center", "bottom center", "middle left")[rank % 3] for rank, position in enumerate(order)}
    return ["middle right" if number == order[0] else sides[number] for number in range(len(part))]


def layers_figure(pairs: Pairs, measure: str, kind: str, label: str) -> go.Figure:
    """Heat map, pairs by layers of one kind in network order, with a line between backbone and head; empty cells are not shared."""
    order = list(dict.fromkeys(layer["name"] for pair in pairs for layer in pair["layers"] if layer["kind"] == kind))
    about = {layer["name"]: layer for pair in pairs for layer in pair["layers"]}
    rows = [{layer["name"]: layer[measure] for layer in pair["layers"]} for pair in pairs]
    values = [[row.get(name) for name in order] for row in rows]
    fractions = measure == "discrepancy"
    known = [value for row in values for value in row if value is not None]
    figure = go.Figure(go.Heatmap(
        z=[[None if value is None else 100 * value if fractions else value for value in row] for row in values],
        x=list(range(len(order))), y=[name_of(pair) for pair in pairs], colorscale=LIKENESS, reversescale=fractions, xgap=0.5, ygap=2,
        zmin=0 if fractions else min([0.9, *known]), zmax=100 if fractions else 1,
        customdata=[[[name, about[name]["part"], about[name]["elements"]] for name in order] for _ in pairs],
        colorbar={"title": {"text": label.replace(" (", "<br>(")}, "thickness": 12},
        hovertemplate="<b>%{customdata[0]}</b> (%{customdata[1]}, %{customdata[2]:,} elements)<br>%{y}<br>%{z:.3f}<extra></extra>"))
    _ticks(figure, order, about)
    title = {"convolution": "Convolutions", "batch norm": "Batch norm", "other": "Other layers"}[kind]
    row, font = (22, 11) if len(pairs) <= 12 else (14, 9)
    figure.update_layout(title=f"{title}: {label}, layer by layer", height=max(240, 170 + row * len(pairs)), margin={**MARGIN, "b": 110})
    figure.update_xaxes(title_text="layer, in network order (labels: where each block begins)", showgrid=False, zeroline=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_size=font, title_text="pair (A + B)" if len(pairs) > 3 else None)
    return figure


def _ticks(figure: go.Figure, order: Sequence[str], about: Mapping[str, Mapping[str, Any]]) -> None:
    starts = [number for number, name in enumerate(order) if number == 0 or about[name]["block"] != about[order[number - 1]]["block"]]
    if len(starts) < 3:  # one wrapper around everything: name the layers themselves, thinly
        starts = list(range(0, len(order), max(1, len(order) // 24)))
        texts = [order[number] for number in starts]
    else:
        texts = [about[order[number]]["block"] for number in starts]
    figure.update_xaxes(tickvals=starts, ticktext=texts, tickangle=-60, tickfont_size=10)
    heads = [number for number, name in enumerate(order) if about[name]["part"] == "head"]
    if heads and heads[0] > 0:
        figure.add_vline(x=heads[0] - 0.5, line_width=2, line_dash="dash", line_color=SECOND, annotation_text="head",
                         annotation_position="top right", annotation_font_size=12, annotation_yshift=18)


def path_figure(pair: Mapping[str, Any]) -> go.Figure:
    """Loss and mIoU along alpha, the straight line between the ends, and the worst point above (below) it where there is a barrier."""
    figure = make_subplots(1, 2, subplot_titles=("Validation loss (lower is better)", "mIoU (higher is better)"), horizontal_spacing=0.09)
    for column, (name, unit, scale) in enumerate((("loss", "nats", 1), ("miou", "%", 100)), start=1):
        points = [(point["alpha"], scale * point[name]) for point in pair["path"] if point[name] is not None]
        if len(points) < 2:
            continue
        alphas, values = zip(*points, strict=True)
        ends = {"x": [alphas[0], alphas[-1]], "y": [values[0], values[-1]]}
        figure.add_trace(go.Scatter(**ends, mode="lines", name="line between the ends", line={"dash": "dot", "color": QUIET},
                                    showlegend=column == 1, hoverinfo="skip"), 1, column)
        figure.add_trace(go.Scatter(x=alphas, y=values, mode="lines+markers", name="measured", line={"color": FIRST}, marker_size=7,
                                    showlegend=column == 1, hovertemplate=f"alpha %{{x:g}}: %{{y:.3f}} {unit}<extra></extra>"), 1, column)
        _mark_barrier(figure, column, (pair["barrier"] or {}).get(name), dict(points), ends["y"], scale, unit)
        figure.update_yaxes(title_text=f"{'cross-entropy' if name == 'loss' else 'mIoU'} ({unit})", row=1, col=column)
    figure.update_xaxes(title_text="alpha (weight of A; 0 is B, 1 is A)", range=[-0.03, 1.03])
    figure.update_layout(height=380, margin={**MARGIN, "t": 60}, legend={"orientation": "h", "y": -0.25})
    return figure


def _mark_barrier(figure: go.Figure, column: int, found: Mapping[str, Any] | None, points: Mapping[float, float], ends: Sequence[Any],
                  scale: float, unit: str) -> None:
    if not found or scale * found["entezari"] < 1e-9:
        return
    alpha = found["entezari_alpha"]
    line = alpha * ends[1] + (1 - alpha) * ends[0]
    figure.add_trace(go.Scatter(x=[alpha, alpha], y=[line, points[alpha]], mode="lines+markers", name="barrier", showlegend=column == 1,
                                line={"color": SECOND, "width": 3}, marker={"symbol": "line-ew-open", "size": 12},
                                hovertemplate=f"barrier {scale * found['entezari']:.3f} {unit}<extra></extra>"), 1, column)


def direction_figure(pair: Mapping[str, Any]) -> go.Figure:
    """Cosine of the merge with each of its ends along alpha: exact, from the inner products alone."""
    path = pair["cosine_path"]
    figure = go.Figure([go.Scatter(x=path["alpha"], y=path[end], mode="lines", name=f"with {end.upper()} ({pair[end]})",
                                   line={"color": colour, "width": 3}, hovertemplate="alpha %{x:g}: %{y:.4f}<extra></extra>")
                        for end, colour in (("a", FIRST), ("b", SECOND))])
    figure.update_layout(title="Direction of the merge along the path", height=340, margin=MARGIN, yaxis_title="cosine similarity",
                         xaxis_title="alpha (weight of A; 0 is B, 1 is A)", legend={"orientation": "h", "y": -0.28})
    return figure


def similarity_figure(pair: Mapping[str, Any], pictures: int) -> go.Figure:
    """Linear CKA of two networks' activations, block by block in the order in which they run."""
    blocks = [row for row in pair["cka"] or () if row["cka"] is not None]
    figure = go.Figure(go.Scatter(x=[row["block"] for row in blocks], y=[row["cka"] for row in blocks], mode="lines+markers",
                                  line={"color": FIRST}, hovertemplate="%{x}: %{y:.3f}<extra></extra>"))
    figure.update_layout(title=f"Activations on {pictures} pictures", height=340, margin={**MARGIN, "b": 110},
                         xaxis_title="block, in the order of the forward pass", yaxis_title="linear CKA (1 = alike)")
    figure.update_xaxes(tickangle=-60, tickfont_size=10)
    figure.update_yaxes(range=[min([0.0, *(row["cka"] for row in blocks)]), 1.03])
    return figure


def _percent(value: float | None, form: str) -> str:
    return "not measured" if value is None else format(100 * value, form)
