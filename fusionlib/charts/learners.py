"""Figures of the learners inside a network: how they grow together, and how alike their class embeddings are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from fusionlib.charts.colours import ENSEMBLE, QUIET
from fusionlib.charts.domains import COLOURS
from fusionlib.charts.search import laid_out, plain

Found = Mapping[str, Any]


def subsets_figure(found: Found) -> go.Figure:
    """mIoU over how many learners answer together: every subset a point, all of them a square. Dashed: the mean of the
    learners alone. `found` is a table of the study.
    """
    count = len(found["learners"])
    figure = go.Figure()
    for title, rows, mark in (
        ("one learner", [one for one in found["subsets"] if len(one["members"]) == 1], {"color": QUIET, "size": 11}),
        ("some together", [one for one in found["subsets"] if 1 < len(one["members"]) < count], {"opacity": 0.5}),
        (
            "all together",
            [one for one in found["subsets"] if len(one["members"]) == count],
            {"symbol": "square", "size": 12},
        ),
    ):
        known = [one for one in rows if one["miou"] is not None]
        figure.add_trace(
            go.Scatter(
                x=[len(one["members"]) for one in known],
                y=[100 * one["miou"] for one in known],
                text=[plain(" + ".join(one["names"])) for one in known],
                name=title,
                mode="markers+text" if title == "one learner" else "markers",
                textposition="middle right",
                marker={"size": 9, "color": ENSEMBLE, **mark},
                hovertemplate="%{text}<br>%{y:.2f} %<extra></extra>",
            )
        )
    if found["mean"]["miou"] is not None:
        figure.add_hline(100 * found["mean"]["miou"], line_dash="dash", line_color=QUIET, line_width=1)
    figure.update_xaxes(title="learners that answer together", dtick=1, range=[0.7, count + 0.5])
    figure.update_yaxes(title="mIoU (%)")
    return laid_out(figure, 400)


def cosines_figure(learners: Sequence[Found], diagonals: bool = False) -> go.Figure:
    """Density of the cosines between class embeddings, a line a learner; with `diagonals` over the paper's set of
    pairs, in which each embedding meets itself. Learners that share theirs have one line.
    """
    figure, name = go.Figure(), "density_with_diagonals" if diagonals else "density"
    for number, one in enumerate(learners):
        edges = one["edges"]
        figure.add_trace(
            go.Scatter(
                x=[(low + high) / 2 for low, high in pairwise(edges)],
                y=one[name],
                name=plain(one["name"]),
                mode="lines",
                line={"color": COLOURS[number % len(COLOURS)], "shape": "spline", "width": 2},
                hovertemplate="cosine %{x:.2f}<br>density %{y:.2f}<extra></extra>",
            )
        )
    figure.update_xaxes(title="cosine of two classes' embeddings", range=[-1, 1])
    figure.update_yaxes(title="density", rangemode="tozero")
    return laid_out(figure, 340)
