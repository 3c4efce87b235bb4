"""Below the live column: the contributions as a table, and the profile to take away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from fusionlib.charts.layers import contribution_figure
from fusionlib.errors import UsageError
from fusionlib.studio import LETTERS, LayerProfile, MergeView, Selection, profile_of
from pages.widgets import link
from pages.widgets.diagnostics_tables import as_csv
from pages.widgets.layers_viewer import layers_viewer
from pages.widgets.live import PICTURE, granted, take_index, viewer_data, with_errors
from pages.widgets.problems import plain
from pages.widgets.rows import option_texts
from pages.widgets.server import studio
from pages.widgets.style import CHART

PROFILE, FURTHER, IN_URL = "layer-profile", "more", "profile"
LINK_LENGTH = 3000
"""Characters of a profile that a link may carry: blocks of most networks, but not all their tensors."""


def further_checkpoints(chosen: Selection) -> Selection:
    """The selection of the sidebar and what the user adds to it here; C is the first that was added."""
    items = [item for item in studio().workspace.usable() if item.name not in (chosen.a, chosen.b)]
    names = [item.name for item in items]
    kept = [name for name in st.session_state.get(FURTHER, ()) if name in names]
    if st.session_state.get(FURTHER) is not None and kept != st.session_state[FURTHER]:
        st.session_state[FURTHER] = kept  # one of them has become A or B, or is gone
    more = st.multiselect(
        "Further checkpoints",
        names,
        key=FURTHER,
        format_func=option_texts(FURTHER, items),
        max_selections=len(LETTERS) - 2,
        placeholder="Further checkpoints C, D, ...: none, so A and B are mixed",
        label_visibility="collapsed",
    )
    return replace(chosen, more=tuple(more))


def live_layers(view: MergeView, errors: Mapping[str, Any] | None = None) -> LayerProfile:
    """Mount the live column; the profile that is set, equal weights before the browser has answered."""
    _, picture = granted(view)
    given = st.session_state.get(PROFILE) or link.asked(IN_URL)
    shown = with_errors(viewer_data(view, 0.5, picture - 1), errors)
    text, index = layers_viewer(shown, given, "layers", _take_profile, take_index)
    st.session_state[PROFILE], st.session_state[PICTURE] = text, index + 1
    profile = _profile(view, text)
    _write_link(profile)
    return profile


def _take_profile(text: Any) -> None:
    st.session_state[PROFILE] = text


def _write_link(profile: LayerProfile) -> None:
    """Put a drawn profile into the URL, unless it is too long for one; equal weights are what a page begins with."""
    rows = [list(row) for row in profile.weights.values()]
    text = json.dumps({"level": profile.granularity, "anchor": profile.anchor, "weights": rows}, separators=(",", ":"))
    link.put(IN_URL, None if len(set(map(tuple, rows))) == 1 or len(text) > LINK_LENGTH else text)


def _profile(view: MergeView, text: str | None) -> LayerProfile:
    """What the browser says, or equal weights where it says nothing that fits these checkpoints."""
    count = len(view.arena)
    try:
        wish = json.loads(text or "{}")
        return profile_of(view.arena.layout, wish.get("level", ""), wish.get("weights"), wish.get("anchor", 0), count)
    except (ValueError, AttributeError, UsageError):
        units = view.units["levels"]["block"]["names"]
        return profile_of(view.arena.layout, "block", [[1 / count] * count] * len(units), 0, count)


def contribution_section(view: MergeView, profile: LayerProfile) -> None:
    """What each unit contributes, as a chart and as the table behind it; `profile` is the one that is drawn now."""
    st.markdown("### What each layer contributes")
    if view.obstacle or not view.need_pictures().labelled:
        st.caption(plain(view.obstacle or "These pictures have no masks, so there is nothing to measure against."))
        return
    job = studio().layers.contribution(view)
    of = "miou"
    if job.profile is not None:
        names = ["mIoU", *view.space.names]
        chosen = st.selectbox("Figure", names, key="contribution-figure")
        of = "miou" if chosen == "mIoU" else str(view.space.names.index(chosen))
    found = job.snapshot(of)
    rows = contribution_rows(found, view.selection.names)
    if not any(row["alone"] is not None or row["left out"] is not None for row in rows):
        st.caption(
            "Press *What each contributes* above: every unit is measured alone on the anchor, and the merge without it."
            " Bars appear beside the units as they come, and here when all are done."
        )
        return
    if job.profile != profile:
        st.caption(":material/history: Measured for an earlier profile than the one drawn above.")
    st.plotly_chart(contribution_figure(rows), key="contribution-chart", config=CHART)
    with st.expander("Table"):
        st.dataframe(rows, hide_index=True, key="contribution-table", placeholder="n/a")
    st.download_button(
        "Contributions (CSV)",
        as_csv(rows),
        "contributions.csv",
        "text/csv",
        key="contribution-csv",
        icon=":material/download:",
        on_click="ignore",
    )


def contribution_rows(found: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """One row a unit: the weight of each checkpoint `names`, and changes in percentage points."""

    def change(value: float | None, start: float | None) -> float | None:
        return None if value is None or start is None else round(100 * (value - start), 4)

    def shares(row: Sequence[float]) -> dict[str, float]:
        return {f"{letter.upper()} {name}": share for letter, name, share in zip(LETTERS, names, row, strict=False)}

    return [
        {
            found["level"]: name,
            **shares(row),
            "alone": change(alone, found["base"]),
            "left out": change(rest, found["whole"]),
        }
        for name, row, alone, rest in zip(
            found["names"], found["weights"], found["only"], found["without"], strict=True
        )
    ]
