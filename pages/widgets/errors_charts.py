"""Charts of the page of errors: a click on a bar, a cell or a row chooses its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.confusion import (
    NORMALISED,
    OUTSIDE,
    SHOWN,
    cells_of,
    confusion_figure,
    edges_of,
    flow_figure,
)
from fusionlib.charts.errors import bins_figure, class_figure, risk_figure
from fusionlib.measures.error_stack import Pixels
from fusionlib.studio import ErrorAnalysis
from pages.widgets.diagnostics_tables import twin
from pages.widgets.errors_controls import PLAIN
from pages.widgets.errors_selection import chart_key, clicked, show
from pages.widgets.link import only_of
from pages.widgets.problems import plain

MATRIX, SHARE, CELLS, FLOW = "matrix", "share", "cells", "flow"
"""Names in the session state and in the URL."""

BINS = 20
"""Bins of the diagram of confidence, unless a link has chosen one of others."""

_SHARES = {"row": "of the class", "column": "of the prediction", "none": "of all pixels"}
_CELLS = {"errors": "errors alone", "all": "all cells"}


def classes_chart(analysis: ErrorAnalysis) -> None:
    """Change of IoU per class, and per category where there are some."""
    rows, groups = analysis.class_rows(), analysis.group_rows()
    _bars(analysis, "classes", rows, {row["name"]: [number] for number, row in enumerate(rows)})
    st.caption(
        "Whiskers: 95 %, paired bootstrap over pictures or their groups. Beside a name: its labelled pixels; n/a: the"
        " truth lacks it. A click outlines what changed."
    )
    if groups:
        st.markdown("### By category")
        _bars(analysis, "categories", groups, {name: list(ids) for name, ids in analysis.categories.items()})
    twin([_figures(row) for row in rows], "errors-classes")


def _bars(analysis: ErrorAnalysis, name: str, rows: Sequence[dict[str, Any]], truths: dict[str, list[int]]) -> None:
    key = chart_key(name)
    st.plotly_chart(
        class_figure(rows, truths),
        key=key,
        on_select=lambda: clicked(key, analysis),
        selection_mode="points",
        config=PLAIN,
    )


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    low, high = row["interval"] or (None, None)
    return {
        "class": row["name"],
        "pixels": row["pixels"],
        "IoU before (%)": _percent(row["iou"]["reference"]),
        "IoU merge (%)": _percent(row["iou"]["merge"]),
        "change (points)": _percent(row["change"]),
        "from": _percent(low),
        "to": _percent(high),
        "boundary IoU before (%)": _percent(row["boundary_iou"].get("reference")),
        "boundary IoU merge (%)": _percent(row["boundary_iou"].get("merge")),
        "fixed": row["fixed"],
        "broken": row["broken"],
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)


def confusion_chart(analysis: ErrorAnalysis, pixels: Pixels) -> None:
    """The confusion matrices; a click on a cell chooses its pixels."""
    columns = st.columns(3)
    _segments(columns[0], "Matrix of", MATRIX, {one: one for one in SHOWN}, "merge")
    _segments(columns[1], "Share", SHARE, {one: _SHARES[one] for one in NORMALISED}, "row")
    _segments(columns[2], "Cells", CELLS, _CELLS, "errors")
    state = st.session_state
    reference, merge = analysis.confusions()
    cells = cells_of(reference, merge, state[MATRIX], state[SHARE], state[CELLS] == "errors")
    key = chart_key("confusion")
    st.plotly_chart(
        confusion_figure(cells, analysis.pictures.label_space.names, state[MATRIX], pixels.text),
        key=key,
        on_select=lambda: clicked(key, analysis),
        selection_mode="points",
        config=PLAIN,
    )


def _segments(place: Any, label: str, key: str, options: dict[str, str], first: str) -> None:
    only_of(key, options)
    st.session_state.setdefault(key, first)
    place.selectbox(label, list(options), key=key, format_func=options.__getitem__)


def flow_chart(analysis: ErrorAnalysis) -> None:
    """Which label became which, as a diagram, and as the table in which an edge is chosen."""
    names = list(analysis.pictures.label_space.names)
    only_of(FLOW, names)
    truth = st.selectbox("Pixels of", names, index=None, key=FLOW, placeholder="every class")
    truths = () if truth is None else (names.index(truth),)
    edges = edges_of(analysis.flow(truths))
    if not edges:
        st.caption("No labelled pixel changed its label.")
        return
    st.plotly_chart(flow_figure(edges, names, analysis.pictures.label_space.palette), key="errors-flow", config=PLAIN)
    called, key = [*names, OUTSIDE], chart_key("edges")
    st.caption("Left the reference's label, right the merge's. Choose a row to outline its pixels.")
    st.dataframe(
        [{"reference": called[one.before], "merge": called[one.after], "pixels": one.count} for one in edges],
        hide_index=True,
        key=key,
        height=min(38 + 35 * len(edges), 320),
        placeholder="",
        on_select=lambda: _row_chosen(analysis, key, [Pixels(truths, (one.before,), (one.after,)) for one in edges]),
        selection_mode="single-row",
        column_config={"pixels": st.column_config.NumberColumn(format="localized")},
    )


def _row_chosen(analysis: ErrorAnalysis, key: str, edges: Sequence[Pixels]) -> None:
    rows = st.session_state[key].selection.rows
    if rows and rows[0] < len(edges):
        show(analysis, edges[rows[0]])


def confidence_chart(analysis: ErrorAnalysis, found: dict[str, Any], pixels: Pixels) -> None:
    """Whether confidence tells right from wrong, bin by bin and in all, and flicker along a sequence."""
    bins = pixels.bin[1] if pixels.bin else BINS
    outcomes = analysis.outcomes(bins)
    if outcomes is not None:
        key = chart_key("bins")
        st.plotly_chart(
            bins_figure(outcomes[0].tolist(), outcomes[1].tolist(), pixels.bin and pixels.bin[0]),
            key=key,
            on_select=lambda: clicked(key, analysis),
            selection_mode="points",
            config=PLAIN,
        )
        st.caption("A click on a bin outlines its pixels: below the dotted line the merge is surer than it is right.")
    names = {"reference": str(found["reference"]), "merge": "the merge"}
    st.plotly_chart(risk_figure(analysis.risk(), names), key="errors-risk", config=PLAIN)
    flicker = analysis.flicker()
    rows = [
        {
            "network": names[role],
            "AURC (%)": _percent(found["confidence"].get(role, {}).get("aurc")),
            "FPR95 (%)": _percent(found["confidence"].get(role, {}).get("fpr95")),
            "flicker (%)": _percent(flicker.get(role)),
        }
        for role in ("reference", "merge")
        if role in found["confidence"]
    ]
    st.dataframe(rows, hide_index=True, key="errors-confidence", placeholder="n/a")
    lacking = "" if any(value is not None for value in flicker.values()) else " n/a: no frames follow one another here."
    st.caption(
        "Lower is better. AURC: area under the curve. FPR95: wrong pixels let through where 95 % of the right ones are."
        f" Flicker: labels that change from frame to frame where the truth does not.{lacking}"
    )
    if "reference" not in found["confidence"]:
        st.caption(f"{plain(names['reference'])} is several networks, which have no one confidence.")
