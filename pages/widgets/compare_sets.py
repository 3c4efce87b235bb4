"""The Diversity part of Compare: how good and how different a set is, and the lines to its last network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.runs import VALUES, snapshots_figure
from fusionlib.charts.sets import likelihood_figure, quality_figure
from fusionlib.errors import FusionError
from fusionlib.studio import Selection
from fusionlib.studio.sets import SetWork
from fusionlib.studio.snapshots import SnapshotWork
from pages.widgets.compare_parts import offered, several_offered
from pages.widgets.diagnostics_tables import csv_button, percent, twin
from pages.widgets.figure_table import figure_table
from pages.widgets.problems import plain, show_problem
from pages.widgets.progress import running
from pages.widgets.remarks import show_notes
from pages.widgets.server import studio
from pages.widgets.style import CHART

FEWEST = 3
ACROSS = {"disagreement": "disagreement", "correlation": "correlation"}
FORMATS = {
    "mIoU (%)": "{:.2f}",
    "loss (nats)": "{:.4f}",
    "ECE (%)": "{:.2f}",
    "disagreement (%)": "{:.2f}",
    "correlation": "{:.4f}",
    "CLL (nats)": "{:.4f}",
    "best alpha": "{:g}",
    "best mIoU (%)": "{:.2f}",
    "gain (points)": "{:+.2f}",
    "loss barrier (nats)": "{:.4f}",
    "mIoU barrier (points)": "{:.2f}",
}
_SCATTER, _LINES = "sets-scatter", "sets-lines"

State = dict[str, Any]


def sets_part(names: Sequence[str], chosen: Selection) -> None:
    """The controls, the one button or the progress, the answer with its chart and table, and the lines to the last."""
    if len(names) < FEWEST:
        st.info("Choose three or more checkpoints: members of a run, snapshots, samples.", icon=":material/info:")
        return
    top = st.columns([4, 2], vertical_alignment="bottom")
    others = [item.name for item in studio().workspace.usable()]
    reference = several_offered(
        top[0],
        "Deep ensemble to count in",
        "reference",
        others,
        [],
        "Independent networks: what the set says together is told in their number. None: the set itself",
    )
    across = offered(
        top[1], "Diversity", "across", ACROSS, "disagreement", "What lies across in the chart", ACROSS.__getitem__
    )
    if len(reference) == 1:
        st.info("A deep ensemble has two networks or more: choose another one, or none.", icon=":material/info:")
        return
    try:
        work = studio().sets.open(names, chosen.source, chosen.split, chosen.buffers, reference)
    except FusionError as error:
        show_problem(error)
        return
    _run(work, across)
    with st.expander("Each on the line to the last", icon=":material/show_chart:"):
        _lines(names, chosen)


def _run(work: SetWork, across: str) -> None:
    if running(work, "sets", lambda: work.current or "Set", draw=lambda: _live(work, across)):
        return
    found = work.snapshot()
    if not work.settled:
        verb = "Go on" if work.known else "Measure"
        label = f"{verb}: {found['cost']:,} forward passes"
        if st.button(label, key="sets-run", icon=":material/play_arrow:", type="primary"):
            work.begin()
            st.rerun()
    if found["reason"]:
        st.error(plain(found["reason"]), icon=":material/error:")
    if not _measured(found):
        st.caption("The networks, their ensembles and the mean of their weights appear here.")
        return
    left, right = st.columns([2, 3], gap="large")
    with left:
        _answer(found)
    with right:
        st.plotly_chart(quality_figure(found, across), key=_SCATTER, config=CHART)
    rows = _rows(found)
    figure_table(rows, "sets-table", FORMATS)
    _details(found, rows)
    show_notes(work.pictures.notes)


def _live(work: SetWork, across: str) -> None:
    found = work.snapshot()
    if _measured(found):
        st.plotly_chart(quality_figure(found, across), key=f"{_SCATTER}-live", config=CHART)


def _measured(found: State) -> bool:
    """Whether the networks have been asked side by side; of each alone somebody else may have known."""
    return found["best"] is not None and found["ensembles"][-1]["miou"] is not None


def _answer(found: State) -> None:
    best, last, soup = found["best"], found["ensembles"][-1], found["soup"]
    st.metric(
        "Together over the best alone",
        _points(last["miou"], best["miou"]),
        help=f"mIoU of the mean of all probabilities, {last['networks']} forward passes a picture",
    )
    if soup["miou"] is None:
        averaged = f"No mean of the weights: {plain(soup['reason'] or 'not measured yet')}"
    else:
        averaged = f"Mean of the weights: **{_points(soup['miou'], best['miou'])}**, one forward pass"
    words = [f"over **{plain(best['name'])}**, {100 * best['miou']:.2f} %", averaged]
    if last["dee"] is not None or last["dee_text"] != "n/a":
        of = "networks of the set" if found["reference"]["itself"] else "networks of the reference"
        words.append(f"Together worth **{plain(last['dee_text'])}** {of}, averaged **{plain(soup['dee_text'])}**")
    st.markdown("  \n".join(words))


def _details(found: State, rows: Sequence[State]) -> None:
    with st.expander("What it is worth", icon=":material/stacked_line_chart:"):
        st.plotly_chart(likelihood_figure(found), key="sets-worth", config=CHART)
        st.caption(
            "Calibrated log-likelihood: at a temperature that other pictures chose, 5 times 2-fold. DEE: so many"
            " networks of the reference together say as much, between sizes on the straight line."
        )
    with st.expander("Pairs", icon=":material/table_rows:"):
        csv_button(rows, "set", "sets-csv")
        twin([_pair(one) for one in found["pairs"]], "pairs", expanded=True)


def _rows(found: State) -> list[State]:
    named = [(one["name"], 1, one) for one in found["members"]]
    named += [("mean of these", 1, found["mean"])]
    named += [(f"first {one['networks']} together", one["networks"], one) for one in found["ensembles"][1:]]
    named += [("mean of the weights", 1, found["soup"])]
    return [
        {
            "network": name,
            "passes": passes,
            "mIoU (%)": percent(row["miou"]),
            "loss (nats)": row["loss"],
            "ECE (%)": percent(row["ece"]),
            "disagreement (%)": percent(row.get("disagreement")),
            "correlation": row.get("correlation"),
            "CLL (nats)": row.get("log_likelihood"),
            "DEE": row.get("dee_text"),
        }
        for name, passes, row in named
    ]


def _pair(one: State) -> State:
    return {
        "pair": " + ".join(one["names"]),
        "disagreement (%)": percent(one["disagreement"]),
        "diversity": one["diversity"],
        "correlation": one["correlation"],
    }


def _lines(names: Sequence[str], chosen: Selection) -> None:
    """Every other network of the set on the line to the last one: curves and barriers."""
    try:
        work = studio().snapshots.open(names, [(chosen.source, chosen.split)], chosen.buffers)
    except FusionError as error:
        show_problem(error)
        return
    if running(work, "lines", lambda: work.current or "Lines"):
        return
    if not work.settled:
        label = f"{'Go on' if work.known else 'Measure'}: {work.cost():,} forward passes"
        if st.button(label, key="lines-run", icon=":material/play_arrow:"):
            work.begin()
            st.rerun()
    found = work.snapshot()
    if not any(line["data"][0]["points"] for line in found["lines"]):
        st.caption(f"mIoU and loss between each network and {plain(found['last'])}: a dip is a barrier.")
        return
    for place, value in zip(st.columns(len(VALUES)), VALUES, strict=True):
        place.plotly_chart(snapshots_figure(found, value), key=f"{_LINES}-{value}", config=CHART)
    figure_table(_line_rows(work, found), "sets-lines-table", FORMATS)
    st.caption("Barriers over the line between the ends; the same pictures choose the best alpha and report it.")


def _line_rows(work: SnapshotWork, found: State) -> list[State]:
    lines = {line["name"]: line["data"][0] for line in found["lines"]}
    rows = []
    for one in found["snapshots"]:
        alone, line = one["data"][0] or {}, lines.get(one["name"], {})
        best, heights = line.get("best") or {}, line.get("barriers") or {}
        rows.append(
            {
                "network": one["name"],
                "mIoU (%)": percent(alone.get("miou")),
                "loss (nats)": alone.get("loss"),
                "best alpha": best.get("alpha"),
                "best mIoU (%)": percent(best.get("miou")),
                "gain (points)": percent(line.get("gain")),
                "loss barrier (nats)": (heights.get("loss") or {}).get("entezari"),
                "mIoU barrier (points)": percent((heights.get("miou") or {}).get("entezari")),
            }
        )
    return rows


def _points(score: float | None, best: float) -> str:
    return "n/a" if score is None else f"{100 * (score - best):+.2f} points"
