"""The table of a comparison and its chart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import streamlit as st

from fusionlib.charts.comparison import gain_figure
from pages.widgets.compare_barriers import show_barriers
from pages.widgets.compare_open import CLICKED, open_clicked
from pages.widgets.diagnostics_tables import csv_button, name_width, percent
from pages.widgets.problems import plain

OPENED = {"Explore": "Open in Explore", "Errors": "Which pictures"}
"""Columns of buttons, and what these say."""

HIGH = ("mIoU (%)", "gain (points)", "pixel accuracy (%)", "precision (%)", "recall (%)", "KL (nats)")
LOW = ("loss (nats)", "ECE (%)")
FORMATS = {
    "mIoU (%)": "{:.2f}",
    "gain (points)": "{:+.2f}",
    "where chosen (%)": "{:.2f}",
    "pixel accuracy (%)": "{:.2f}",
    "loss (nats)": "{:.4f}",
    "ECE (%)": "{:.2f}",
    "KL (nats)": "{:.4f}",
    "precision (%)": "{:.2f}",
    "recall (%)": "{:.2f}",
    "forwards": "{:.0f}",
    "merge (s)": "{:.2f}",
    "evaluation (s)": "{:.2f}",
    "latency (ms)": "{:.1f}",
    "memory (MB)": "{:.1f}",
}
MAYBE = ("95 % of the gain", "where chosen (%)", "latency (ms)", "memory (MB)")
"""Columns that are there where a row has something to say in them."""
COST = ("latency (ms)", "memory (MB)")
HELPS = {
    "latency (ms)": "One forward pass of the first picture: the median of 5, after one to warm up",
    "memory (MB)": "Weights in float32 and the most that one forward pass allocates on top; on a CPU what tensors take",
}
CHANCE = (
    "A paired bootstrap over groups of pictures; the best single network is chosen again in each draw. A star: beyond"
    " chance. Rows that were chosen by these pictures flatter themselves"
)
CHOSEN = "mIoU on the pictures that a search chose it by: see the remark"
KINDS = ("single", "temperature", "views")
"""Groups of rows that are one network alone."""
ALONE = "background-color: rgba(125, 140, 160, 0.16)"
MARK = "font-weight: 700; background-color: rgba(26, 147, 111, 0.22)"


def show_table(ranking: Sequence[dict[str, Any]], opened: Sequence[dict[str, Any] | None] = (), cost: str = "") -> None:
    """The rows in their order; single networks are tinted, the best of each column is marked.

    `opened` is for each the state of a page with its merge, which a button goes to: Explore, and Errors. `cost` says
    on what latency and memory were measured.
    """
    rows = [_shown(row) for row in ranking]
    if len({tuple(sorted(row["members"])) for row in ranking if row["verdict"]}) < 2:
        for row in rows:  # one pair alone: its verdict stands above the table
            del row["verdict"]
    empty = [name for name in MAYBE if all(row[name] is None for row in rows)]
    for row, name in product(rows, empty):
        del row[name]
    frame = pd.DataFrame(rows)
    if opened:
        for place, (name, words) in enumerate(OPENED.items(), 1):
            frame.insert(place, name, [None if state is None else words for state in opened])
    for name in (*HIGH, *LOW, *COST, "where chosen (%)", "forwards", "merge (s)", "evaluation (s)"):
        if name in frame:
            frame[name] = pd.to_numeric(frame[name])
    known = {name for row in rows for name, value in row.items() if value is not None}
    styled: Any = frame.style
    styled = styled.apply(lambda row: [ALONE if row["kind"] in KINDS else ""] * len(row), axis=1)
    formats = {name: form for name, form in FORMATS.items() if name in frame}
    styled = styled.format(formats, na_rep="").highlight_max(
        subset=[name for name in HIGH if name in known], props=MARK
    )
    styled = styled.highlight_min(subset=[name for name in LOW if name in known], props=MARK)
    st.dataframe(
        styled,
        hide_index=True,
        key="compare-table",
        height=min(38 + 35 * len(rows), 760),
        placeholder="",
        column_config={
            "row": st.column_config.TextColumn(pinned=True, width=name_width(row["row"] for row in rows)),
            "remark": st.column_config.TextColumn(width="large"),
            "95 % of the gain": st.column_config.TextColumn(help=CHANCE),
            "where chosen (%)": st.column_config.NumberColumn(help=CHOSEN),
            **{name: st.column_config.NumberColumn(help=f"{HELPS[name]}. {cost}") for name in COST if name in frame},
            **{
                name: st.column_config.ButtonColumn(
                    "", type="tertiary", key=CLICKED[page], on_click=partial(open_clicked, opened, page)
                )
                for name, page in (("Explore", ""), ("Errors", "errors"))
            },
        },
    )


def show_left_out(rows: Sequence[dict[str, Any]]) -> None:
    """What does not apply or failed, with the reasons."""
    show_remarks("Left out", [(row["name"], _remark(row)) for row in rows])


def show_remarks(title: str, told: Sequence[tuple[str, str]]) -> None:
    """Names of rows with what is said of them, those of whom nothing is said left out."""
    if remarks := [f"- **{plain(name)}**: {plain(text)}" for name, text in told if text]:
        with st.expander(f"{title} ({len(remarks)})", icon=":material/notes:"):
            st.markdown("\n".join(remarks))


def show_result(found: dict[str, Any], ranking: Sequence[dict[str, Any]]) -> None:
    """Remarks in full, CSV and chart below the table."""
    rows = found["rows"]
    show_remarks("Remarks in full", [(row["name"], _remark(row)) for row in rows if row["state"] == "measured"])
    csv_button([_shown(row) for row in rows], "comparison", "compare-csv")
    if any(row["gain"] is not None and row["group"] != "single" for row in rows):
        st.markdown("### Gain over the best single network")
        st.plotly_chart(gain_figure(ranking, f"{found['images']} pictures"), key="compare-gain", theme="streamlit")
        st.caption(
            "How to read: green beats the best single network with one forward pass, red falls short, grey are single"
            " networks; amber costs several passes a picture. Differences of a few tenths of a point on few"
            " pictures are not a ranking."
        )
    show_barriers(rows)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    hidden = {"anchor", "base"} if row["method"] != "ensemble" else set()
    parameters = ", ".join(
        f"{name} {_short(value)}" for name, value in row["parameters"].items() if name not in hidden and value != []
    )
    anchored = "anchor" in row["parameters"] or row["buffers"] == "anchor"
    return {
        "row": row["name"],
        "kind": row["group"] if row["group"] in KINDS else "ensemble" if row["forwards"] > 1 else "merge",
        "mIoU (%)": percent(row["miou"]),
        "gain (points)": row["gain"],
        "95 % of the gain": _chance(row),
        "where chosen (%)": percent((row["select"] or {}).get("miou")),
        "pixel accuracy (%)": percent(row["pixel_accuracy"]),
        "loss (nats)": row["loss"],
        "ECE (%)": percent(row["ece"]),
        "forwards": None if row["state"] == "not applicable" else row["forwards"],
        "latency (ms)": row["latency_ms"],
        "memory (MB)": row["memory_mb"],
        "remark": _remark(row),
        "verdict": row["verdict"] and row["verdict"]["level"],
        "precision (%)": percent(row["precision"]),
        "recall (%)": percent(row["recall"]),
        "KL (nats)": row["kl"],
        "merge (s)": row["merge_seconds"],
        "evaluation (s)": row["evaluation_seconds"],
        "statistics": row["buffers"],
        "anchor": row["anchor"] if anchored else "",
        "parameters": parameters,
        "members": ", ".join(row["members"]),
    }


def _chance(row: dict[str, Any]) -> str | None:
    if row["interval"] is None:
        return None
    low, high = row["interval"]
    return f"{low:+.2f} to {high:+.2f}{'' if row['inside_noise'] else ' *'}"


def _remark(row: dict[str, Any]) -> str:
    """A measured row speaks by its figures; any other says first what has become of it."""
    return row["note"] if row["state"] == "measured" else ": ".join(filter(None, (row["state"], row["note"])))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"for {len(value)} units"
    return "[" + ", ".join(f"{item:g}" for item in value) + "]" if isinstance(value, list) else str(value)
