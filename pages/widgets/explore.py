"""Explore: one mixture of two or more checkpoints, live: alpha, a profile by layer, or any merge method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from fusionlib.charts.classes import class_change_figure
from fusionlib.contracts import METHODS
from fusionlib.errors import FusionError, LayoutError
from fusionlib.studio import MergeMethod, MergeView, Mixture, Selection
from fusionlib.studio.demo import view_words
from pages.widgets import link, tried
from pages.widgets.dtype_choice import chosen_dtype
from pages.widgets.export import export_panel
from pages.widgets.first_look import begin_first_look, first_look_note, leave_first_look
from pages.widgets.layers_panel import contribution_section, further_checkpoints, live_layers
from pages.widgets.link import only_of
from pages.widgets.live import live_view
from pages.widgets.method_viewer import live_method, measure_section
from pages.widgets.problems import plain, problems_shown, show_problem
from pages.widgets.remarks import show_notes, show_warnings
from pages.widgets.server import studio
from pages.widgets.sidebar import selection
from pages.widgets.style import CHART
from pages.widgets.viewer import newly_measured

MIXTURE = "mix"
"""Name in the session state and in the URL."""

ALPHA, LAYERS = "alpha", "layers"
"""Mixtures beside those that are called by a method's name."""


@st.fragment
def explore_view(kind: str | None = None) -> None:
    """Everything that follows the mixture; the end of a gesture reruns this fragment and not the page.

    `kind` is what an address stands for that has a mixture of its own.
    """
    if newly_measured():  # lists of checkpoints say scores
        st.rerun(scope="app")
    _explore(kind)
    link.write()
    tried.settled()


def _explore(kind: str | None) -> None:
    chosen = selection()
    if chosen is None:
        st.info(
            "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
            icon=":material/info:",
        )
        return
    kind, chosen = mixture_choice(chosen, kind, *st.columns([2, 5], vertical_alignment="bottom"))
    with st.container(key="viewer-box"):
        shown = _viewer(chosen, kind)
    if shown is None:
        return
    view, mixture = shown
    tried.measured(view, mixture)
    with problems_shown():
        if _has_curve(view, kind):
            first_look_note(view)
        show_notes(view.pictures.notes if view.pictures else ())
        left, right = st.columns([3, 2], gap="large")
        with left:
            _below(view, kind, mixture)
            _where(view)
        with right:
            export_panel(view, mixture)


def _viewer(chosen: Selection, kind: str) -> tuple[MergeView, Mixture] | None:
    """The live view and what is set in it; None, with the reason on the page, where there is none."""
    try:
        with st.spinner("Reading checkpoints and data"):
            view = studio().view(replace(chosen, dtype=chosen_dtype()))
        show_warnings(studio().sweep(view).snapshot()["warnings"])
        if _has_curve(view, kind):
            begin_first_look(view)
        else:
            leave_first_look()
        return view, mounted(view, kind)
    except FusionError as error:
        show_problem(error)
        if isinstance(error, LayoutError):
            st.caption(
                "The report on the Workspace page says which tensors differ; the Compare page merges what they share."
            )
        return None


def _where(view: MergeView) -> None:
    """The way to the page that says in which pictures, of the same mixture."""
    if view.obstacle is None and view.need_pictures().labelled:
        st.page_link(
            "errors.py", label="Which pictures, which pixels?", icon=":material/troubleshoot:", query_params={}
        )


def mixture_choice(chosen: Selection, kind: str | None, left: Any, right: Any) -> tuple[str, Selection]:
    """What kind of mixture is shown, chosen in `left`, and of which checkpoints, in `right`."""
    methods = [name for name, kind in sorted(METHODS.items()) if not kind.by_preset and name != "linear"]
    names = {ALPHA: "Weighted average (alpha)", LAYERS: "Layer by layer"}
    names |= {name: METHODS.get(name).title for name in methods}
    key = MIXTURE if kind is None else f"{MIXTURE}-{kind}"
    only_of(key, names)
    st.session_state.setdefault(key, kind or ALPHA)
    chosen_kind = left.selectbox(
        "Mixture",
        list(names),
        key=key,
        format_func=names.__getitem__,
        help="How the checkpoints become one network: every one that is a single network moves while you drag",
        label_visibility="collapsed",
    )
    with right:
        return chosen_kind, further_checkpoints(chosen)


def _has_curve(view: MergeView, kind: str) -> bool:
    """Whether a pair is mixed along alpha."""
    return kind == ALPHA and len(view.arena) == 2


def mounted(view: MergeView, kind: str, errors: Mapping[str, Any] | None = None) -> Mixture:
    """The viewer with the control of this mixture; what is set. `errors` is what the page of errors has chosen."""
    if kind == LAYERS:
        return live_layers(view, errors)
    if _has_curve(view, kind):
        return live_view(view, errors)
    return live_method(view, "linear" if kind == ALPHA else kind, errors)


def _below(view: MergeView, kind: str, mixture: Mixture) -> None:
    if kind == LAYERS:
        contribution_section(view, mixture)  # type: ignore[arg-type]
    elif isinstance(mixture, MergeMethod):
        measure_section(view, mixture)
        _changes(view, studio().mixture(view, mixture).points)
    else:
        _along_alpha(view, mixture)


def _along_alpha(view: MergeView, alpha: float) -> None:
    if words := view_words(view, studio().workspace):
        st.caption(plain(words))
    st.markdown("### What the merge changes, class by class")
    if view.obstacle or not view.pictures.labelled:  # type: ignore[union-attr]
        st.caption(plain(view.obstacle or "These pictures have no masks, so there is nothing to measure against."))
        return
    snapshot = studio().sweep(view).snapshot()
    if not snapshot["points"] or not snapshot["a"] or not snapshot["b"]:
        st.caption(
            "Measure the curve above first: the change per class appears here when A, B and a point between are known."
        )
        return
    point = min(snapshot["points"], key=lambda item: abs(item["alpha"] - alpha))
    _chart(view, point, snapshot["a"], snapshot["b"])
    st.caption(
        f"IoU at alpha {point['alpha']:g} (the measured point nearest to {alpha:g}) minus the better of A and B, in"
        " percentage points. Right of zero the merge is better than both; classes absent from the data are left out."
    )


def _changes(view: MergeView, points: dict) -> None:
    """The same of a merge by a method."""
    if not {"merge", "a", "b"} <= set(points):
        return
    st.markdown("### What the merge changes, class by class")
    _chart(view, points["merge"], points["a"], points["b"])
    st.caption("IoU of the merge minus the better of A and B, in percentage points. Right of zero it beats both.")


def _chart(view: MergeView, merged: dict, a: dict, b: dict) -> None:
    figure = class_change_figure(view.space.names, merged, a, b)
    st.plotly_chart(figure, key="class-change", config=CHART)
