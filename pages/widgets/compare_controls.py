"""What is compared, and the background run: choice, progress, cancel, resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from fusionlib.studio import GROUPS, SUBSETS_OF, Choices, Comparison, Selection
from pages.widgets.diagnostics_controls import keep, kept
from pages.widgets.dtype_choice import chosen_dtype, dtype_choice
from pages.widgets.link import only_of
from pages.widgets.progress import running
from pages.widgets.rows import option_texts
from pages.widgets.server import studio

SET, ANCHOR, BASE, ROWS = "compare", "anchor", "base", "rows"
"""Names in the session state and in the URL: a page that is loaded again shows the run that goes on."""

LABELS = {
    "methods": "methods",
    "buffers": "buffers",
    "incremental": "one by one",
    "subsets": "subsets",
    "searches": "searches",
    "temperature": "temperature",
    "views": "several scales",
}
NO_BASE = "none"


def choose_set(chosen: Selection) -> list[str]:
    """The checkpoints of the page, whichever part of it is shown: at first A and B."""
    items = studio().workspace.usable()
    names = [item.name for item in items]
    _restore(SET, names)
    default = None if SET in st.session_state else list(dict.fromkeys((chosen.a, chosen.b)))
    picked = st.multiselect(
        "Checkpoints",
        names,
        default=default,
        key=SET,
        format_func=option_texts(SET, items),
        on_change=keep,
        args=(SET,),
        help="All of them are merged by every method; every one is also measured alone",
    )
    return [name for name in names if name in picked]


def choose_rows(members: list[str], chosen: Selection) -> Choices:
    """The anchor and base of the table, and which rows to measure."""
    columns = st.columns([2, 2, 2, 6], vertical_alignment="bottom")
    anchor = _one_of(
        columns[0],
        "Anchor",
        _as_picked(members),
        ANCHOR,
        "Leads the methods with an anchor, and keeps what is not shared",
    )
    base = _one_of(
        columns[1],
        "Base",
        [NO_BASE, *members],
        BASE,
        "The checkpoint that all others were trained from: task arithmetic, TIES and DARE start from it",
    )
    dtype_choice(columns[2], members)
    _restore(ROWS, list(LABELS))
    rows = columns[3].pills(
        "Rows",
        list(LABELS),
        default=None if ROWS in st.session_state else ["methods", "searches", "temperature"],
        selection_mode="multi",
        key=ROWS,
        on_change=keep,
        args=(ROWS,),
        format_func=LABELS.__getitem__,
        wrap=True,
        help="; ".join(f"{LABELS[name]}: {what}" for name, what in GROUPS.items()),
    )
    groups = tuple(name for name in GROUPS if name in rows)
    if "subsets" in groups and len(members) > SUBSETS_OF:
        st.warning(
            f"All subsets are measured for up to {SUBSETS_OF} checkpoints; these rows are left out.",
            icon=":material/info:",
        )
        groups = tuple(name for name in groups if name != "subsets")
    number = members.index(anchor) if anchor in members else 0
    return Choices(
        number, chosen.buffers, groups, base=members.index(base) if base in members else None, dtype=chosen_dtype()
    )


def _as_picked(members: list[str]) -> list[str]:
    """The set in the order in which it was picked: the first leads."""
    return [name for name in st.session_state.get(SET, members) if name in members]


def _one_of(column: Any, label: str, options: list[str], key: str, help: str) -> str | None:
    """One of the options, at first the first."""
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
    elif kept(key, None) is None:
        st.session_state[key] = options[0]  # nobody chose it, so it follows the set
    _restore(key, options)
    return column.selectbox(label, options, key=key, on_change=keep, args=(key,), help=help)


def _restore(key: str, options: list[str]) -> None:
    """The choice of the last visit, as far as it is there; of a link what is not here is left out."""
    only_of(key, options)
    before = kept(key, None)
    if before is None or key in st.session_state:
        return
    if isinstance(before, list):
        st.session_state[key] = [one for one in before if one in options]
    elif before in options:
        st.session_state[key] = before


def run_panel(comparison: Comparison, chosen: Selection, draw: Callable[[dict[str, Any]], None]) -> bool:
    """The one button, or the progress with the table that fills; whether it is running."""
    if running(
        comparison, "compare", lambda: comparison.current or "Comparison", draw=lambda: draw(comparison.snapshot())
    ):
        return True
    found = comparison.snapshot()
    waiting = sum(row["state"] == "waiting" for row in found["rows"]) + found["waiting"]
    measured = sum(row["state"] == "measured" for row in found["rows"])
    if not waiting:
        failed = sum(row["state"] == "failed" for row in found["rows"])
        st.caption(
            f"{measured} rows measured"
            + (f", {failed} failed: see their notes." if failed else "; nothing is left to measure.")
        )
        return False
    where = f"{chosen.source}{f', {chosen.split}' if chosen.split else ''}"
    verb = "Resume: measure" if comparison.cut_short else "Measure"
    label = f"{verb} {waiting} rows on {found['images']} pictures ({where})"
    if st.button(label, key="compare-run", icon=":material/play_arrow:", type="primary"):
        comparison.want()
        st.rerun()
    if not measured:
        st.caption(
            "Every row is kept as soon as it is measured, so a run can be cancelled and resumed, also after a restart."
        )
    return False
