"""The learning-rate study: runs from one start, each of their files merged with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from fusionlib.charts.runs import rate_curves_figure, rates_figure
from fusionlib.errors import FusionError
from fusionlib.lab.manifest import RunRecord
from fusionlib.studio import Selection
from fusionlib.studio.rates import MOST_EPOCHS, RatesWork
from pages.widgets.diagnostics_tables import percent
from pages.widgets.problems import plain, show_problem
from pages.widgets.progress import running
from pages.widgets.server import studio
from pages.widgets.style import CHART

State = dict[str, Any]

MOST_RUNS = 8
"""As many as there are colours that one tells apart."""

_STEPS = (0.1, 0.05, 0.25)

_FORMATS = {
    "best mIoU (%)": "%.2f",
    "alpha": "%.2f",
    "gain (points)": "%+.2f",
    "alone (%)": "%.2f",
    "mean of all (%)": "%.2f",
    "cosine": "%.4f",
}


def rates_part(chosen: Selection | None) -> None:
    """Which runs, what it costs, and what the rate decides."""
    families = _families()
    if not families:
        st.info(
            "How far may a fine-tuning go? Train one start at several learning rates under *New run*, then merge it"
            " here with all that they left.",
            icon=":material/info:",
        )
        return
    if chosen is None or not chosen.source:
        st.info("Choose labelled data in the sidebar.", icon=":material/info:")
        return
    left, right, last = st.columns([2, 6, 1.6], vertical_alignment="bottom")
    start = str(left.selectbox("Start", list(families), key="rates-start", help="What all of the runs began at"))
    runs = families[start]
    names = right.multiselect(
        "Runs",
        list(runs),
        list(runs)[:MOST_RUNS],
        key=f"rates-runs/{start}",
        help="Each is merged with the start, file by file, at every alpha; named by its highest rate",
        max_selections=MOST_RUNS,
    )
    step = float(last.selectbox("Alpha step", _STEPS, key="rates-step", help="Distance between merges of a curve"))
    if not names:
        return
    files = [(name, runs[name]) for name in names]
    try:
        work = studio().rates.open(start, files, chosen.source, chosen.split, chosen.buffers, step)
    except FusionError as problem:
        show_problem(problem)
        return
    if running(work, "rates", lambda: work.current or work.stage or "Learning rates", draw=lambda: _charts(work)):
        return
    if not work.settled:
        label = f"{'Go on' if work.known else 'Measure'}: {work.cost():,} forward passes"
        if st.button(label, key="rates-run", icon=":material/play_arrow:", type="primary"):
            work.begin()
            st.rerun()
    _charts(work)
    _table(work.snapshot())


def _families() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """By the start, and by what a run is called, the checkpoints that it left: of the runs whose start is loaded."""
    items = {item.checkpoint.fingerprint: item.name for item in studio().workspace.usable()}  # type: ignore[union-attr]
    records = [(run.name, run.record) for run in studio().training.runs()]
    found: dict[str, dict[str, Sequence[str]]] = {}
    for name, record in sorted(records, key=lambda one: _highest(one[1])):
        if record is None or record.start is None or record.start.sha256 not in items:
            continue
        left = [items[point.sha256] for point in record.points if point.sha256 in items and point.role != "posterior"]
        if left:
            runs = found.setdefault(items[record.start.sha256], {})
            runs[f"{_highest(record):g} ({name})"] = left[:MOST_EPOCHS]
    return found


def _highest(record: RunRecord | None) -> float:
    return 0.0 if record is None else max(record.lr.values, default=0.0)


def _charts(work: RatesWork) -> None:
    found = work.snapshot()
    if not any(epoch["curve"] for run in found["runs"] for epoch in run["epochs"]):
        st.caption("The start merged with each file: mIoU over alpha, the oracle of both, and how far it has turned.")
        return
    best = max((run for run in found["runs"] if run["gain"] is not None), key=lambda run: run["gain"], default=None)
    if best is not None:
        st.markdown(
            f"Best merge: **{100 * best['best']['fused']:.2f} %** with {plain(best['best']['name'])} at alpha"
            f" {best['best']['alpha']:g}, **{100 * best['gain']:+.2f} points** from the start"
        )
    key = f"{work.state}-{len(work.known)}"
    st.plotly_chart(rate_curves_figure(found), key=f"rates-curves-{key}", config=CHART)
    with st.expander("File by file", icon=":material/show_chart:"):
        st.plotly_chart(rates_figure(found), key=f"rates-series-{key}", config=CHART)


def _table(found: State) -> None:
    rows = [_row(run) for run in found["runs"]]
    if all(row["best mIoU (%)"] is None for row in rows):
        return
    st.dataframe(
        pd.DataFrame(rows).dropna(axis=1, how="all"),
        hide_index=True,
        key="rates-table",
        placeholder="",
        column_config={name: st.column_config.NumberColumn(format=form) for name, form in _FORMATS.items()},
    )
    st.caption(
        "Curves: the last file of each run. alpha is the weight of the start; the same pictures choose it and report:"
        " optimistic."
    )


def _row(run: State) -> State:
    best, last = run["best"] or {}, run["epochs"][-1]
    return {
        "run": run["name"],
        "best with": best.get("name"),
        "alpha": best.get("alpha"),
        "best mIoU (%)": percent(best.get("fused")),
        "gain (points)": percent(run["gain"]),
        "alone (%)": percent(last["single"]),
        "mean of all (%)": percent(run["mean"]["miou"]),
        "cosine": last["cosine"],
    }
