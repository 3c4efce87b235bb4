"""The page of errors: a merge against a reference, charts on the left, the pixels on the right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.measures.error_stack import Pixels
from fusionlib.studies.errors import against_of
from fusionlib.studio import ErrorAnalysis, MergeView, Mixture
from pages.widgets import link
from pages.widgets.dtype_choice import chosen_dtype
from pages.widgets.errors_charts import classes_chart, confidence_chart, confusion_chart, flow_chart
from pages.widgets.errors_controls import against_choice, answer, measured, other_alpha
from pages.widgets.errors_gallery import filters, gallery, ordered
from pages.widgets.errors_selection import chip, chosen, words_of
from pages.widgets.explore import mixture_choice, mounted
from pages.widgets.link import only_of
from pages.widgets.problems import plain, problems_shown, show_problem
from pages.widgets.remarks import show_notes
from pages.widgets.server import studio
from pages.widgets.sidebar import selection

SHOW = "show"
"""Name in the session state and in the URL."""

TABS = {
    "pictures": "Pictures",
    "classes": "Classes",
    "confusion": "Confusion",
    "flow": "Flow",
    "confidence": "Confidence",
}

ANY_ALPHA = 0.5
"""Which of A and B is the better one is the same for every merge of them."""

DIGITS = 3
"""Of an alpha, as the viewer asks for its frames."""


@st.fragment
def errors_view() -> None:
    """The whole page; the end of a gesture reruns this fragment and not the page."""
    _errors()
    link.write()


def _errors() -> None:
    pair = selection()
    if pair is None:
        st.info(
            "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
            icon=":material/info:",
        )
        return
    row = st.columns([2, 3, 2.4, 0.9], vertical_alignment="bottom")
    kind, pair = mixture_choice(pair, None, row[0], row[1])
    against = against_choice(pair, kind, row[2], row[3])
    try:
        with st.spinner("Reading checkpoints and data"):
            view = studio().view(replace(pair, dtype=chosen_dtype()))
        if words := _lacking(view):
            st.info(plain(words), icon=":material/info:")
            return
        _workbench(view, kind, against)
    except FusionError as error:
        show_problem(error)


def _lacking(view: MergeView) -> str | None:
    """Why nothing can be looked into, in words."""
    if view.obstacle:
        return view.obstacle
    if not view.need_pictures().labelled:
        return (
            "These pictures have no masks, so nobody knows which pixels are wrong: choose labelled data in the sidebar,"
            " or load some on the Workspace page."
        )
    return None


def _workbench(view: MergeView, kind: str, against: str) -> None:
    head = st.container(key="errors-head")
    left, right = st.columns([6, 7], gap="medium")
    pixels = chosen()
    with right, st.container(key="errors-viewer"):
        mixture = mounted(view, kind, _for_viewer(view, pixels, against))
    analysis = studio().errors.of_view(view, _as_shown(mixture), against)
    with head:
        there = measured(analysis)
        found = analysis.snapshot() if there else {}
        if there:
            answer(analysis, found)
    with left, problems_shown():
        if there:
            _looked_into(view, analysis, pixels, found)
        else:
            st.caption("Which pictures, which classes, which pixels: the charts appear here.")
    show_notes(view.need_pictures().notes)


def _for_viewer(view: MergeView, pixels: Pixels, against: str) -> dict[str, Any]:
    """What the viewer is told: `pixels` as text and in words, what they are `against`, its alpha where it is one,
    and the pane that shows it.
    """
    return {
        "pixels": pixels.text,
        "words": words_of(pixels, view.need_pictures().label_space.names),
        "against": against,
        "alpha": other_alpha(against),
        "reference": pane_of(view, against),
    }


def pane_of(view: MergeView, against: str) -> str | None:
    """The pane of the viewer that shows what the merge is held against, so that its lenses compare with what the
    figures do; None while that is not known.
    """
    kind = against_of(against).kind
    if kind == "better":
        analysis = studio().errors.of_view(view, ANY_ALPHA)
        if analysis.reference is None:
            return None
        kind = "a" if analysis.reference.recipes[0].content == analysis.errors.ends[0].content else "b"
    return {"ensemble": "e", "oracle": "o", "alpha": "r"}.get(kind, kind)


def _as_shown(mixture: Mixture) -> Mixture:
    """An alpha in the digits that frames have, so that pixels are those of the frame."""
    return round(mixture, DIGITS) if isinstance(mixture, float) else mixture


def _looked_into(view: MergeView, analysis: ErrorAnalysis, pixels: Pixels, found: dict[str, Any]) -> None:
    only_of(SHOW, TABS)
    st.session_state.setdefault(SHOW, "pictures")
    st.segmented_control(
        "Show", list(TABS), key=SHOW, format_func=TABS.__getitem__, required=True, label_visibility="collapsed"
    )
    tab = st.session_state[SHOW] or "pictures"
    chip(pixels, analysis.pictures.label_space.names)
    rows = ordered(analysis, pixels)
    if tab == "pictures":
        filters(analysis, pixels)
    gallery(view, rows, pixels, strip=tab != "pictures")
    if tab == "classes":
        classes_chart(analysis)
    elif tab == "confusion":
        confusion_chart(analysis, pixels)
    elif tab == "flow":
        flow_chart(analysis)
    elif tab == "confidence":
        confidence_chart(analysis, found, pixels)
