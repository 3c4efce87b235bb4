"""What the user must know of data before believing a score: how its files were taken, and what is odd about its
masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import streamlit as st

from pages.widgets.problems import plain


def show_warnings(warnings: Sequence[str]) -> None:
    """All of them in one box above what they put in doubt.

    Without any an empty place stands there: components below it would be mounted anew if their number among the
    elements changed.
    """
    place = st.empty()
    if warnings:
        place.warning("  \n".join(f"{plain(text)}." for text in warnings), icon=":material/warning:")


def show_notes(notes: Iterable[str]) -> None:
    """In small print, nothing where there are none."""
    for text in notes:
        st.caption(f"{plain(text)}.")
