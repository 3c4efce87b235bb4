"""House style: what Streamlit's theme settings cannot say."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_CSS = Path(__file__).parents[2] / "assets" / "style.css"


def apply_style() -> None:
    """Put the style sheet into the page."""
    st.html(f"<style>{_CSS.read_text(encoding='utf-8')}</style>")


def chapter_address(name: str, anchor: str = "") -> str:
    """Where a chapter of the guide is, seen from any page: relative, as a proxy may put a path in front."""
    return f"guide?chapter={name}{anchor}"


def heading(title: str, caption: str, chapter: str = "") -> None:
    """A page's title with one quiet line that says what it is for, and a link to what the guide says of it.

    `chapter` is the name of a chapter, or one with a section: `merging#buffers`. It opens beside the page, which stays
    as it is.
    """
    st.markdown(f"## {title}")
    name, _, section = chapter.partition("#")
    link = f" [:material/help: Guide]({chapter_address(name, section and f'#{section}')})" if chapter else ""
    st.caption(f"{caption}{link}")
