"""Taking a row of the table away: its merged checkpoint, its recipe, and the command that writes it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusionlib.studio import Comparison
from pages.widgets.problems import problems_shown
from pages.widgets.server import studio


def write_panel(comparison: Comparison, found: dict[str, Any]) -> None:
    """Choose a measured row that is one network; write it here, or elsewhere with the command."""
    rows = [row for row in found["rows"] if row["command"] and row["state"] == "measured"]
    if not rows:
        return
    st.markdown("### Take one of these merges away")
    names = [row["name"] for row in rows]
    if st.session_state.get("compare-write") not in names:
        st.session_state.pop("compare-write", None)
    name = st.selectbox(
        "Row", names, index=names.index(found["best"]) if found["best"] in names else 0, key="compare-write"
    )
    row = next(row for row in rows if row["name"] == name)
    if comparison.choices.dtype:
        st.caption(f"Written as {comparison.choices.dtype}, as it was measured.")
    with problems_shown():
        _write(comparison, row["name"])
    with st.expander("Command", icon=":material/terminal:"):
        st.caption(
            "The files of the row come in this order, the anchor first; SPEC stands for the data, as in the list of"
            " verbs."
        )
        st.code(row["command"], language="bash", wrap_lines=True)


def _write(comparison: Comparison, name: str) -> None:
    recipe = comparison.recipe(name)
    text, stem = recipe.without_folders().to_yaml(), _stem("-".join(filter(None, (name, recipe.dtype))))
    left, middle, right = st.columns(3)
    if left.button(
        "Write merged checkpoint", key="compare-write-file", icon=":material/save:", type="primary", width="stretch"
    ):
        bar = st.progress(0.0, "Merging")
        with problems_shown():  # the recipe can be taken away all the same
            export = studio().export_row(
                comparison, name, lambda done, total: bar.progress(min(1.0, done / max(1, total)), "Merging")
            )
            st.session_state["compare-export"] = (text, export)
        bar.empty()
    middle.download_button(
        "Recipe (YAML)",
        text,
        f"{stem}.yaml",
        "application/yaml",
        key="compare-recipe",
        icon=":material/receipt_long:",
        on_click="ignore",
        width="stretch",
    )
    ready = st.session_state.get("compare-export")
    if ready and ready[0] == text and ready[1].path.exists():
        path = ready[1].path
        right.download_button(
            f"Checkpoint ({path.stat().st_size / 1e6:.1f} MB)",
            path.read_bytes,
            f"{stem}.safetensors",
            "application/octet-stream",
            key="compare-file",
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
        )
        for note in ready[1].notes:
            st.caption(note)


def _stem(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:100]
