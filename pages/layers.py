"""Layers: weights of its own for every layer, block or part, drawn as a curve while the pictures answer."""

from dataclasses import replace

import streamlit as st

from fusionlib.errors import FusionError
from pages.widgets.dtype_choice import chosen_dtype
from pages.widgets.export import export_panel
from pages.widgets.layers_panel import contribution_section, further_checkpoints, live_layers
from pages.widgets.problems import problems_shown, show_problem
from pages.widgets.remarks import show_notes, show_warnings
from pages.widgets.server import studio
from pages.widgets.sidebar import selection
from pages.widgets.style import heading


@st.fragment
def layers_view() -> None:
    """Everything that follows the profile; the end of a gesture reruns this fragment and not the page."""
    chosen = selection()
    if chosen is None:
        st.info(
            "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
            icon=":material/info:",
        )
        return
    chosen = further_checkpoints(chosen)
    try:
        with st.spinner("Reading checkpoints and data"):
            view = studio().view(replace(chosen, dtype=chosen_dtype()))
        show_warnings(studio().sweep(view).snapshot()["warnings"])
        profile = live_layers(view)
    except FusionError as error:
        show_problem(error)
        if chosen.a != chosen.b:
            st.caption(
                "The report on the Workspace page says which tensors differ; the Compare page merges what they share."
            )
        return
    with problems_shown():
        show_notes(view.pictures.notes if view.pictures else ())
        left, right = st.columns([3, 2], gap="large")
        with left:
            contribution_section(view, profile)
        with right:
            export_panel(view, profile)


heading(
    "Layers",
    "Weights for every layer: drag a bar, or draw the curve across many. "
    "A bar that is full is all A; what is left of it belongs to the others.",
    "merging#a-weight-for-every-layer",
)
layers_view()
