"""State that is in the URL without being a widget's: a link restores it, and it survives a look at another page."""

from __future__ import annotations

import math
from collections.abc import Callable

import streamlit as st


def restored(name: str, default: float, fit: Callable[[float], float]) -> float:
    """The state of this session, else of the URL, else the default; whatever a URL says is made to fit.

    Not a widget's own state: that is lost when the user looks at another page.
    """
    if name not in st.session_state:
        try:
            value = float(st.query_params.get(name, default))
        except ValueError:
            value = default
        st.session_state[name] = value if math.isfinite(value) else default
    st.session_state[name] = fit(st.session_state[name])
    return st.session_state[name]


def write(name: str, value: float) -> None:
    """Put it into the URL; nothing happens where it is there already."""
    text = f"{value:g}"
    if st.query_params.get(name) != text:
        st.query_params[name] = text
