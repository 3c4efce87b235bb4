"""The family tree of checkpoints: generations from left to right, a line from each to what was made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import plotly.graph_objects as go

from fusionlib.charts.colours import QUIET, TRAINED
from fusionlib.charts.search import plain

ROW = 46
"""Pixels between two of one generation."""

NAMED = 40
"""More than so many have their names on hover alone."""


class Shown(Protocol):
    """What of a checkpoint is drawn."""

    @property
    def key(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def how(self) -> str: ...
    @property
    def merged(self) -> bool: ...
    @property
    def parents(self) -> tuple[str, ...]: ...
    @property
    def generation(self) -> int: ...


def places(tree: Sequence[Shown]) -> dict[str, tuple[float, float]]:
    """Where each one stands: x is its generation; y, among those of one generation, follows that of its parents."""
    found: dict[str, tuple[float, float]] = {}
    for generation in range(1 + max((one.generation for one in tree), default=-1)):
        members = [one for one in tree if one.generation == generation]
        ranked = sorted(members, key=lambda one: (_middle(one, found), one.title))
        for number, one in enumerate(ranked):
            found[one.key] = float(generation), (len(ranked) - 1) / 2 - number
    return found


def _middle(one: Shown, found: Mapping[str, tuple[float, float]]) -> float:
    """Higher parents first: y falls from the top of the picture."""
    heights = [found[parent][1] for parent in one.parents if parent in found]
    return -sum(heights) / len(heights) if heights else 0.0


def family_figure(tree: Sequence[Shown], scores: Mapping[str, float | None]) -> go.Figure:
    """Circles are trained, diamonds merged, hollow ones are not loaded; the colour is mIoU in %, grey where it is not
    known. `scores` are fractions by key. `customdata` of a point is the number of its checkpoint.
    """
    at = places(tree)
    figure = go.Figure()
    xs: list[float | None] = []
    ys: list[float | None] = []
    for child in tree:
        for parent in child.parents:
            if parent in at:
                xs += [at[parent][0], at[child.key][0], None]
                ys += [at[parent][1], at[child.key][1], None]
    figure.add_trace(go.Scatter(x=xs, y=ys, mode="lines", line={"color": QUIET, "width": 1}, hoverinfo="skip"))
    known = [100 * value for one in tree if (value := scores.get(one.key)) is not None]
    figure.add_trace(_nodes(tree, at, scores, known))
    widest = max((sum(one.generation == number for one in tree) for number in range(len(tree))), default=1)
    figure.update_layout(
        height=max(220, 60 + ROW * widest),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        showlegend=False,
        clickmode="event+select",
    )
    figure.update_xaxes(visible=False, range=[-0.5, 0.5 + max((x for x, _ in at.values()), default=0)])
    figure.update_yaxes(visible=False)
    return figure


def _nodes(
    tree: Sequence[Shown],
    at: Mapping[str, tuple[float, float]],
    scores: Mapping[str, float | None],
    known: Sequence[float],
) -> go.Scatter:
    values = [scores.get(one.key) for one in tree]
    texts = [f"{plain(one.title)}{'' if value is None else f'  {100 * value:.1f} %'}"
             for one, value in zip(tree, values, strict=True)]  # fmt: skip
    return go.Scatter(
        x=[at[one.key][0] for one in tree],
        y=[at[one.key][1] for one in tree],
        mode="markers+text" if len(tree) <= NAMED else "markers",
        text=texts,
        textposition="top center",
        marker={
            "size": 15,
            "symbol": [f"{'diamond' if one.merged else 'circle'}{'' if one.name else '-open'}" for one in tree],
            "color": [QUIET if value is None else _shade(100 * value, known) for value in values],
            "line": {"width": 1.5, "color": QUIET},
        },
        customdata=[[number, plain(one.title), plain(one.how)] for number, one in enumerate(tree)],
        hovertemplate="<b>%{customdata[1]}</b><br>%{customdata[2]}<extra></extra>",
    )


def _shade(value: float, known: Sequence[float]) -> str:
    """Paler where it is worse: from a fifth of the colour to all of it."""
    low, high = min(known), max(known)
    share = 1.0 if high == low else 0.2 + 0.8 * (value - low) / (high - low)
    red, green, blue = (int(TRAINED[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {share:.2f})"
