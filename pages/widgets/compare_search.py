"""The Search part of Compare: a strategy, what it chooses and reports on, and its run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.candidate import HARMONIC, SCORES
from fusionlib.contracts import STRATEGIES, Strategy
from fusionlib.errors import FusionError
from fusionlib.merging.choices import POLICIES
from fusionlib.studio import Comparison, SearchWork, Selection, Wanted
from fusionlib.studio.found import expected_passes
from pages.widgets import link
from pages.widgets.compare_found import live_chart, show_found
from pages.widgets.compare_parts import (
    SEARCH,
    Data,
    all_data,
    data_name,
    first_data,
    offered,
    other_split,
    several_offered,
    show_part,
)
from pages.widgets.dtype_choice import chosen_dtype
from pages.widgets.link_notes import dropped
from pages.widgets.parameter_form import (
    as_json,
    begin_with,
    begun,
    drawable,
    parameter_form,
    read_json,
    read_values,
    said,
)
from pages.widgets.problems import show_problem
from pages.widgets.progress import running
from pages.widgets.remarks import show_notes
from pages.widgets.server import studio

PREFIX, SETTINGS, FIRST = "search/", "settings", "grid"
OWN = "own"
"""The buffer policy that a strategy has by itself."""

SELECTED = "those to choose on"
"""Pictures for statistics where nobody names others."""


def search_part(names: Sequence[str], chosen: Selection) -> None:
    """The controls, the one button or the progress, and what was found."""
    several = st.session_state.get("score") == HARMONIC
    top = st.columns(3 if several else 5)
    if several:  # two wide ones below, for several data each
        top = [*top[:2], *st.columns(2), top[2]]
    name = offered(
        top[0],
        "Strategy",
        "strategy",
        STRATEGIES.names(),
        FIRST,
        "; ".join(f"**{name}**: {kind.summary}" for name, kind in STRATEGIES.items()),
        lambda name: STRATEGIES.get(name).title,
    )
    kind = STRATEGIES.get(name)
    score = offered(
        top[1], "Chooses by", "score", SCORES, "miou", "What the best has most of", lambda one: SCORES[one][0]
    )
    select, report = _data(top, chosen, several=score == HARMONIC)
    policy = offered(
        top[4],
        "Statistics",
        "policy",
        (OWN, *POLICIES),
        OWN,
        "Batch-norm statistics of the merges; the sidebar's policy does not count here",
        lambda one: f"the strategy's: {kind.buffers}" if one == OWN else one,
    )
    calibration = _calibration(top[4]) if "recalibrate" in (policy, kind.buffers) else None
    st.caption(f"{kind.summary}.")
    settings = _settings(name, kind, names)
    if obstacle := _obstacle(kind, len(names), len(select), len(report)):
        st.info(obstacle, icon=":material/info:")
        return
    wanted = Wanted(name, settings, score, None if policy == OWN else policy, None, chosen_dtype())
    try:
        work = studio().searches.open(names, select, report, wanted, calibration)
    except FusionError as error:
        show_problem(error)
        return
    _run(work, names, chosen, select, report, calibration)


def searches_line(comparison: Comparison) -> None:
    """Under the table: which strategies have been tried on its checkpoints, and the way to the others."""
    if "searches" not in comparison.choices.groups or comparison.choices.sharing is not None:
        return
    tried, left = comparison.strategies()
    words = f"Searched so far: {', '.join(tried)}." if tried else "No search of these has been finished."
    columns = st.columns([5, 2], vertical_alignment="center")
    columns[0].caption(f"{words} {len(left)} strategies are left." if left else words)
    columns[1].button(
        "Search for a better mixture",
        key="compare-to-search",
        icon=":material/search:",
        width="stretch",
        on_click=show_part,
        args=(SEARCH,),
    )


def _run(
    work: SearchWork,
    names: Sequence[str],
    chosen: Selection,
    select: Sequence[Data],
    report: Sequence[Data],
    calibration: Data | None,
) -> None:
    if running(work, "search", lambda: work.current or "Search", draw=lambda: live_chart(work, names, chosen)):
        return
    if not work.settled:
        known = bool(work.snapshot()["evaluations"])
        verb = "Resume" if work.state in ("cancelled", "failed") else "Search"
        if st.button(
            f"{verb}: about {expected_passes(work):,} forward passes",
            key="search-run",
            icon=":material/play_arrow:",
            type="primary",
        ):
            work.want()
            st.rerun()
        if not known:
            st.caption("What is measured is kept: a search can be cancelled and resumed.")
            return
    show_found(work, names, chosen, (select, report), calibration or select[0])
    show_notes(list(dict.fromkeys(note for one in (*work.select, *work.report) for note in one.notes)))


def _data(top: Sequence, chosen: Selection, *, several: bool) -> tuple[list[Data], list[Data]]:
    """What to choose on and to report on: one dataset each, of the harmonic mean as many as there are domains."""
    data = all_data()
    found = []
    for place, label, key, first, help in (
        (top[2], "Choose on", "select", first_data(chosen), "Pictures that the best is chosen by"),
        (
            top[3],
            "Report on",
            "report",
            other_split(chosen),
            "Pictures that the choice is reported on; the same ones flatter it",
        ),
    ):
        if several:
            help = f"{help}. Each is a domain: the score is the harmonic mean of their mIoU"
            names = several_offered(place, label, key, data, [data_name(first)], help)
        else:
            names = [offered(place, label, key, data, data_name(first), help)]
        found.append([data[name] for name in names])
    return found[0], found[1]


def _calibration(place: Any) -> Data | None:
    """Pictures for statistics that are measured anew; None: the first to choose on."""
    data = all_data()
    help = "Pictures that batch-norm statistics are measured on; they need no masks"
    name = offered(place, "Statistics on", "calibrate", (SELECTED, *data), SELECTED, help)
    return None if name == SELECTED else data[name]


def _settings(name: str, kind: type[Strategy], names: Sequence[str]) -> dict:
    """The strategy's parameters, at first those of the link."""
    if not begun(PREFIX):
        values, ignored = read_values(kind, read_json(link.asked(SETTINGS)))
        begin_with(PREFIX, name, values)
        if ignored:
            dropped(SETTINGS, ", ".join(ignored))
    items = drawable(kind)
    values: dict = {}
    if items:
        with st.expander(f"Parameters of {kind.title}", icon=":material/tune:"):
            values = parameter_form(PREFIX, name, items, names)
    link.put(SETTINGS, as_json(said(PREFIX, name, items)))
    return values


def _obstacle(kind: type[Strategy], count: int, select: int, report: int) -> str:
    if not select or not report:
        return "Choose data to choose on and to report on."
    if select > 1 and not kind.several:
        return f"{kind.title} learns on one dataset: choose on one, or choose another strategy."
    if kind.fewest <= count <= kind.most:
        return ""
    takes = f"exactly {kind.most}" if kind.fewest == kind.most else f"{kind.fewest} to {kind.most}"
    return f"{kind.title} takes {takes} checkpoints, and {count} are chosen: choose others above, or another strategy."
