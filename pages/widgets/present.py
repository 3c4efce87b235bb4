"""Presenting, on every page: the button, the story that it steps through, and the first steps over the demo."""

from __future__ import annotations

import os
from dataclasses import asdict

import streamlit as st
import streamlit.components.v2  # type: ignore[import-not-found]

from fusionlib.errors import FusionError
from fusionlib.runs.story import TITLE, Step
from pages.widgets import link
from pages.widgets.browser_files import stub
from pages.widgets.server import studio
from pages.widgets.tried import name_of

TOUR = "FUSION_TOUR"
"""The variable that leaves the first steps out where it is 0: for a kiosk, or tests."""

DISMISSED = "tour"
"""What the home folder calls it."""

_KEY, _PROBLEM = "presenting", "story/problem"

_CSS = """button {
  width: 100%; min-height: 40px; font: inherit; color: var(--st-text-color); cursor: pointer;
  background: var(--st-background-color); border: 1px solid var(--st-border-color); border-radius: 8px;
}
button:hover, button:focus-visible { border-color: var(--st-primary-color); color: var(--st-primary-color); }"""

_mount = st.components.v2.component(  # pyright: ignore[reportAttributeAccessIssue]
    "fusion_present", css=_CSS, js=stub("viewer/present-main.js")
)


def presenting() -> None:
    """Draw the buttons, and tell the browser the story."""
    left, right = st.columns(2, gap="small")
    left.button(
        "To story",
        key="story-add",
        icon=":material/playlist_add:",
        width="stretch",
        on_click=_add,
        disabled=link.page() in link.APART or link.page() == "workspace",
        help="Adds this view to the end of the story, see the Story page",
    )
    with right:
        _mount(
            key=_KEY,
            data={"steps": [asdict(step) for step in studio().looked.story.read().steps], "tour": _tour()},
            on_dismissed_change=_dismiss,
        )
    if problem := st.session_state.pop(_PROBLEM, None):
        st.warning(problem)


def _add() -> None:
    here = link.present()
    if here is None:
        st.session_state[_PROBLEM] = "The page was not drawn to its end yet: press it again."
        return
    try:
        studio().looked.story.add(Step(here, name_of(here)[:TITLE]))
        st.toast("Added to the story", icon=":material/playlist_add_check:")
    except FusionError as error:
        st.session_state[_PROBLEM] = error.one_line


def _tour() -> bool:
    """Whether the first steps are shown: over the demo, until somebody has dismissed them."""
    wanted = os.environ.get(TOUR, "1") != "0" and studio().options.demo and link.page() == ""
    return wanted and not studio().looked.flags.raised(DISMISSED)


def _dismiss() -> None:
    studio().looked.flags.put(DISMISSED)
