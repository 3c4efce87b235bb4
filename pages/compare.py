"""Compare: every method, the single networks and their ensemble in one table; searches and varied parameters."""

from functools import partial
from typing import Any

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.studio import Comparison, Selection
from pages.widgets.compare_classes import show_classes
from pages.widgets.compare_controls import choose_rows, choose_set, run_panel
from pages.widgets.compare_cost import cost_panel, cost_words
from pages.widgets.compare_export import write_panel
from pages.widgets.compare_open import explore_when_asked, openings
from pages.widgets.compare_own import own_rows, shared_part
from pages.widgets.compare_pareto import show_pareto
from pages.widgets.compare_parts import SEARCH, SETS, TABLE, VARY, as_seen, choose_part, part
from pages.widgets.compare_search import search_part, searches_line
from pages.widgets.compare_sets import sets_part
from pages.widgets.compare_table import show_left_out, show_result, show_table
from pages.widgets.compare_vary import vary_part
from pages.widgets.outlook import outlook_line
from pages.widgets.problems import show_problem
from pages.widgets.remarks import show_notes, show_warnings
from pages.widgets.server import studio
from pages.widgets.sidebar import selection
from pages.widgets.style import heading


def compare(chosen: Selection, shown: str) -> None:
    """The page for a set of checkpoints on the sidebar's data: a part of it."""
    choose_part()
    names = choose_set(chosen)
    if len(names) < 2:
        st.info("Choose two or more checkpoints to compare.", icon=":material/info:")
        return
    if not chosen.source:
        st.info(
            "No data is chosen: load labelled pictures on the Workspace page, or start with --data SPEC.",
            icon=":material/info:",
        )
        return
    if shown == TABLE:
        table(names, chosen)
    else:
        {SEARCH: search_part, VARY: vary_part, SETS: sets_part}[shown](as_seen(names, chosen), chosen)


def table(names: list[str], chosen: Selection) -> None:
    """Everything that can be made of the set, measured and ranked."""
    choices = own_rows(names, shared_part(names, choose_rows(names, chosen)))
    comparison = studio().comparisons.open(names, chosen.source, chosen.split, choices)
    if choices.sharing is None:
        outlook_line(comparison, names)
    if run_panel(comparison, chosen, partial(_filling, comparison)):
        return
    found = comparison.snapshot()
    show_warnings(found["warnings"])
    rows, left_out = comparison.ranked(found["rows"])
    opened = openings(comparison, names, rows)
    show_table(rows, opened, cost_words(comparison))
    searches_line(comparison)
    cost_panel(comparison)
    show_left_out(left_out)
    show_notes(comparison.pictures.notes)
    show_result(found, rows)
    show_classes(comparison, found)
    show_pareto(rows, opened)
    write_panel(comparison, found)


def _filling(comparison: Comparison, found: dict[str, Any]) -> None:
    rows, left_out = comparison.ranked(found["rows"])
    show_table(rows)
    show_left_out(left_out)


explore_when_asked()
_part = part()
if _part == SEARCH:
    heading("Compare", "Which mixture of these is best, and is it more than chance?", "measuring#searching")
elif _part == VARY:
    heading("Compare", "How does one parameter of a method change the score?", "measuring#curves")
elif _part == SETS:
    heading("Compare", "How good and how different are these, and what are they worth together?", "measuring#sets")
else:
    heading(
        "Compare",
        "Which merge of these pays? One table: every network alone, every method with its defaults, and the output"
        " ensemble.",
        "measuring#comparing-methods",
    )
_chosen = selection()
if _chosen is None:
    st.info(
        "Load two checkpoints on the Workspace page, or start the app with --checkpoints FOLDER.",
        icon=":material/info:",
    )
else:
    try:
        compare(_chosen, _part)
    except FusionError as error:
        show_problem(error)
