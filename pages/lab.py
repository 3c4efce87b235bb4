"""Lab: make checkpoints on purpose, and see how they are related."""

import streamlit as st

from fusionlib.errors import FusionError
from pages.widgets.compare_open import explore_when_asked
from pages.widgets.lab_family import family_part
from pages.widgets.lab_new import new_run
from pages.widgets.lab_rates import rates_part
from pages.widgets.lab_runs import runs_part
from pages.widgets.problems import show_problem
from pages.widgets.sidebar import selection
from pages.widgets.style import heading

explore_when_asked()
heading("Lab", "Three more checkpoints of this one: by which regime, on which pictures?", "training")
_chosen = selection()
_new, _runs, _rates, _family = st.tabs(["New run", "Runs", "Learning rates", "Family"])
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
