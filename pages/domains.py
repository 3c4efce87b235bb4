"""Domains: which network serves all of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.studio import Selection
from fusionlib.studio.domains import DomainsWork, ranked
from pages.widgets.compare_open import explore_when_asked
from pages.widgets.domains_controls import choose, opened, run_panel
from pages.widgets.domains_table import (
    chart_choice,
    class_sets,
    over_choice,
    show_answer,
    show_chart,
    show_details,
    show_left_out,
    show_table,
)
from pages.widgets.problems import show_problem
from pages.widgets.remarks import show_notes
from pages.widgets.server import studio
from pages.widgets.sidebar import selection
from pages.widgets.style import heading


def domains(chosen: Selection) -> None:
    """The page for a set of experts and of domains of its own."""
    names, on, choices = choose(chosen)
    if not names:
        st.info("Choose one expert or more.", icon=":material/info:")
        return
    if not on:
        st.info(
            "Choose the domains: labelled data of the workspace, or damages of it. To load data, start the app with"
            " --data SPEC, once for each domain.",
            icon=":material/info:",
        )
        return
    there = opened(on, chosen)
    if not there:
        return
    sets = class_sets(there)
    work = studio().domains.open(names, there, replace(choices, class_sets=tuple(sets)))
    if run_panel(work, lambda found: _filling(work, found)):
        return
    found = work.snapshot()
    if any(row["state"] == "measured" for row in found["rows"]):
        _measured(work, found, sets)
    else:
        show_left_out(ranked(found["rows"])[1])
    show_notes(dict.fromkeys(note for one in there for note in one.pictures.notes))


def _measured(work: DomainsWork, found: dict[str, Any], sets: Sequence[str]) -> None:
    answer = st.container()
    left, right = st.columns(2)
    chart, over = chart_choice(left, found), over_choice(right, sets)
    found = work.with_intervals(found, over)
    rows, left_out = ranked(found["rows"], over)
    with answer:
        show_answer(rows, found["interval"])
    show_chart(found, rows, over, chart)
    show_table(work, rows)
    show_left_out(left_out)
    show_details(found, rows)


def _filling(work: DomainsWork, found: dict[str, Any]) -> None:
    rows, _ = ranked(found["rows"])
    show_answer(rows)
    show_table(work, [row for row in rows if row["classes"]], opens=False)


explore_when_asked()
heading(
    "Domains",
    "Which network serves all domains? Ranked by the harmonic mean of mIoU, which one bad domain pulls down.",
    "measuring#domains",
)
_chosen = selection()
if _chosen is None:
    st.info(
        "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
        icon=":material/info:",
    )
else:
    try:
        domains(_chosen)
    except FusionError as error:
        show_problem(error)
