"""The training runs: how far they are, what they have left, and how good that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from fusionlib.charts.training import run_figure
from fusionlib.errors import FusionError
from fusionlib.lab.manifest import RunRecord
from fusionlib.studio import Selection
from fusionlib.studio.trained import LeftWork, parameters_text
from fusionlib.studio.training import TrainingRun
from pages.widgets.compare_open import ASKED
from pages.widgets.diagnostics_tables import percent
from pages.widgets.further import further_section
from pages.widgets.lab_like import begin_like
from pages.widgets.problems import plain, show_problem
from pages.widgets.progress import running
from pages.widgets.server import studio
from pages.widgets.style import CHART

RUN = "lab-run"
_WORDS = {
    "idle": "not begun",
    "running": "running",
    "done": "finished",
    "cancelled": "stopped: it can be resumed",
    "failed": "failed",
}


_ELSEWHERE = "another process trains it"


def runs_part(chosen: Selection | None) -> None:
    """One run of all."""
    runs = studio().training.runs()
    if not runs:
        st.info("No run yet: begin one under *New run*.", icon=":material/info:")
        further_section("lab")
        return
    names = [run.name for run in runs]
    if st.session_state.get(RUN) not in names:
        st.session_state.pop(RUN, None)
    name = str(st.selectbox("Run", names, key=RUN))
    run = next(one for one in runs if one.name == name)
    _shown(run, chosen)


def _shown(run: TrainingRun, chosen: Selection | None) -> None:
    def fill() -> None:
        if run.record is not None:
            _chart(run, run.record, None)

    told = parameters_text(run.wish.regime, dict(run.wish.settings))
    epochs = f"{run.wish.epochs} epoch{'' if run.wish.epochs == 1 else 's'}"
    about = ", ".join(filter(None, (run.wish.regime, told, epochs)))
    elsewhere = run.elsewhere
    st.caption(
        f"{plain(about)} on {plain(', '.join(run.wish.data))}: **{_ELSEWHERE if elsewhere else _WORDS[run.state]}**"
    )
    if elsewhere:
        st.fragment(_followed, run_every=2.0)(run, fill)
        return
    if running(run, f"lab-run-{run.name}", run.name, unit=lambda: "steps", draw=fill):
        return
    studio().workspace.refresh_checkpoints()
    record = run.record
    if run.problem is not None:
        show_problem(run.problem)
    failure = None if record is None else record.failure
    if failure and run.state != "failed":
        st.error(plain(failure), icon=":material/error:")
    with st.container(horizontal=True):
        if run.state != "done" and not failure:
            label = "Resume" if run.begun else "Begin"
            st.button(label, key="lab-resume", icon=":material/play_arrow:", type="primary", on_click=run.want)
        st.button(
            "New run with these settings",
            key="lab-like",
            icon=":material/content_copy:",
            help="Fills in the form; nothing begins",
            on_click=begin_like,
            args=(run,),
        )
    if record is None:
        st.caption("Resume writes the record anew." if run.problem else "Nothing is saved yet.")
        return
    _left(run, record, chosen)


def _followed(run: TrainingRun, draw: Callable[[], None]) -> None:
    """What another process has left of it by now."""
    if not run.elsewhere:
        run.notice()
        st.rerun(scope="app")
    record = run.record
    if record is not None and record.steps:
        st.progress(min(1.0, record.done / record.steps), f"{plain(run.name)}: steps {record.done} of {record.steps}")
    draw()


def _left(run: TrainingRun, record: RunRecord, chosen: Selection | None) -> None:
    """What it has saved: measured on the sidebar's data on request."""
    items = {item.checkpoint.fingerprint: item for item in studio().workspace.usable() if item.given == "lab"}  # type: ignore[union-attr]
    there = [items[point.sha256] for point in record.points if point.sha256 in items]
    work = _work(run, there, chosen)
    scores = {} if work is None else {point.name: work.scores.get(point.sha256) for point in record.points}
    _chart(run, record, {name: score for name, score in scores.items() if score is not None}, chosen)
    if work is not None and not running(work, "lab-left", f"What {run.name} left") and (cost := work.cost()):
        text = f"Measure what it left: {cost:,} forward passes"
        if st.button(text, key="lab-measure", icon=":material/speed:"):
            work.want()
            st.rerun()
    _table(record, items, scores)
    _onward(run, [item.name for item in there], chosen)


