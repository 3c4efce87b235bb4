"""What the user must know of data before believing a score: how its files were taken, and what is odd about its masks."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from pages.widgets.problems import plain


def show_remarks(notes: Iterable[str], warnings: Iterable[str] = ()) -> None:
    """Warnings as boxes, notes in small print below them; nothing where there are none."""
    for text in warnings:
        st.warning(f"{plain(text)}.", icon=":material/warning:")
    for text in notes:
        st.caption(f"{plain(text)}.")
