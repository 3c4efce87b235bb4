"""House style: what Streamlit's theme settings cannot say."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_CSS = Path(__file__).parents[2] / "assets" / "style.css"


def apply_style() -> None:
    """Put the style sheet into the page."""
    st.html(f"<style>{_CSS.read_text(encoding='utf-8')}</style>")


def heading(title: str, caption: str) -> None:
    """A page's title with one quiet line that says what it is for."""
    st.markdown(f"## {title}")
    st.caption(caption)
