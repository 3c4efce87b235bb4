"""State that is in the address without being a widget's: a link restores it, and it survives a look at another page."""

from __future__ import annotations

import math
from collections.abc import Callable

import streamlit as st


def restored(name: str, default: float, fit: Callable[[float], float]) -> float:
    """The state of this session, else the default; whatever an address has made of it is made to fit.

    Not a widget's own state: that is lost when the user looks at another page.
    """
    try:
        value = float(st.session_state.get(name, default))
    except (TypeError, ValueError):
        value = default
    st.session_state[name] = value if math.isfinite(value) else default
    st.session_state[name] = fit(st.session_state[name])
    return st.session_state[name]
