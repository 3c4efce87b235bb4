"""Confusion matrices as squares to be clicked, and the flow of changed pixels from label to label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from fusionlib.charts.colours import QUIET
from fusionlib.charts.errors import short
from fusionlib.data.labels import Colour
from fusionlib.measures.error_stack import Pixels

OUTSIDE = "outside"
"""A prediction that is none of the annotation's classes."""

SHOWN = ("merge", "reference", "difference")
NORMALISED = ("row", "column", "none")
"""What a cell's share is of: of the pixels of its class, of those predicted so, or of all."""

_BLUE, _ORANGE = "0,114,210", "230,90,0"
_REACH = ((0.0, 0.04), (0.05, 0.22), (0.2, 0.5), (0.5, 0.8), (1.0, 1.0))
"""How far a share stands out, small ones apart. Colours begin at the page's own, so that little is faint on a light and
on a dark one."""

_SHARES = [[share, f"rgba({_BLUE},{opacity})"] for share, opacity in _REACH]
_SIGNED = [
    *([0.5 - share / 2, f"rgba({_ORANGE},{opacity})"] for share, opacity in reversed(_REACH)),
    *([0.5 + share / 2, f"rgba({_BLUE},{opacity})"] for share, opacity in _REACH),
]
_SCALES: dict[bool, Any] = {False: _SHARES, True: _SIGNED}
"""Shares; and signed differences, blue where the merge has more."""


class Cells(NamedTuple):
    """The cells of a matrix that have pixels: `truth` and `said` ids, `counts` (less than 0 in a difference), `shares`
    in percent.
    """

    truth: np.ndarray
    said: np.ndarray
    counts: np.ndarray
    shares: np.ndarray


def cells_of(
    reference: np.ndarray, merge: np.ndarray, shown: str = "merge", normalised: str = "row", off_diagonal: bool = False
) -> Cells:
    """What is drawn of two matrices (C, C + 1), `[truth][prediction]`.

    Shares of a difference are those of the two matrices' sums, so that both ends of a change compare.
    """
    merge, reference = merge.astype(np.int64), reference.astype(np.int64)
    counts = {"merge": merge, "reference": reference, "difference": merge - reference}[shown].copy()
    base = {"merge": merge, "reference": reference, "difference": merge + reference}[shown].astype(np.float64)
    if shown == "difference":
        base /= 2
    whole = {"row": base.sum(1, keepdims=True), "column": base.sum(0, keepdims=True), "none": base.sum()}[normalised]
    shares = 100 * np.divide(counts, whole, out=np.zeros(counts.shape), where=np.broadcast_to(whole > 0, counts.shape))
    kept = counts != 0
    if off_diagonal:
        kept[np.arange(len(counts)), np.arange(len(counts))] = False
    truth, said = np.nonzero(kept)
    return Cells(truth, said, counts[kept], shares[kept])


def confusion_figure(cells: Cells, names: Sequence[str], shown: str = "merge", chosen: str = "") -> go.Figure:
    """Rows are the truth, columns the prediction; a square's colour is its share, a point in its middle carries its
    pixels: heatmaps tell of no click.

    In a difference the pixels of a cell are those of the network that has more of them there. The cell of `chosen`
    pixels is ringed.
    """
    signed = shown == "difference"
    outside = bool(len(cells.said)) and int(cells.said.max()) == len(names)
    columns = [*names, OUTSIDE] if outside else list(names)
    texts = [_pixels(cells, place, shown).text for place in range(len(cells.truth))]
    figure = go.Figure([_squares(cells, (len(names), len(columns)), signed), _points(cells, texts, columns)])
    if chosen in texts:
        y, x = (int(part[texts.index(chosen)]) for part in (cells.truth, cells.said))
        figure.add_shape(
            type="rect", x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5, line={"color": "#e33", "width": 3}
        )
    _axes(figure, names, columns)
    return figure


