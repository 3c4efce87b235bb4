"""Score against calibration and cost, of every row of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.pareto import pareto_figure
from pages.widgets.compare_found import open_point
from pages.widgets.style import CHART

_CHART = "compare-pareto"


def show_pareto(rows: Sequence[dict[str, Any]], opened: Sequence[dict[str, Any] | None]) -> None:
    """The chart behind an expander; a click on a point opens its row in Explore, where that shows it."""
    if sum(row["miou"] is not None for row in rows) < 2:
        return
    with st.expander("Score against calibration and cost", icon=":material/scatter_plot:"):
        st.plotly_chart(
            pareto_figure(rows),
            key=_CHART,
            on_select=lambda: open_point(_CHART, lambda number: opened[int(number)]),
            selection_mode="points",
            config=CHART,
        )
        st.caption(
            "The dotted line joins what nothing else beats in both. Click a merge to open it in Explore. Time and"
            " memory of a forward pass are not measured."
        )
