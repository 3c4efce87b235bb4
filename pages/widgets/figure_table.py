"""A table of figures with the digits of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st


def figure_table(rows: Sequence[Mapping[str, Any]], key: str, formats: Mapping[str, str], missing: str = "") -> None:
    """Rows in the `formats` of their columns; columns that say nothing are left out."""
    frame = pd.DataFrame(rows).dropna(axis=1, how="all")
    forms = {name: form for name, form in formats.items() if name in frame}
    for name in forms:
        frame[name] = pd.to_numeric(frame[name])
    styled: Any = frame.style
    st.dataframe(styled.format(forms, na_rep=missing), hide_index=True, key=key, placeholder="")
