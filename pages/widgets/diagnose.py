"""The Diagnose page: tabs over one choice of checkpoints."""

from __future__ import annotations

import streamlit as st

from pages.widgets import link
from pages.widgets.calibration_tab import calibration_tab
from pages.widgets.diagnostics_charts import switch_when_asked
from pages.widgets.diagnostics_tab import verdict_tab
from pages.widgets.learners_tab import learners_tab
from pages.widgets.problems import problems_shown
from pages.widgets.sidebar import selection

VERDICT, CALIBRATION, LEARNERS = "verdict", "calibration", "learners"
TABS = {VERDICT: "Will it work?", CALIBRATION: "Calibration", LEARNERS: "Learners"}
"""By their names in the address."""

TAB = "tab"


def diagnose(first: str) -> None:
    """The page with the tab that the address names, else `first`."""
    switch_when_asked()
    chosen = selection()
    if chosen is None:
        st.info(
            "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
            icon=":material/info:",
        )
        return
    if link.asked(TAB) is None and (first == CALIBRATION or link.asked("set") or link.asked("pair")):
        st.session_state[TAB] = first  # an earlier link, or one of another page, which asks about these checkpoints
    link.only_of(TAB, TABS)
    st.session_state.setdefault(TAB, first)
    head = st.columns([2, 3], vertical_alignment="bottom")
    head[0].segmented_control(
        "Question", list(TABS), required=True, key=TAB, format_func=TABS.__getitem__, label_visibility="collapsed"
    )
    tab: str = st.session_state[TAB] or first
    # A place for each, and an empty element in that of the other: its parts go before the new ones are drawn.
    places = {name: st.container() if name == tab else st.empty() for name in TABS}
    with places[tab], problems_shown():
        if tab == CALIBRATION:
            head[1].empty()
            calibration_tab(chosen)
        elif tab == LEARNERS:
            head[1].empty()
            learners_tab(chosen)
        else:
            verdict_tab(chosen, head[1])
