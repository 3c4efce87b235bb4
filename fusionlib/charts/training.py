"""Figures of a training run: its learning rate with what was saved, its loss, and how good what it left is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fusionlib.charts.colours import QUIET, TRAINED
from fusionlib.charts.search import plain


class Series(Protocol):
    """Values at steps 0, `stride`, 2 `stride`, ..."""

    @property
    def stride(self) -> int: ...
    @property
    def values(self) -> Sequence[float]: ...


class Saved(Protocol):
    """A file, saved after so many steps."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def lr(self) -> float | None: ...


class Validated(Protocol):
    """mIoU, a fraction, after so many steps: of a file, or of the network in training."""

    @property
    def step(self) -> int: ...
    @property
    def name(self) -> str | None: ...
    @property
    def miou(self) -> float | None: ...


class Run(Protocol):
    """What is drawn of a run; `length` steps are an epoch."""

    @property
    def lr(self) -> Series: ...
    @property
    def losses(self) -> Series: ...
    @property
    def epochs(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def points(self) -> Sequence[Saved]: ...
    @property
    def figures(self) -> Sequence[Validated]: ...
    @property
    def length(self) -> int: ...
    @property
    def steps(self) -> int: ...


HEIGHT = 130
"""Pixels of each part."""


def schedule_figure(rates: Series, saved: Sequence[int] = ()) -> go.Figure:
    """The learning rate over the steps of a run that has not begun, with a mark after each step that leaves a file."""
    figure = go.Figure(_rates(rates))
    steps = [step for step in dict.fromkeys(saved) if step and rates.values]
    last = len(rates.values) - 1
    figure.add_scatter(
        x=steps,
        y=[rates.values[min(last, (step - 1) // rates.stride)] for step in steps],
        mode="markers",
        cliponaxis=False,
        marker={"size": 9, "color": TRAINED},
        hovertemplate="a file after step %{x}<extra></extra>",
    )
    figure.update_layout(height=190, margin=_MARGIN, showlegend=False)
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="learning rate", rangemode="tozero")
    return figure


def run_figure(record: Run, scores: Mapping[str, float] | None = None) -> go.Figure:
    """Learning rate with a mark for every file, loss (nats) by step and by epoch, mIoU (%) on the pictures that it is
    validated on, and below that of what was measured since, by the name of its file; all over the same steps.
    """
    scores = scores or {}
    looked = [one for one in record.figures if one.miou is not None]
    parts = 2 + bool(looked) + bool(scores)
    figure = make_subplots(rows=parts, shared_xaxes=True, vertical_spacing=0.04)
    figure.add_trace(_rates(record.lr), row=1, col=1)
    figure.add_trace(_saved(record), row=1, col=1)
    figure.add_trace(_line(record.losses, "loss of a batch", QUIET), row=2, col=1)
    figure.add_trace(_epochs(record), row=2, col=1)
    figure.update_yaxes(title="rate", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="loss (nats)", row=2, col=1)
    if looked:
        figure.add_trace(_looked(looked), row=3, col=1)
        figure.update_yaxes(title="mIoU (%)", row=3, col=1)
    if scores:
        figure.add_trace(_scored(record.points, scores), row=parts, col=1)
        figure.update_yaxes(title="mIoU (%)", row=parts, col=1)
    figure.update_xaxes(range=[0, max(1, record.steps)])
    figure.update_xaxes(title="step", row=parts, col=1)
    figure.update_layout(height=HEIGHT * parts, margin=_MARGIN, showlegend=False, clickmode="event+select")
    return figure


_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}


def _rates(series: Series) -> go.Scatter:
    """A rate holds until the next step: what is saved after a step lies at the end of its own."""
    held = [*series.values, *series.values[-1:]]
    return go.Scatter(
        x=[series.stride * place for place in range(len(held))],
        y=held,
        mode="lines",
        line={"color": QUIET, "width": 2, "shape": "hv"},
        hovertemplate="step %{x}: learning rate %{y:.4g}<extra></extra>",
    )


def _line(series: Series, name: str, colour: str) -> go.Scatter:
    steps = [series.stride * place for place in range(len(series.values))]
    return go.Scatter(
        x=steps, y=list(series.values), mode="lines", line={"color": colour, "width": 1.5}, name=name,
        hovertemplate=f"step %{{x}}: {name} %{{y:.4g}}<extra></extra>",
    )  # fmt: skip


def _saved(record: Run) -> go.Scatter:
    points = [one for one in record.points if one.lr is not None]
    return go.Scatter(
        x=[one.step for one in points],
        y=[one.lr for one in points],
        mode="markers",
        cliponaxis=False,
        marker={"size": 9, "color": TRAINED},
        customdata=[[plain(one.name), plain(one.role)] for one in points],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}, after step %{x}<extra></extra>",
    )


def _epochs(record: Run) -> go.Scatter:
    return go.Scatter(
        x=[one["epoch"] * record.length for one in record.epochs],
        y=[one["loss"] for one in record.epochs],
        mode="lines+markers",
        cliponaxis=False,
        line={"color": TRAINED, "width": 2},
        hovertemplate="mean of the epoch: %{y:.4f} nats<extra></extra>",
    )


def _looked(figures: Sequence[Validated]) -> go.Scatter:
    return go.Scatter(
        x=[one.step for one in figures],
        y=[100 * (one.miou or 0) for one in figures],
        mode="lines+markers",
        cliponaxis=False,
        line={"color": TRAINED, "width": 1, "dash": "dot"},
        marker={"size": 9, "symbol": ["circle" if one.name else "circle-open" for one in figures]},
        customdata=[[plain(one.name or ("start" if not one.step else "network in training"))] for one in figures],
        hovertemplate="<b>%{customdata[0]}</b><br>mIoU %{y:.2f} %<extra></extra>",
    )


def _scored(points: Sequence[Saved], scores: Mapping[str, float]) -> go.Scatter:
    shown = [one for one in points if one.name in scores]
    return go.Scatter(
        x=[one.step for one in shown],
        y=[100 * scores[one.name] for one in shown],
        mode="lines+markers",
        cliponaxis=False,
        line={"color": TRAINED, "width": 1, "dash": "dot"},
        marker={"size": 9},
        customdata=[[plain(one.name)] for one in shown],
        hovertemplate="<b>%{customdata[0]}</b><br>mIoU %{y:.2f} %<extra></extra>",
    )
