"""Calibration: how sure each network is, and whether it is right as often as it says."""

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.studio import Selection
from pages.widgets.calibration_controls import choose, run_row
from pages.widgets.calibration_paths import curve_section, pairs_section, temperature_section
from pages.widgets.calibration_reliability import figures_section, reliability_section, separation_section
from pages.widgets.problems import plain, show_problem
from pages.widgets.remarks import show_notes, show_warnings
from pages.widgets.server import studio
from pages.widgets.sidebar import selection
from pages.widgets.style import heading


def calibration(chosen: Selection) -> None:
    """The page for A, B and what lies between them."""
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
    look = choose(studio().calibration.sweep(view))
    run_row(look)
    show_warnings(studio().calibration.sweep(view).snapshot()["warnings"])
    show_notes(view.need_pictures().notes)
    reliability_section(look)
    figures_section(look)
    separation_section(look)
    pairs_section(look, curve_section(look))
    temperature_section(look)


heading(
    "Calibration",
    "How sure is each network, and is it right as often as it says? Every labelled pixel of the split counts.",
    "measuring#calibration",
)
_chosen = selection()
if _chosen is None:
    st.info(
        "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
        icon=":material/info:",
    )
else:
    try:
        calibration(_chosen)
    except FusionError as error:
        show_problem(error)
