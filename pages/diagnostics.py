"""Diagnostics: whether and why checkpoints can be merged, from weights alone and from what the networks do."""

import streamlit as st

from fusionlib.contracts import DIAGNOSTICS, MEASURES
from fusionlib.diagnostics.evidence import USEFUL
from fusionlib.diagnostics.reasons import CAUTIONS
from fusionlib.diagnostics.verdict import RULES
from fusionlib.errors import FusionError
from fusionlib.studio import Selection
from pages.widgets.diagnostics_charts import (
    direction_chart,
    layers_chart,
    networks_table,
    pairs_chart,
    path_chart,
    similarity_chart,
    switch_when_asked,
)
from pages.widgets.diagnostics_controls import choose_pair, choose_set, run_panel
from pages.widgets.diagnostics_verdict import rules_section, verdict_section
from pages.widgets.problems import show_problem
from pages.widgets.remarks import show_notes, show_warnings
from pages.widgets.server import studio
from pages.widgets.sidebar import selection
from pages.widgets.style import heading


def diagnostics(chosen: Selection) -> None:
    """The page for a set of checkpoints."""
    names, tau = choose_set(chosen)
    if len(names) < 2:
        st.info("Choose two or more checkpoints to compare.", icon=":material/info:")
        return
    with st.spinner("Comparing weights", show_time=True):
        diagnosis = studio().diagnosis(names, chosen.source, chosen.split, chosen.buffers)
        seen, report = diagnosis.parts_known, diagnosis.report(tau)
    panel = st.container()
    st.markdown("### All pairs")
    left, right = st.columns([3, 2], gap="large")
    with right:
        number = _choose_pair(report, chosen)
        with panel:
            run_panel(diagnosis, chosen, diagnosis.pairs[number], seen)
            show_warnings(report["warnings"])
            show_notes(diagnosis.pictures.notes if diagnosis.pictures else ())
        pair = report["pairs"][number]
        verdict_section(pair)
    with left:
        pairs_chart(report, USEFUL, number)
    st.markdown("### Layer by layer")
    layers_chart(report)
    st.markdown(f"### From {pair['b']} to {pair['a']}")
    path_chart(pair)
    left, right = st.columns(2, gap="large")
    with left:
        direction_chart(pair)
    with right:
        similarity_chart(pair, report["cka_pictures"])
    st.markdown("### The networks alone")
    networks_table(report)
    rules_section(RULES, CAUTIONS, (*DIAGNOSTICS.items(), *MEASURES.items()))


def _choose_pair(report: dict, chosen: Selection) -> int:
    pairs = report["pairs"]
    first = next((number for number, pair in enumerate(pairs) if {pair["a"], pair["b"]} == {chosen.a, chosen.b}), 0)
    return choose_pair([(pair["a"], pair["b"]) for pair in pairs], chosen, first)


switch_when_asked()
heading(
    "Diagnostics",
    "Can these be merged, and why? Weights are compared at once and without data; what the networks do needs pictures.",
    "diagnosing",
)
_chosen = selection()
if _chosen is None:
    st.info(
        "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
        icon=":material/info:",
    )
else:
    try:
        diagnostics(_chosen)
    except FusionError as error:
        show_problem(error)
