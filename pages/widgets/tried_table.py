"""The history on its page: search, stars, notes, delete and undo."""

from __future__ import annotations

import hashlib
import time

import streamlit as st

from fusionlib.runs.history import NOTE, Tried
from fusionlib.runs.story import TITLE, Step
from pages.widgets.opened import view_link
from pages.widgets.problems import plain
from pages.widgets.server import studio
from pages.widgets.story import change

SHOWN = 25
"""Views of one page of the list."""


def history_section() -> None:
    """What was looked at, newest first."""
    history = studio().looked.history
    st.markdown("### History")
    left, middle, right = st.columns([6, 2, 3], vertical_alignment="center")
    search = left.text_input(
        "Search", key="history-search", placeholder="Search: checkpoints, figures, notes", label_visibility="collapsed"
    )
    starred = middle.toggle("Starred", key="history-starred")
    if (deleted := history.last_deleted()) is not None:
        right.button(
            "Undo delete",
            key="history-undo",
            icon=":material/undo:",
            help=plain(deleted),
            on_click=change,
            args=(history.undo,),
        )
    found = history.listed(search or "", starred=starred)
    if not found:
        st.caption("Nothing that fits." if search or starred else "Views appear here as you look at them.")
    pages = max(1, -(-len(found) // SHOWN))
    page = min(pages, st.session_state.get("history-page", 1))
    for one in found[(page - 1) * SHOWN : page * SHOWN]:
        _row(one)
    if pages > 1:
        st.session_state["history-page"] = page
        st.number_input(f"Page of {pages} ({len(found)} views)", 1, pages, key="history-page", width=240)


def _row(one: Tried) -> None:
    history, story = studio().looked.history, studio().looked.story
    key = hashlib.sha256(one.link.encode()).hexdigest()[:12]
    star, name, figure, *tools = st.columns([1, 9, 3, 1, 1, 1], vertical_alignment="center", gap="small")
    star.button(
        "",
        key=f"history-star-{key}",
        icon=":material/star:" if one.star else ":material/star_outline:",
        type="tertiary",
        help="Take the star off" if one.star else "Give it a star",
        on_click=change,
        args=(history.star, one.link, not one.star),
    )
    view_link(name, one.link, one.name or "Explore")
    if one.note:
        name.caption(plain(one.note))
    when = time.strftime("%d %b %H:%M", time.localtime(one.seen))
    figure.caption(f"{when}  \n{plain(one.figure)}" if one.figure else when)
    tools[0].button(
        "",
        key=f"history-story-{key}",
        icon=":material/playlist_add:",
        type="tertiary",
        help="Add to the story",
        on_click=change,
        args=(lambda link, title: story.add(Step(link, title)), one.link, one.name[:TITLE]),
    )
    with tools[1].popover("", icon=":material/edit_note:", type="tertiary", help="Note"):
        _note(one, key)
    tools[2].button(
        "",
        key=f"history-delete-{key}",
        icon=":material/delete:",
        type="tertiary",
        help="Delete",
        on_click=change,
        args=(history.delete, one.link),
    )


def _note(one: Tried, key: str) -> None:
    with st.form(f"history-note-{key}", border=False):
        note = st.text_area("Note", one.note, max_chars=NOTE)
        if st.form_submit_button("Keep"):
            change(studio().looked.history.annotate, one.link, note)
            st.rerun()
