"""Lab: make checkpoints on purpose, and see how they are related."""

import streamlit as st

from fusionlib.errors import FusionError
from pages.widgets.compare_open import explore_when_asked
from pages.widgets.lab_family import family_part
from pages.widgets.lab_new import GO_TO_RUNS, NEW, RUNS, TAB, new_run
from pages.widgets.lab_rates import rates_part
from pages.widgets.lab_runs import runs_part
from pages.widgets.problems import show_problem
from pages.widgets.sidebar import selection
from pages.widgets.style import heading

explore_when_asked()
heading("Lab", "Three more checkpoints of this one: by which regime, on which pictures?", "training")
_chosen = selection()
if st.session_state.pop(GO_TO_RUNS, False):
    st.session_state[TAB] = RUNS
_tabs = [NEW, RUNS, "Learning rates", "Family"]
_new, _runs, _rates, _family = st.tabs(_tabs, key=TAB, on_change="rerun")
try:
    with _new:
        new_run(_chosen)
    with _runs:
        runs_part(_chosen)
    with _rates:
        rates_part(_chosen)
    with _family:
        family_part(_chosen)
except FusionError as _problem:
    show_problem(_problem)
