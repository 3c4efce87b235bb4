"""The data section of the Workspace page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusionlib.data.spec import usages
from fusionlib.errors import FusionError
from fusionlib.studio import Source, Workspace
from pages.widgets.problems import plain, show_problem
from pages.widgets.remarks import show_notes, show_warnings


def data_section(workspace: Workspace) -> None:
    """Datasets, their splits, and a full check of masks on request."""
    st.markdown("### Data")
    if not workspace.sources:
        upload = ", or upload pictures above" if workspace.options.uploads else ""
        st.info(
            f"No data is loaded. Start the app with --data {plain(', '.join(usages()))}{upload}.",
            icon=":material/info:",
        )
        return
    st.dataframe([_row(source) for source in workspace.sources], hide_index=True, key="data-table")
    for source in workspace.sources:
        if source.problem is not None:
            show_problem(source.problem)
    usable = [source for source in workspace.sources if source.problem is None and source.origin == "folder"]
    if not usable:
        return
    _notes(workspace, usable)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    name = left.selectbox("Check every picture and mask of", [source.name for source in usable], key="check-data")
    if right.button("Check", key="check-run", icon=":material/fact_check:", width="stretch"):
        _check(workspace, next(source for source in usable if source.name == name))


def _notes(workspace: Workspace, sources: list[Source]) -> None:
    """How the files of each dataset were taken, of the split that pages begin with; opening it shows what is wrong with
    it too.
    """
    for source in sources:
        split = workspace.first_split(source.name)
        try:
            with st.spinner(f"Opening {source.name}"):
                notes = workspace.pictures(source.name, split).notes
            show_notes(f"{source.name}{f', {split}' if split else ''}: {note}" for note in notes)
        except FusionError as error:
            show_problem(error)


def _check(workspace: Workspace, source: Source) -> None:
    for split in source.splits or (None,):
        bar = st.progress(0.0, f"Checking {split or source.name}")
        try:
            found = workspace.check_data(
                source.name, split, lambda done, total, bar=bar: bar.progress(done / max(1, total))
            )
            bar.empty()
            st.success(
                f"{split or source.name}: {found.pictures} pictures are readable and their masks are valid.",
                icon=":material/check_circle:",
            )
            show_warnings(found.warnings)
            show_notes(found.notes)
        except FusionError as error:
            bar.empty()
            show_problem(error)


def _row(source: Source) -> dict[str, Any]:
    state = source.problem.got if source.problem else "ready"
    return {
        "name": source.name,
        "from": source.origin,
        "splits": ", ".join(source.splits) or "all pictures",
        "state": state,
    }
