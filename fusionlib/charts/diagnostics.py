"""Figures of the diagnostics: layers by pairs, the path between two, its direction, and activation similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fusionlib.charts.colours import QUIET, A, B

FIRST, SECOND = "#1f8a9e", "#c8553d"
Pairs = Sequence[Mapping[str, Any]]
LIKENESS = [[0.0, "#12242e"], [0.4, "#1f6f82"], [0.75, "#6cc0c0"], [1.0, "#d6efe9"]]
"""Pale where two networks are alike, dark where they part: the exceptions stand out on a light and on a dark page."""

STRANGE = "#b3a698"
"""Cells that cannot be compared: a warm grey that is no colour of `LIKENESS`, and neither the light nor the dark page's
ground.
"""

TICKS = 36
"""Names of blocks that fit under a heat map, slanted, at a window of 1280."""

MARGIN = {"l": 8, "r": 12, "t": 44, "b": 52}


def name_of(pair: Mapping[str, Any]) -> str:
    """How charts and tables call a pair."""
    return f"{pair['a']} + {pair['b']}"


def layers_figure(pairs: Pairs, measure: str, kind: str, label: str) -> go.Figure:
    """Heat map, pairs by layers of one kind: network by network, each in its own order, with a line where its head
    begins.

    Grey cells are not comparable: one of the two networks lacks the layer, has it in another shape, or with zeros
    alone. Layers that no pair shares are left out.
    """
    order, about = columns_of(pairs, kind)
    rows = [{layer["name"]: layer[measure] for layer in pair["layers"]} for pair in pairs]
    values = [[row.get(name) for name in order] for row in rows]
    fractions = measure == "discrepancy"
    known = [value for row in values for value in row if value is not None]
    names = [name_of(pair) for pair in pairs]
    figure = go.Figure()
    if any(value is None for row in values for value in row):
        _not_comparable(figure, values, names, order)
    figure.add_trace(
        go.Heatmap(
            z=[[None if value is None else 100 * value if fractions else value for value in row] for row in values],
            x=list(range(len(order))),
            y=names,
            colorscale=LIKENESS,
            reversescale=fractions,
            xgap=0.5,
            ygap=2,
            zmin=0 if fractions else min([0.9, *known]),
            zmax=100 if fractions else 1,
            hoverongaps=False,
            customdata=[[[name, about[name]["part"], about[name]["elements"]] for name in order] for _ in pairs],
            colorbar={
                "title": {"text": label.replace(" (", "<br>(")},
                "thickness": 12,
                "lenmode": "pixels",
                "len": 170,
                "y": 1.1,
                "yanchor": "top",
            },
            hovertemplate=(
                "<b>%{customdata[0]}</b> (%{customdata[1]}, %{customdata[2]:,}"
                " elements)<br>%{y}<br>%{z:.3f}<extra></extra>"
            ),
        )
    )
    _ticks(figure, order, about)
    title = {"convolution": "Convolutions", "batch norm": "Batch norm", "other": "Other layers"}[kind]
    row, font = (22, 11) if len(pairs) <= 12 else (14, 9)
    figure.update_layout(
        title=f"{title}: {label}, layer by layer",
        height=max(260, 190 + row * len(pairs)),
        margin={**MARGIN, "t": 64, "b": 110},
        legend={"x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "yref": "container", "itemclick": False},
    )
    figure.update_xaxes(
        title_text="layer, in network order (labels: where each block begins)", showgrid=False, zeroline=False
    )
    figure.update_yaxes(
        autorange="reversed", showgrid=False, tickfont_size=font, title_text="pair (A + B)" if len(pairs) > 3 else None
    )
    return figure


def columns_of(pairs: Pairs, kind: str) -> tuple[list[str], dict[str, Mapping[str, Any]]]:
    """The layers of one kind that some pair shares, in network order, and what is known of each."""
    about: dict[str, Mapping[str, Any]] = {}
    for pair in pairs:
        for layer in pair["layers"]:
            if layer["kind"] == kind and layer["elements"] > about.get(layer["name"], {"elements": 0})["elements"]:
                about[layer["name"]] = layer
    order = dict.fromkeys(layer["name"] for pair in pairs for layer in pair["layers"])
    return [name for name in order if name in about], about


def _not_comparable(
    figure: go.Figure, values: Sequence[Sequence[float | None]], names: Sequence[str], order: Sequence[str]
) -> None:
    figure.add_trace(
        go.Heatmap(
            z=[[1 if value is None else None for value in row] for row in values],
            x=list(range(len(order))),
            y=list(names),
            colorscale=[[0, STRANGE], [1, STRANGE]],
            showscale=False,
            xgap=0.5,
            ygap=2,
            hoverongaps=False,
            customdata=[list(order) for _ in names],
            hovertemplate=(
                "<b>%{customdata}</b><br>%{y}<br>not comparable: not in both, of another shape, or all"
                " zero<extra></extra>"
            ),
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[None],
            y=[names[0]],
            mode="markers",
            name="not comparable",
            marker={"symbol": "square", "size": 12, "color": STRANGE},
            showlegend=True,
        )
    )


def _ticks(figure: go.Figure, order: Sequence[str], about: Mapping[str, Mapping[str, Any]]) -> None:
    starts = [
        number
        for number, name in enumerate(order)
        if number == 0 or about[name]["block"] != about[order[number - 1]]["block"]
    ]
    if len(starts) < 3:  # one wrapper around everything: name the layers themselves, thinly
        starts = list(range(0, len(order), max(1, len(order) // 24)))
        texts = [order[number] for number in starts]
    else:
        texts = [about[order[number]]["block"] for number in starts]
    shown = _apart(starts, len(order) / TICKS)
    figure.update_xaxes(
        tickvals=[starts[number] for number in shown],
        ticktext=[texts[number] for number in shown],
        tickangle=-60,
        tickfont_size=10,
    )
    # Slanted names reach to the left of their column: half their length at 60 degrees, 6 pixels a letter.
    figure.update_layout(margin_l=MARGIN["l"] + 3 * max((len(texts[number]) for number in shown[:3]), default=0))
    owners = [about[name]["first_in"] for name in order]
    bounds = [
        number for number in range(len(order) + 1) if number in (0, len(order)) or owners[number] != owners[number - 1]
    ]
    for begin, end in pairwise(bounds):
        if begin:
            _line(figure, begin, "solid", QUIET, f"not in {owners[0]}: from {owners[begin]} on")
        head = next((number for number in range(begin, end) if about[order[number]]["part"] == "head"), None)
        if head is not None and head > begin:
            _line(figure, head, "dash", SECOND, "head")


def _apart(places: Sequence[int], distance: float) -> list[int]:
    """Which of these ascending places to name, so that names keep that distance."""
    shown: list[int] = []
    for number, place in enumerate(places):
        if not shown or place - places[shown[-1]] >= distance:
            shown.append(number)
    return shown


def _line(figure: go.Figure, place: int, dash: str, colour: str, text: str) -> None:
    figure.add_vline(
        x=place - 0.5,
        line_width=2,
        line_dash=dash,
        line_color=colour,
        annotation_text=text,
        annotation_position="top right",
        annotation_font_size=12,
        annotation_yshift=18,
    )


def path_figure(pair: Mapping[str, Any]) -> go.Figure:
    """Loss and mIoU along alpha, the straight line between the ends, and the worst point above (below) it where there
    is a barrier.
    """
    figure = make_subplots(
        1, 2, subplot_titles=("Validation loss (lower is better)", "mIoU (higher is better)"), horizontal_spacing=0.09
    )
    for column, (name, unit, scale) in enumerate((("loss", "nats", 1), ("miou", "%", 100)), start=1):
        points = [(point["alpha"], scale * point[name]) for point in pair["path"] if point[name] is not None]
        if len(points) < 2:
            continue
        alphas, values = zip(*points, strict=True)
        ends = {"x": [alphas[0], alphas[-1]], "y": [values[0], values[-1]]}
        figure.add_trace(
            go.Scatter(
                **ends,
                mode="lines",
                name="line between the ends",
                line={"dash": "dot", "color": QUIET},
                showlegend=column == 1,
                hoverinfo="skip",
            ),
            1,
            column,
        )
        figure.add_trace(
            go.Scatter(
                x=alphas,
                y=values,
                mode="lines+markers",
                name="measured",
                line={"color": FIRST},
                marker_size=7,
                showlegend=column == 1,
                hovertemplate=f"alpha %{{x:g}}: %{{y:.3f}} {unit}<extra></extra>",
            ),
            1,
            column,
        )
        _mark_barrier(figure, column, (pair["barrier"] or {}).get(name), dict(points), ends["y"], scale, unit)
        figure.update_yaxes(title_text=f"{'cross-entropy' if name == 'loss' else 'mIoU'} ({unit})", row=1, col=column)
    figure.update_xaxes(title_text="alpha (weight of A; 0 is B, 1 is A)", range=[-0.03, 1.03])
    figure.update_layout(height=380, margin={**MARGIN, "t": 60}, legend={"orientation": "h", "y": -0.25})
    return figure


def _mark_barrier(
    figure: go.Figure,
    column: int,
    found: Mapping[str, Any] | None,
    points: Mapping[float, float],
    ends: Sequence[Any],
    scale: float,
    unit: str,
) -> None:
    if not found or scale * found["entezari"] < 1e-9:
        return
    alpha = found["entezari_alpha"]
    line = alpha * ends[1] + (1 - alpha) * ends[0]
    figure.add_trace(
        go.Scatter(
            x=[alpha, alpha],
            y=[line, points[alpha]],
            mode="lines+markers",
            name="barrier",
            showlegend=column == 1,
            line={"color": SECOND, "width": 3},
            marker={"symbol": "line-ew-open", "size": 12},
            hovertemplate=f"barrier {scale * found['entezari']:.3f} {unit}<extra></extra>",
        ),
        1,
        column,
    )


def direction_figure(pair: Mapping[str, Any]) -> go.Figure:
    """Cosine of the merge with each of its ends along alpha: exact, from the inner products alone."""
    path = pair["cosine_path"]
    figure = go.Figure(
        [
            go.Scatter(
                x=path["alpha"],
                y=path[end],
                mode="lines",
                name=f"with {end.upper()} ({pair[end]})",
                line={"color": colour, "width": 3},
                hovertemplate="alpha %{x:g}: %{y:.4f}<extra></extra>",
            )
            for end, colour in (("a", A), ("b", B))
        ]
    )
    figure.update_layout(
        title="Direction of the merge along the path",
        height=340,
        margin=MARGIN,
        yaxis_title="cosine similarity",
        xaxis_title="alpha (weight of A; 0 is B, 1 is A)",
        legend={"orientation": "h", "y": -0.28},
    )
    return figure


def similarity_figure(pair: Mapping[str, Any], pictures: int) -> go.Figure:
    """Linear CKA of two networks' activations, block by block in the order in which they run, and how far apart their
    features lie as a part of their size.
    """
    alike = [row for row in pair["cka"] or () if row["cka"] is not None]
    apart = [row for row in pair.get("feature_distance") or () if row["relative"] is not None]
    figure = go.Figure()
    for rows, name, title, look in (
        (alike, "cka", "linear CKA (1 = alike)", {"color": FIRST}),
        (apart, "relative", "l2 distance over size (0 = alike)", {"color": QUIET, "dash": "dot"}),
    ):
        figure.add_scatter(
            x=[row["block"] for row in rows],
            y=[row[name] for row in rows],
            name=title,
            mode="lines+markers",
            line=look,
            hovertemplate="%{x}: %{y:.3f}<extra></extra>",
        )
    figure.update_layout(
        title=f"Activations on {pictures} pictures",
        height=340,
        margin={**MARGIN, "b": 110},
        xaxis_title="block, in the order of the forward pass",
        legend={"orientation": "h", "y": 1.02, "x": 1, "xanchor": "right", "yanchor": "bottom"},
    )
    figure.update_xaxes(tickangle=-60, tickfont_size=10)
    values = [0.0, 1.0, *(row["cka"] for row in alike), *(row["relative"] for row in apart)]
    figure.update_yaxes(range=[min(values), max(values) + 0.03])
    return figure
