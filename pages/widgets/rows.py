"""Lists of checkpoints: what each option says of its file, and the choice that stays while that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.studio import Item
from fusionlib.studio.rows import Row, row_texts
from pages.widgets import link
from pages.widgets.server import studio

WITHOUT = ("guide",)
"""Pages with nothing of checkpoints: they open no pictures for the sake of a score."""


def rows(items: Iterable[Item]) -> tuple[Row, ...]:
    """A line for each checkpoint, with its stored score on the data that is chosen."""
    state, workspace = st.session_state, studio().workspace
    source = next((one for one in workspace.sources if one.name == state.get("data")), None)
    if source is None:
        return studio().rows.of(items, None)
    split = state.get("split") if state.get("split") in source.splits else workspace.first_split(source.name)
    try:
        opens = link.page() not in WITHOUT
        pictures = (workspace.pictures if opens else workspace.opened_pictures)(source.name, split)
    except FusionError:  # the page that needs the pictures says what is wrong with them
        pictures = None
    return studio().rows.of(items, pictures)


def option_texts(key: str, items: Iterable[Item]) -> Callable[[str], str]:
    """The `format_func` of the widget `key`, whose options are names of `items`; called before the widget is drawn."""
    texts = row_texts(rows(items))
    _hold(key, texts)
    return lambda name: texts.get(name, name)


def _hold(key: str, texts: dict[str, str]) -> None:
    """Tell the browser the choice anew where its text has changed: it knows an option by its text alone."""
    value = st.session_state.get(key)
    if value is None:
        return
    chosen = list(value) if isinstance(value, list) else [str(value)]
    said = [texts.get(name, name) for name in chosen]
    before, texts_before = st.session_state.get(f"rows/{key}", (chosen, said))
    st.session_state[f"rows/{key}"] = chosen, said
    if before == chosen and texts_before != said:
        st.session_state[key] = value
