"""Errors on a page: what was found, what is needed, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from fusionlib.errors import FusionError


def show_problem(error: FusionError) -> None:
    """Three short lines, and the way to the Workspace page, which opens changed files anew; the page goes on."""
    st.error(f"**{plain(error.got)}**  \nNeeds: {plain(error.needs)}.  \n{plain(error.do)}.", icon=":material/error:")
    if error.changed:
        st.page_link("workspace.py", label="Look at the folders again", icon=":material/folder_open:", query_params={})


@contextmanager
def problems_shown() -> Iterator[None]:
    """Show a `FusionError` raised inside instead of ending the page."""
    try:
        yield
    except FusionError as error:
        show_problem(error)


def plain(text: str) -> str:
    """`text` with nothing in it acting as Markdown."""
    # File names come from outside: none of their characters may act as Markdown.
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-.!|~$:" else c for c in text)
