"""Taking a row of the table away: its merged checkpoint, its recipe, and the command that writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from fusionlib.contracts import Progress
from fusionlib.recipe import Recipe
from fusionlib.studio import Comparison, Export
from fusionlib.studio.hub_export import hub_obstacle
from pages.widgets.problems import problems_shown
from pages.widgets.server import studio
from pages.widgets.taken import download, folder_button


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
    stem = _stem("-".join(filter(None, (name, recipe.dtype))))
    why = hub_obstacle(recipe, comparison.members(name))
    take_away("compare", recipe, stem, lambda told, hub: studio().exports.row(comparison, name, told, hub), why)


def take_away(
    key: str, recipe: Recipe, stem: str, write: Callable[[Progress, bool], Export] | None, why: str = ""
) -> None:
    """Buttons: `write` the merged checkpoint (None: there is none to write), as a folder of Hugging Face where nothing
    says `why` not, download its recipe, and then itself.
    """
    text = recipe.without_folders().to_yaml()
    left, middle, right = st.columns(3)
    if write is not None:
        pressed = left.button(
            "Write merged checkpoint", key=f"{key}-write-file", icon=":material/save:", type="primary", width="stretch"
        )
        as_folder = folder_button(left, f"{key}-hub", why)
        if pressed or as_folder:
            bar = st.progress(0.0, "Merging")
            with problems_shown():  # the recipe can be taken away all the same
                export = write(lambda done, total: bar.progress(min(1.0, done / max(1, total)), "Merging"), as_folder)
                st.session_state[f"{key}-export"] = (text, export)
            bar.empty()
    middle.download_button(
        "Recipe (YAML)",
        text,
        f"{stem}.yaml",
        "application/yaml",
        key=f"{key}-recipe",
        icon=":material/receipt_long:",
        on_click="ignore",
        width="stretch",
    )
    ready = st.session_state.get(f"{key}-export")
    if ready and ready[0] == text and ready[1].path.exists():
        download(right, ready[1].path, stem, f"{key}-file")
        for note in ready[1].notes:
            st.caption(note)


def _stem(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:100]
