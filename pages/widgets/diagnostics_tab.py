"""First tab of the Diagnose page: the verdict on a pair, all pairs in one chart, four figures; the rest unfolds."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusionlib.contracts import DIAGNOSTICS, MEASURES
from fusionlib.diagnostics.evidence import USEFUL
from fusionlib.diagnostics.reasons import CAUTIONS
from fusionlib.diagnostics.verdict import RULES
from fusionlib.studio import Selection
from pages.widgets.diagnostics_charts import (
    direction_chart,
    layers_chart,
    networks_table,
    pairs_chart,
    path_chart,
    similarity_chart,
)
from pages.widgets.diagnostics_controls import choose_pair, choose_set, run_panel
from pages.widgets.diagnostics_verdict import four_figures, open_button, reasons_section, rules_section, verdict_line
from pages.widgets.problems import plain
from pages.widgets.remarks import show_notes, show_warnings
from pages.widgets.server import studio

Report = dict[str, Any]


def verdict_tab(chosen: Selection, beside: Any) -> None:
    """The verdict on one pair of a set; the pair is chosen in `beside`, a place on the line of the tabs."""
    top = st.container()
    left, right = st.columns([3, 2], gap="large")
    settings = st.expander("Checkpoints and measuring", icon=":material/tune:")
    with settings:
        names, tau = choose_set(chosen)
    if len(names) < 2:
        top.info("Choose two or more checkpoints under Checkpoints and measuring.", icon=":material/info:")
        return
    with top, st.spinner("Comparing weights", show_time=True):
        diagnosis = studio().diagnosis(names, chosen.source, chosen.split, chosen.buffers)
        seen, report = diagnosis.parts_known, diagnosis.report(tau)
    with beside:
        number = _choose_pair(report, chosen)
    pair = report["pairs"][number]
    with top:
        verdict_line(pair)
    with right:
        four_figures(pair)
        open_button(pair)
        run_panel(diagnosis, chosen, diagnosis.pairs[number], seen, settings)
        show_warnings(report["warnings"])
    with settings:
        show_notes(diagnosis.pictures.notes if diagnosis.pictures else ())
    _details(report, pair, number, left)


def _details(report: Report, pair: dict[str, Any], number: int, chart: Any) -> None:
    """All that unfolds below the chart, which stands in the place `chart`."""
    with st.expander("Reasons", icon=":material/help:"):
        reasons_section(pair)
    with st.expander("All pairs", icon=":material/scatter_plot:"):
        pairs_chart(report, USEFUL, number, chart)
    with st.expander("Layer by layer", icon=":material/layers:"):
        layers_chart(report)
    with st.expander("Along the path", icon=":material/show_chart:"):
        st.markdown(f"### From {plain(pair['b'])} to {plain(pair['a'])}")
        path_chart(pair)
        left, right = st.columns(2, gap="large")
        with left:
            direction_chart(pair)
        with right:
            similarity_chart(pair, report["cka_pictures"])
    with st.expander("The networks alone", icon=":material/table_rows:"):
        networks_table(report)
    rules_section(RULES, CAUTIONS, (*DIAGNOSTICS.items(), *MEASURES.items()))


def _choose_pair(report: Report, chosen: Selection) -> int:
    pairs = report["pairs"]
    first = next((number for number, pair in enumerate(pairs) if {pair["a"], pair["b"]} == {chosen.a, chosen.b}), 0)
    return choose_pair([(pair["a"], pair["b"]) for pair in pairs], chosen, first)
