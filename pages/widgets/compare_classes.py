"""Class by class: what a network changes over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fusionlib.studio import Comparison
from fusionlib.studio.comparison_classes import best_merge, best_single, class_rows
from pages.widgets.diagnostics_tables import csv_button, percent

ROW = "compare-classes"


def show_classes(comparison: Comparison, found: Mapping[str, Any]) -> None:
    """A row that is chosen beside the best single network, behind an expander; at first the best."""
    alone = best_single(comparison)
    rows = [row["name"] for row in found["rows"] if row["state"] == "measured" and row["group"] != "single"]
    if alone is None or not rows:
        return
    with st.expander("Class by class", icon=":material/category:"):
        if st.session_state.get(ROW) not in rows:
            st.session_state.pop(ROW, None)
        best = best_merge(found["rows"])
        name = str(st.selectbox("Network", rows, index=rows.index(best) if best in rows else 0, key=ROW))
        table = class_table(class_rows(comparison, name), "row", alone.name, name)
        st.caption("95 %: a paired bootstrap over groups of pictures; a star marks what is beyond chance.")
        csv_button(table, "classes", f"{ROW}-csv")


def class_table(classes: Sequence[Mapping[str, Any]], key: str, before: str, after: str) -> list[dict[str, Any]]:
    """Draw IoU of each class `before` ("single") and after (its `key`), the largest gain first; the rows drawn."""
    ordered = sorted(classes, key=lambda row: -(row["change"] or 0.0))
    columns = f"{before} (%)", f"{after} (%)", "change (points)"
    rows = [
        {
            "class": row["class"],
            columns[0]: percent(row["single"]),
            columns[1]: percent(row[key]),
            columns[2]: percent(row["change"]),
            **({"95 % (points)": _interval(row["interval"])} if "interval" in row else {}),
        }
        for row in ordered
    ]
    st.dataframe(
        rows,
        hide_index=True,
        key=f"classes-{key}-table",
        placeholder="n/a",
        column_config={name: st.column_config.NumberColumn(name, format="%.2f") for name in columns},
    )
    return rows


def _interval(interval: Sequence[float] | None) -> str | None:
    if interval is None:
        return None
    low, high = (100 * end for end in interval)
    return f"{low:+.2f} to {high:+.2f}{'' if low <= 0 <= high else ' *'}"
