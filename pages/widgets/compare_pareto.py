"""Score against calibration and cost, of every row of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.pareto import COSTS, pareto_figure
from pages.widgets.compare_found import open_point
from pages.widgets.diagnostics_controls import keep, kept
from pages.widgets.link import only_of
from pages.widgets.style import CHART

_CHART, COST = "compare-pareto", "cost"


def show_pareto(rows: Sequence[dict[str, Any]], opened: Sequence[dict[str, Any] | None]) -> None:
    """The chart behind an expander; a click on a point opens its row in Explore, where that shows it."""
    if sum(row["miou"] is not None for row in rows) < 2:
        return
    with st.expander("Score against calibration and cost", icon=":material/scatter_plot:"):
        st.plotly_chart(
            pareto_figure(rows, _cost(rows)),
            key=_CHART,
            on_select=lambda: open_point(_CHART, lambda number: opened[int(number)]),
            selection_mode="points",
            config=CHART,
        )
        st.caption("The dotted line joins what nothing else beats in both. Click a merge to open it in Explore.")


def _cost(rows: Sequence[dict[str, Any]]) -> str:
    """The cost that is drawn, of those that are measured."""
    there = [name for name in COSTS if any(row[name] is not None for row in rows)]
    if len(there) < 2:
        return there[0]
    only_of(COST, there)
    if COST not in st.session_state:
        st.session_state[COST] = kept(COST, there[0]) if kept(COST, there[0]) in there else there[0]
    chosen = st.segmented_control(
        "Cost", there, key=COST, format_func=lambda name: COSTS[name][0], on_change=keep, args=(COST,)
    )
    return chosen or there[0]
