"""Own data is measured by itself: a first look at A, B and their middle, which says on how many pictures it is."""

from __future__ import annotations

import streamlit as st

from fusionlib.studio import MergeView
from fusionlib.studio.first_look import FirstPart, lacking, only_first
from pages.widgets.live import SESSION, live_session
from pages.widgets.progress import running
from pages.widgets.server import studio
from pages.widgets.sidebar import selection

GRID = 0.05
"""The step with which the curve's button begins."""


def begin_first_look(view: MergeView) -> None:
    """Before the viewer, which then follows what has begun; nothing where it is switched off or cannot be measured."""
    if studio().options.auto and not view.obstacle and view.need_pictures().labelled:
        studio().first_looks.watch(live_session(), view, studio().sweep(view))


def leave_first_look() -> None:
    """Another mixture is shown, which has no curve."""
    if session := st.session_state.get(SESSION):
        studio().first_looks.leave(session)


def end_what_is_no_longer_chosen() -> None:
    """On every page, after the sidebar."""
    if session := st.session_state.get(SESSION):
        studio().first_looks.still(session, selection())


def first_look_note(view: MergeView) -> None:
    """Beneath the curve: how far it is, what it found on how many pictures, and what the rest costs."""
    with st.container():  # always one element, so that what stands below keeps its place
        if not studio().options.auto or view.obstacle or not view.need_pictures().labelled:
            return
        sweep = studio().sweep(view)
        part = studio().first_looks.part(view)
        if part is not None and lacking(sweep):
            title = f"First look at {part.images} of {part.whole} pictures"
            if not running(part, "first-look", title) and part.settled:
                st.caption(_found(part))
        if sweep.state != "running" and only_first(sweep) and (cost := sweep.cost(GRID)):
            st.caption(
                f"The whole curve, on {len(view.need_pictures())} pictures with step {GRID:g}, takes at most {cost}"
                " forward passes: its own button starts it."
            )


def _found(part: FirstPart) -> str:
    a, b, middle = (_percent(figures["miou"]) for figures in part.points.values())
    return (
        f"First look, on the first **{part.images} of {part.whole} pictures**: mIoU of A {a}, middle {middle}, B {b}."
        " The curve is of all of them, and has no points of this."
    )


def _percent(miou: float | None) -> str:
    return "unknown" if miou is None else f"{100 * miou:.1f} %"
