"""Second tab of the Diagnose page: how sure each network is, and whether it is right as often as it says."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusionlib.charts.calibration_terms import TERMS
from fusionlib.studio import Selection
from pages.widgets.calibration_controls import Shown, choose, run_row
from pages.widgets.calibration_paths import curve_section, pairs_section, temperature_section
from pages.widgets.calibration_reliability import (
    BIN,
    figures_section,
    pictures_section,
    reliability_chart,
    reliability_table,
    separation_section,
)
from pages.widgets.problems import plain
from pages.widgets.remarks import show_notes, show_warnings
from pages.widgets.server import studio

ONE, FOUR = "ece_sample_weighted", ("miou", "nll", "brier", "auroc")
"""The number that answers, and the figures beside the chart."""


def calibration_tab(chosen: Selection) -> None:
    """A, B and what lies between them."""
    with st.spinner("Reading checkpoints and data"):
        view = studio().view(chosen)
    if view.obstacle:
        st.info(
            (
                "No data is loaded: choose labelled data on the Workspace page."
                if view.architecture is not None
                else "No model code is known for these checkpoints, and calibration needs to run them:"
                f" {plain(f'{view.unknown.what}. {view.unknown.do}.')}"
            ),
            icon=":material/info:",
        )
        return
    if not view.need_pictures().labelled:
        st.info(
            "These pictures have no masks. Calibration compares confidence with the truth: choose labelled data in the"
            " sidebar.",
            icon=":material/info:",
        )
        return
    st.markdown("### How far can its confidence be trusted?")
    look = choose(studio().calibration.sweep(view))
    run_row(look)
    show_warnings(studio().calibration.sweep(view).snapshot()["warnings"])
    left, right = st.columns([1, 3], gap="large")
    with left:
        _answer(look)
    with right:
        reliability_chart(look)
    show_notes(view.need_pictures().notes)
    _details(look)


def _answer(look: Shown) -> None:
    """The calibration error of the merge with those of A and B, and four figures more."""
    found = {role: summary for role, _, summary in look.known()}
    if not found:
        return
    for key in (ONE, *FOUR):
        term = TERMS[key]
        shown = {role: _text(key, summary) for role, summary in found.items()}
        st.metric(
            "ECE of the merge (%)" if key == ONE else term.axis,
            shown.get("m", "n/a"),
            f"A {shown.get('a', 'n/a')}, B {shown.get('b', 'n/a')}",
            delta_color="off",
            delta_arrow="off",
            help=f"{term.help} {'Higher' if term.higher else 'Lower'} is better.",
        )


def _text(key: str, summary: dict[str, Any]) -> str:
    value = TERMS[key].shown(summary.get(key))
    return "n/a" if value is None else f"{value:.1f}" if TERMS[key].unit == "%" else f"{value:.3f}"


def _details(look: Shown) -> None:
    """All that unfolds."""
    if look.known():
        with st.expander("Where these pixels are", expanded=BIN in st.session_state, icon=":material/image_search:"):
            pictures_section(look)
        with st.expander("All figures", icon=":material/table_rows:"):
            figures_section(look)
            reliability_table(look)
        with st.expander("Does confidence tell right from wrong?", icon=":material/call_split:"):
            separation_section(look)
    with st.expander("Is the best alpha also the best calibrated?", icon=":material/show_chart:"):
        keys = curve_section(look)
    with st.expander("Over all pairs of a set", icon=":material/scatter_plot:"):
        pairs_section(look, keys)
    with st.expander("Temperature scaling", icon=":material/thermostat:"):
        temperature_section(look)