def _work(run: TrainingRun, items: list[Any], chosen: Selection | None) -> LeftWork | None:
    if chosen is None or not chosen.source or not items:
        return None
    try:
        pictures = studio().workspace.pictures(chosen.source, chosen.split)
        if not pictures.labelled:
            return None
        key = f"lab-left/{run.name}/{pictures.fingerprint()}"
        files = [item.checkpoint for item in items]
        if key not in st.session_state:
            st.session_state[key] = LeftWork(run.name, files, pictures, studio().runner)
        work: LeftWork = st.session_state[key]
        if work.state != "running":
            work.look_at(files)
        return work
    except FusionError as problem:
        show_problem(problem)
        return None


def _chart(
    run: TrainingRun, record: RunRecord, scores: dict[str, float] | None, chosen: Selection | None = None
) -> None:
    on = "" if chosen is None else ", ".join(filter(None, (chosen.source, chosen.split)))
    if (said := _standing(record)) is not None:
        st.markdown(said)
    figure = run_figure(record, scores)
    st.plotly_chart(figure, key=f"lab-chart-{run.name}-{run.state}", config=CHART)
    st.caption(
        "Dots: files; hollow: the network in between. Thin: each batch; with marks: the mean of an epoch."
        + _pictures(record, on if scores else "")
    )


def _pictures(record: RunRecord, on: str) -> str:
    """What mIoU is measured on."""
    looked = record.validation
    live = "" if looked is None else f" mIoU: live, {looked.pictures} pictures of {plain(looked.spec)}"
    return f"{live}{'; below, ' if live else ' mIoU: '}{plain(on)}." if on else live and f"{live}."


def _standing(record: RunRecord) -> str | None:
    """The best validated so far, and how it stands against where the run began."""
    known = [one for one in record.figures if one.miou is not None]
    files = [one for one in known if one.name]
    start = next((one.miou for one in known if not one.step and not one.name), None)
    best = max(files, key=lambda one: one.miou or 0, default=None)
    if best is None or best.miou is None:
        return None if start is None else f"Start: mIoU **{100 * start:.2f} %**"
    against = "" if start is None else f", {100 * (best.miou - start):+.2f} points from the start"
    return f"Best: **{plain(best.name or '')}**, mIoU **{100 * best.miou:.2f} %**{against}"


def _table(record: RunRecord, items: dict[str, Any], scores: dict[str, float | None]) -> None:
    with st.expander(f"Files ({len(record.points)})", icon=":material/description:"):
        st.dataframe(
            [
                {
                    "file": point.name,
                    "role": point.role,
                    "after step": point.step,
                    "learning rate": point.lr,
                    "mIoU (%)": percent(scores.get(point.name)),
                    "made of": ", ".join(parent.name for parent in point.parents),
                    "loaded as": items[point.sha256].name if point.sha256 in items else None,
                }
                for point in record.points
            ],
            hide_index=True,
            key="lab-files",
            placeholder="",
            column_config={
                "learning rate": st.column_config.NumberColumn(format="%.2e"),
                "mIoU (%)": st.column_config.NumberColumn(format="%.2f"),
            },
        )


def _onward(run: TrainingRun, names: list[str], chosen: Selection | None) -> None:
    """The ways on: merge what it left."""
    start = next(
        (
            item.name
            for item in studio().workspace.usable()
            if run.record and run.record.start and item.checkpoint.fingerprint == run.record.start.sha256  # type: ignore[union-attr]
        ),
        None,
    )
    members = list(dict.fromkeys([*names[-4:], *([start] if start else [])]))
    if len(members) < 2:
        return
    left, right = st.columns(2)
    left.button(
        f"Merge {members[0]} and {members[1]} in Explore",
        key="lab-explore",
        icon=":material/merge:",
        width="stretch",
        on_click=_ask,
        args=("", {"a": members[0], "b": members[1], "more": [], "mix": "alpha", "alpha": 0.5}),
    )
    right.button(
        "Compare all of them",
        key="lab-compare",
        icon=":material/table_chart:",
        width="stretch",
        on_click=_ask,
        args=("compare", {"compare": members}),
    )


def _ask(page: str, state: dict[str, Any]) -> None:
    st.session_state[ASKED] = page, state
