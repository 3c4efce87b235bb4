"""The story on its page: order, words, import and export, and the frames that are made ahead."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.runs.story import FILE_BYTES, NOTE, TITLE, Step, Told, exported
from pages.widgets.opened import view_link
from pages.widgets.problems import plain, show_problem
from pages.widgets.progress import running
from pages.widgets.server import studio

_PROBLEM, _FILE = "story/refused", "story-file"


def story_section() -> None:
    """The steps with what can be done to each, and below them what is done to all."""
    told = studio().looked.story.read()
    if (error := st.session_state.pop(_PROBLEM, None)) is not None:
        show_problem(error)
    if not told.steps:
        st.info(
            "No story yet. *To story* in the sidebar adds the view that is shown; the history below adds earlier ones.",
            icon=":material/slideshow:",
        )
    for place, step in enumerate(told.steps):
        _step(told, place, step)
    _undo(told)
    _prepare(told.steps)
    _files(told)


def change(act: Callable[..., None], *values: object) -> None:
    """As a callback: change the story or the history; what is wrong is said above the story in the run that follows."""
    try:
        act(*values)
    except FusionError as error:
        st.session_state[_PROBLEM] = error


def _step(told: Told, place: int, step: Step) -> None:
    story, version = studio().looked.story, told.version
    with st.container(border=True, key=f"story-step-{place}"):
        name, *tools = st.columns([10, 1, 1, 1, 1], vertical_alignment="center", gap="small")
        view_link(name, step.link, f"{place + 1}. {step.title}")
        for column, label, by in zip(tools, ("up", "down"), (-1, 1), strict=False):
            column.button(
                "",
                key=f"story-{label}-{place}",
                icon=f":material/arrow_{label}ward:",
                help=f"Move step {place + 1} {label}",
                on_click=change,
                args=(story.move, version, place, by),
                disabled=not 0 <= place + by < len(told.steps),
            )
        with tools[2].popover("", icon=":material/edit:", help=f"Title and note of step {place + 1}"):
            _words(told, place, step)
        tools[3].button(
            "",
            key=f"story-remove-{place}",
            icon=":material/delete:",
            help=f"Remove step {place + 1}",
            on_click=change,
            args=(story.remove, version, place),
        )
        if step.note:
            st.caption(plain(step.note))


def _words(told: Told, place: int, step: Step) -> None:
    with st.form(f"story-words-{told.version}-{place}", border=False):
        title = st.text_input("Title", step.title, max_chars=TITLE)
        note = st.text_area("Note", step.note, max_chars=NOTE)
        if st.form_submit_button("Keep"):
            change(studio().looked.story.edit, told.version, place, title, note)
            st.rerun()


def _undo(told: Told) -> None:
    if told.version:
        st.button(
            f"Undo: {plain(told.what)}",
            key="story-undo",
            icon=":material/undo:",
            on_click=change,
            args=(studio().looked.story.undo, told.version),
        )


def _prepare(steps: tuple[Step, ...]) -> None:
    """The button that makes the frames, or how far that is, or how it ended."""
    if not steps:
        return
    work = studio().preparation
    if running(work, "story-prepare", "Preparing the story", unit=lambda: "frames"):
        return
    left, right = st.columns([1, 3], vertical_alignment="center")
    left.button(
        "Prepare",
        key="story-prepare",
        icon=":material/download_for_offline:",
        width="stretch",
        on_click=work.begin,
        args=(steps,),
        help="Makes the masks of every step, and along alpha in steps of 0.05, so that the story plays without waiting",
    )
    right.caption(_prepared(steps))
    for problem in work.problems if work.steps == steps else ():
        st.warning(plain(problem))


def _prepared(steps: tuple[Step, ...]) -> str:
    work = studio().preparation
    if work.steps != steps or work.state not in ("done", "cancelled"):
        return "Prepare makes what is not there yet; afterwards the story plays without a network."
    if work.state == "cancelled":
        return f"Cancelled: {work.made} frames were made and are kept."
    there = work.total - work.missing
    short = f" {work.missing} found no room: start with a larger --home-mb." if work.missing else ""
    return f"{there} of {work.total} frames are prepared, {work.made} of them made now.{short}"


def _files(told: Told) -> None:
    with st.expander("Import and export", icon=":material/swap_horiz:"):
        st.download_button(
            "Export",
            exported(told.steps),
            "story.json",
            "application/json",
            key="story-export",
            icon=":material/download:",
            disabled=not told.steps,
        )
        given = st.file_uploader("A story in place of this one", ["json"], key=_FILE, max_upload_size=FILE_BYTES >> 20)
        if given is not None:
            st.button(
                "Import",
                key="story-import",
                icon=":material/upload:",
                on_click=change,
                args=(studio().looked.story.take, told.version, given.getvalue()),
            )