def _squares(cells: Cells, size: tuple[int, int], signed: bool) -> go.Heatmap:
    shares = np.full(size, np.nan)
    shares[cells.truth, cells.said] = cells.shares
    reach = float(np.abs(cells.shares).max()) if len(cells.shares) else 1.0
    return go.Heatmap(
        z=shares,
        zmin=-reach if signed else 0.0,
        zmax=reach,
        colorscale=_SCALES[signed],
        xgap=1,
        ygap=1,
        hoverinfo="skip",
        colorbar={"ticksuffix": " %", "thickness": 10, "len": 0.7, "outlinewidth": 0},
    )


def _points(cells: Cells, texts: Sequence[str], columns: Sequence[str]) -> go.Scatter:
    return go.Scatter(
        x=cells.said,
        y=cells.truth,
        mode="markers",
        marker={"symbol": "square", "size": 16, "opacity": 0},
        customdata=[_cell(text, cells, place, columns) for place, text in enumerate(texts)],
        hovertemplate=(
            "truth: %{customdata[1]}<br>prediction: %{customdata[2]}<br>%{customdata[3]} pixels,"
            " %{customdata[4]} %<extra></extra>"
        ),
    )


def _axes(figure: go.Figure, rows: Sequence[str], columns: Sequence[str]) -> None:
    common: dict[str, Any] = {"fixedrange": True, "zeroline": False, "showgrid": False, "tickmode": "array"}
    figure.update_xaxes(
        **common,
        tickvals=list(range(len(columns))),
        ticktext=list(map(short, columns)),
        tickangle=-60,
        range=[-0.5, len(columns) - 0.5],
        title="prediction",
        automargin=True,
    )
    figure.update_yaxes(
        **common,
        tickvals=list(range(len(rows))),
        ticktext=list(map(short, rows)),
        range=[len(rows) - 0.5, -0.5],
        title="truth",
        automargin=True,
    )
    figure.update_layout(
        height=160 + 24 * max(len(rows), 8),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        clickmode="event+select",
        hovermode="closest",
    )


def _pixels(cells: Cells, place: int, shown: str) -> Pixels:
    truth, said = int(cells.truth[place]), int(cells.said[place])
    merged = shown == "merge" or (shown == "difference" and cells.counts[place] > 0)
    return Pixels(truths=(truth,), merges=(said,)) if merged else Pixels(truths=(truth,), references=(said,))


def _cell(text: str, cells: Cells, place: int, columns: Sequence[str]) -> list[str]:
    truth, said = columns[int(cells.truth[place])], columns[int(cells.said[place])]
    return [text, truth, said, f"{cells.counts[place]:,}", f"{cells.shares[place]:.2f}"]


class Edge(NamedTuple):
    """Pixels that went from a label of the reference to one of the merge."""

    before: int
    after: int
    count: int


def edges_of(flow: np.ndarray, most: int = 24) -> list[Edge]:
    """The largest changes of a flow (C + 1, C + 1), most pixels first; what kept its label is left out."""
    changed = flow.copy()
    np.fill_diagonal(changed, 0)
    order = np.argsort(-changed, axis=None, kind="stable")[:most]
    pairs = [divmod(int(one), changed.shape[1]) for one in order]
    return [Edge(a, b, int(changed[a, b])) for a, b in pairs if changed[a, b] > 0]


def flow_figure(edges: Sequence[Edge], names: Sequence[str], palette: Sequence[Colour]) -> go.Figure:
    """A Sankey diagram: labels of the reference on the left, of the merge on the right, in the colours of the masks."""
    called = [*names, OUTSIDE]
    colours = [*("#{:02x}{:02x}{:02x}".format(*colour) for colour in palette), QUIET]
    left, right = sorted({edge.before for edge in edges}), sorted({edge.after for edge in edges})
    figure = go.Figure(
        go.Sankey(
            node={
                "label": [short(called[one]) for one in (*left, *right)],
                "color": [colours[one] for one in (*left, *right)],
                "pad": 12,
                "thickness": 12,
            },
            link={
                "source": [left.index(edge.before) for edge in edges],
                "target": [len(left) + right.index(edge.after) for edge in edges],
                "value": [edge.count for edge in edges],
                "color": "rgba(120,140,160,.35)",
            },
        )
    )
    figure.update_layout(height=max(240, 28 * max(len(left), len(right), 1)), margin={"l": 8, "r": 8, "t": 8, "b": 8})
    return figure
