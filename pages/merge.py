"""Merge: slide alpha between two checkpoints and watch masks and curve answer."""

from dataclasses import replace

import streamlit as st

from fusionlib.charts.classes import class_change_figure
from fusionlib.errors import FusionError, LayoutError
from pages.widgets.dtype_choice import chosen_dtype
from pages.widgets.export import export_panel
from pages.widgets.live import live_view
from pages.widgets.problems import plain, problems_shown, show_problem
from pages.widgets.remarks import show_notes, show_warnings
from pages.widgets.server import studio
from pages.widgets.sidebar import selection
from pages.widgets.style import heading


@st.fragment
def merge_view() -> None:
    """Everything that follows alpha; a release of the slider reruns this fragment and not the page."""
    chosen = selection()
    if chosen is None:
        st.info(
            "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
            icon=":material/info:",
        )
        return
    try:
        with st.spinner("Reading checkpoints and data"):
            view = studio().view(replace(chosen, dtype=chosen_dtype()))
        show_warnings(studio().sweep(view).snapshot()["warnings"])
        alpha = live_view(view)
    except FusionError as error:
        show_problem(error)
        if isinstance(error, LayoutError):
            st.caption(
                "The report on the Workspace page says which tensors differ; the Compare page merges what they share."
            )
        return
    with problems_shown():
        show_notes(view.pictures.notes if view.pictures else ())
        left, right = st.columns([3, 2], gap="large")
        with left:
            _class_change(view, alpha)
        with right:
            export_panel(view, alpha)


def _class_change(view, alpha: float) -> None:
    st.markdown("### What the merge changes, class by class")
    if view.obstacle or not view.pictures.labelled:
        st.caption(plain(view.obstacle or "These pictures have no masks, so there is nothing to measure against."))
        return
    snapshot = studio().sweep(view).snapshot()
    if not snapshot["points"] or not snapshot["a"] or not snapshot["b"]:
        st.caption(
            "Measure the curve above first: the change per class appears here when A, B and a point between are known."
        )
        return
    point = min(snapshot["points"], key=lambda item: abs(item["alpha"] - alpha))
    st.plotly_chart(
        class_change_figure(view.space.names, point, snapshot["a"], snapshot["b"]),
        key="class-change",
        config={"displayModeBar": False},
    )
    st.caption(
        f"IoU at alpha {point['alpha']:g} (the measured point nearest to {alpha:g}) minus the better of A and B, in"
        " percentage points. Right of zero the merge is better than both; classes absent from the data are left out."
    )


heading(
    "Merge", "Drag alpha: 1 is checkpoint A, 0 is checkpoint B, between them the weighted average of both.", "merging"
)
merge_view()
