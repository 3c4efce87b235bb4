"""The family tree: who was trained or merged from whom, and how good each is."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusionlib.charts.family import family_figure
from fusionlib.studio import Selection
from fusionlib.studio.family import Relative, family
from pages.widgets.compare_open import ASKED
from pages.widgets.server import studio
from pages.widgets.style import CHART

_CHART = "lab-family"


def family_part(chosen: Selection | None) -> None:
    """The tree of the whole workspace; a click opens a child with its parent."""
    workspace = studio().workspace
    items = workspace.usable()
    records = {run.name: run.record for run in studio().training.runs()}
    tree = family(items, {name: record for name, record in records.items() if record is not None})
    if not tree:
        st.info("No checkpoint is loaded: see the Workspace page.", icon=":material/info:")
        return
    scores = _scores(chosen, tree)
    st.plotly_chart(
        family_figure(tree, scores),
        key=_CHART,
        on_select=lambda: _clicked(tree),
        selection_mode="points",
        config=CHART,
    )
    on = "" if chosen is None or not chosen.source else f" on {', '.join(filter(None, (chosen.source, chosen.split)))}"
    st.caption(
        f"Circles are trained, diamonds merged, hollow ones are not loaded. Darker: more mIoU{on}, grey: not measured."
        " Click a checkpoint to open it with its parent in Explore."
    )


def _scores(chosen: Selection | None, tree: list[Relative]) -> dict[str, float | None]:
    if chosen is None or not chosen.source:
        return {}
    pictures = studio().workspace.opened_pictures(chosen.source, chosen.split)
    rows = {row.name: row.miou for row in studio().rows.of(studio().workspace.usable(), pictures)}
    return {one.key: rows.get(one.name) for one in tree}


def _clicked(tree: list[Relative]) -> None:
    points = st.session_state[_CHART].selection.points
    about = next((point["customdata"] for point in points if point.get("customdata")), None)
    if about is None:
        return
    child = tree[int(about[0])]
    named = {one.key: one.name for one in tree}
    parents = [named[key] for key in child.parents if named.get(key)]
    pair: list[str] = [child.name, *parents] if child.name else parents
    if len(pair) > 1:
        state: dict[str, Any] = {"a": pair[0], "b": pair[1], "more": pair[2:8] if child.merged else []}
        st.session_state[ASKED] = "", state | {"mix": "alpha", "alpha": 0.5}
