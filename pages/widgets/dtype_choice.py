"""What merges are written as: one choice for all pages that write some, in the URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.checkpoints.choices import SAME, WRITTEN
from pages.widgets.diagnostics_controls import keep, kept
from pages.widgets.link import only_of
from pages.widgets.server import studio

DTYPE = "dtype"
"""Name in the session state and in the URL."""


def chosen_dtype() -> str | None:
    """What the widget, a link or an earlier visit says; None: each tensor's own. Asked before the widget is drawn."""
    asked = st.session_state.get(DTYPE, kept(DTYPE, SAME))
    return asked if asked in WRITTEN and asked != SAME else None


def dtype_choice(place: Any, names: Sequence[str]) -> None:
    """The widget, for merges of these checkpoints of the workspace."""
    only_of(DTYPE, WRITTEN)
    if DTYPE not in st.session_state:
        st.session_state[DTYPE] = kept(DTYPE, SAME)
    own = {
        str(info.dtype).removeprefix("torch.")
        for name in names
        if (checkpoint := studio().workspace.get(name).checkpoint)
        for info in checkpoint.tensors.values()
        if info.dtype.is_floating_point
    }
    place.selectbox(
        "Written as",
        list(WRITTEN),
        key=DTYPE,
        on_change=keep,
        args=(DTYPE,),
        format_func=lambda name: f"as in the files ({', '.join(sorted(own))})" if name == SAME else name,
        help=(
            "Floating tensors of a merge are rounded to this type and written in it. What is shown and measured is"
            " rounded too: it is what the file will hold"
        ),
    )
