"""Headings and where the guide is; the style sheet of all pages is assets/style.css, see first_paint.py."""

from __future__ import annotations

import streamlit as st

CHART = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
    "toImageButtonOptions": {"format": "svg"},
}
"""Charts have their tools while the pointer is over them; the camera saves what is seen as SVG."""


def chapter_address(name: str, anchor: str = "") -> str:
    """Where a chapter of the guide is, seen from any page: relative, as a proxy may put a path in front."""
    return f"guide?chapter={name}{anchor}"


def heading(title: str, caption: str, chapter: str = "") -> None:
    """A page's title with one quiet line that says what it is for, and a link to what the guide says of it.

    `chapter` is the name of a chapter, or one with a section: `merging#buffers`. It opens beside the page, which stays
    as it is.
    """
    st.markdown(f"# {title}")
    name, _, section = chapter.partition("#")
    link = f" [:material/help: Guide]({chapter_address(name, section and f'#{section}')})" if chapter else ""
    st.caption(f"{caption}{link}")
