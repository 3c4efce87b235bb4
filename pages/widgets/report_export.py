"""A merge's report as one HTML file: what it takes is said first, measured in the background, then it is offered."""

from __future__ import annotations

import shlex
from pathlib import Path

import streamlit as st

from fusionlib.atomic import make_folder
from fusionlib.recipe import Recipe, data_without_folders
from fusionlib.report.gather import gather
from fusionlib.report.marks import marks_of
from fusionlib.report.write import write_html
from fusionlib.runs.keys import key_of
from fusionlib.studio import MergeView, Mixture
from fusionlib.studio.reports import AloneWork, ReportWork
from pages.widgets.problems import plain, problems_shown
from pages.widgets.progress import running
from pages.widgets.server import studio

WANTED = "report-wanted"
"""Name in the session state: of which merge somebody asked for a report."""


def report_panel(view: MergeView, mixture: Mixture, recipe: Recipe, name: str) -> None:
    """The button, then what it takes, its progress, and the file. `name` is what the merge is called."""
    why = view.obstacle or ("" if view.need_pictures().labelled else "These pictures have no masks")
    wanted = (view.id, recipe.content)
    if st.button(
        "Report (HTML)",
        key="report-make",
        icon=":material/lab_profile:",
        disabled=bool(why),
        help=plain(why) if why else "Verdict, curve, classes and pictures of this merge in one file, to open anywhere",
    ):
        st.session_state[WANTED] = wanted
    if why or st.session_state.get(WANTED) != wanted:
        return
    with problems_shown():
        work = studio().reports.of_view(view, mixture, name)
        if running(work, "report", "Report", narrow=True):
            return
        if work.complete:
            _offered(work, view, recipe, name)
        elif st.button(
            f"Measure for the report: {work.cost()} forward passes", key="report-measure", icon=":material/play_arrow:"
        ):
            work.want()
            st.rerun(scope="fragment")


def _offered(work: ReportWork | AloneWork, view: MergeView, recipe: Recipe, name: str) -> None:
    path = _written(work, view, recipe, name)
    st.download_button(
        f"Report ({path.stat().st_size / 1e6:.1f} MB)",
        path.read_bytes,
        f"{name}.html",
        "text/html",
        key="report-file",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
    )


def _written(work: ReportWork | AloneWork, view: MergeView, recipe: Recipe, name: str) -> Path:
    """The file in the home folder, made where the session has none of this merge yet."""
    marks = marks_of(studio().looked.marks, view.need_pictures())
    key = key_of("report", view.id, recipe.content, name, [[one.picture, one.note, one.pixels] for one in marks])
    made = st.session_state.get("report")
    if made and made[0] == key and made[1].exists():
        return made[1]
    folder = studio().options.home / "exports"
    make_folder(folder)
    path = folder / f"report-{key[:16]}.html"
    data = data_without_folders(view.need_pictures().spec)
    command = shlex.join(
        ["python", "-m", "fusionlib", "report", f"{name}.yaml", "--data", data, "--out", f"{name}.html"]
    )
    with st.spinner("Making the report", show_time=True):
        write_html(gather(work, data, command, marks=marks), path)
    st.session_state["report"] = (key, path)
    return path
