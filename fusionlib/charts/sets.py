"""Figures of sets of networks: diversity against quality, and what a growing ensemble is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusionlib.charts.colours import ENSEMBLE, MERGE, QUIET
from fusionlib.charts.domains import COLOURS
from fusionlib.charts.search import laid_out, plain

Found = Mapping[str, Any]

DIVERSITY: Mapping[str, tuple[str, float, str]] = {
    "disagreement": ("disagreement (% of pixels, mean of pairs)", 100, "%"),
    "correlation": ("correlation of probabilities (mean of pairs; right: alike)", 1, ""),
}
"""What lies across: figure, title of the axis, scale, unit."""


def quality_figure(found: Found, across: str = "disagreement") -> go.Figure:
    """mIoU over how different networks are: each network over its mean difference from the others, the ensemble of the
    first 2, 3, ... over that of its pairs, joined in this order, and the mean of the weights as a diamond over that of
    all. Dashed: the mean of the networks alone. `found` is a snapshot of a set.
    """
    figure = go.Figure()
    members = [one for one in found["members"] if None not in (one["miou"], one[across])]
    names = [plain(one["name"]) for one in members]
    figure.add_trace(_points(members, across, names, "networks alone", {"color": QUIET, "size": 11}, "markers"))
    grown = [one for one in found["ensembles"] if None not in (one["miou"], one[across])]
    sizes = [f"first {one['networks']} together" for one in grown]
    together = _points(grown, across, sizes, "together", {"color": ENSEMBLE, "size": 10}, "lines+markers+text")
    together.update(text=[str(one["networks"]) for one in grown], textposition="top center", line_width=1)
    figure.add_trace(together)
    soup = {**found["soup"], across: found[across]}
    if None not in (soup["miou"], soup[across]):
        mark = {"color": MERGE, "size": 14, "symbol": "diamond"}
        figure.add_trace(_points([soup], across, ["mean of the weights"], "mean of the weights", mark, "markers"))
    if found["mean"]["miou"] is not None:
        figure.add_hline(100 * found["mean"]["miou"], line_dash="dash", line_color=QUIET, line_width=1)
    figure.update_xaxes(title=DIVERSITY[across][0])
    figure.update_yaxes(title="mIoU (%)")
    return laid_out(figure, 400)


def families_figure(sets: Sequence[Found], names: Sequence[str], across: str = "disagreement") -> go.Figure:
    """Several sets side by side, over how different the networks of each are: the mean network (circle), the best one
    (triangle), all together (square) and the mean of their weights (diamond), one below the other.
    """
    figure = go.Figure()
    for number, (found, name) in enumerate(zip(sets, names, strict=True)):
        last = found["ensembles"][-1]
        marks = (
            ("mean network", "circle", found["mean"]),
            ("best network", "triangle-up", found["best"]),
            (f"{last['networks']} together", "square", last),
            ("mean of the weights", "diamond", found["soup"]),
        )
        there = [one for one in marks if one[2] is not None and None not in (one[2]["miou"], found[across])]
        figure.add_trace(
            _points(
                [{**row, across: found[across]} for _, _, row in there],
                across,
                [f"{plain(name)}: {what}" for what, _, _ in there],
                plain(name),
                {"color": COLOURS[number % len(COLOURS)], "size": 12, "symbol": [symbol for _, symbol, _ in there]},
                "lines+markers",
            )
        )
    figure.update_traces(line_width=1)
    figure.update_xaxes(title=DIVERSITY[across][0])
    figure.update_yaxes(title="mIoU (%)")
    return laid_out(figure, 400)


def likelihood_figure(found: Found) -> go.Figure:
    """Calibrated log-likelihood of the first 1, 2, ... networks together; dotted the reference where it is another, the
    dashed line the mean of the weights. What lies as high on the reference is worth as many of its networks.
    """
    figure = go.Figure()
    curves = [("the set", found["ensembles"], {"color": ENSEMBLE})]
    if not found["reference"]["itself"]:
        curves.append(("the reference", found["reference"]["curve"], {"color": QUIET, "dash": "dot"}))
    for name, rows, look in curves:
        known = [one for one in rows if one["log_likelihood"] is not None]
        figure.add_scatter(
            x=[one["networks"] for one in known],
            y=[one["log_likelihood"] for one in known],
            customdata=[[one.get("dee_text", "")] for one in known],
            name=name,
            mode="lines+markers",
            line=look,
            hovertemplate="%{x} networks: %{y:.4f} nats<br>worth %{customdata[0]}<extra>%{fullData.name}</extra>"
            if name == "the set"
            else "%{x} networks: %{y:.4f} nats<extra>%{fullData.name}</extra>",
        )
    if (soup := found["soup"]["log_likelihood"]) is not None:
        figure.add_hline(soup, line_dash="dash", line_color=MERGE, annotation_text="mean of the weights")
    figure.update_xaxes(title="networks together", dtick=1)
    figure.update_yaxes(title="calibrated log-likelihood (nats a pixel)")
    return laid_out(figure, 340)


def _points(
    rows: Sequence[Found], across: str, names: Sequence[str], title: str, look: Mapping[str, Any], mode: str
) -> go.Scatter:
    _, scale, unit = DIVERSITY[across]
    return go.Scatter(
        x=[scale * row[across] for row in rows],
        y=[100 * row["miou"] for row in rows],
        customdata=[[name] for name in names],
        name=title,
        mode=mode,
        marker=look,
        line={"color": look["color"]},
        hovertemplate=f"<b>%{{customdata[0]}}</b><br>%{{x:.3f}} {unit}<br>mIoU %{{y:.2f}} %<extra></extra>",
    )
