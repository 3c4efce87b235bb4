"""Parts of the Compare page: which one is shown, and choices that a link may have made wrongly."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import streamlit as st

from fusionlib.studio import Selection
from pages.widgets import link
from pages.widgets.diagnostics_controls import keep, kept
from pages.widgets.link_notes import dropped
from pages.widgets.server import studio

PART = "part"
"""Name in the session state and in the URL."""

TABLE, SEARCH, VARY, SETS = "table", "search", "vary", "sets"
PARTS = {TABLE: "Compare", SEARCH: "Search", VARY: "Vary", SETS: "Diversity"}

OWN = {
    TABLE: ("anchor", "base", "rows", "own", "cost"),
    SEARCH: ("strategy", "score", "select", "report", "policy", "calibrate", "settings"),
    VARY: ("method", "parameter", "second", "target", "also", "vary"),
    SETS: ("reference", "across"),
}
"""What of the address belongs to one part alone."""

Data = tuple[str, str | None]
"""A dataset of the workspace and its split."""


def part() -> str:
    """The part that is shown; what is only another part's leaves the address."""
    asked = st.session_state.get(PART, kept(PART, TABLE))
    if asked not in PARTS:
        dropped(PART, asked)
        asked = TABLE
    st.session_state[PART] = st.session_state[f"kept/{PART}"] = asked
    for name in (name for other, names in OWN.items() if other != asked for name in names):
        if name in link.TEXTS:
            link.put(name, None)
        else:
            st.session_state.pop(name, None)
    return asked


def choose_part() -> None:
    """The segments."""
    st.segmented_control(
        "Part",
        list(PARTS),
        key=PART,
        format_func=PARTS.__getitem__,
        on_change=_switched,
        label_visibility="collapsed",
    )


def show_part(name: str) -> None:
    """Callback of a button that goes to a part."""
    st.session_state[PART] = name
    keep(PART)


def _switched() -> None:
    """A segment that is pressed again stays."""
    if st.session_state.get(PART) is None:
        st.session_state[PART] = kept(PART, TABLE)
    keep(PART)


def offered(
    place: Any,
    label: str,
    key: str,
    options: Collection[str],
    default: str,
    help: str,
    called: Callable[[str], str] = str,
) -> str:
    """One of the options; the default follows the page until somebody chooses. What a link names wrongly is said."""
    asked = next(iter(_asked(key)), None)
    if asked is not None and asked not in options:
        dropped(key, asked)
        st.session_state.pop(f"kept/{key}", None)
        asked = None
    st.session_state[key] = default if asked is None else asked
    return place.selectbox(label, list(options), key=key, format_func=called, help=help, on_change=keep, args=(key,))


def several_offered(
    place: Any, label: str, key: str, options: Collection[str], default: Sequence[str], help: str
) -> list[str]:
    """Some of the options, as `offered`: the default until somebody chooses."""
    asked, chosen = _asked(key), kept(key, None) is not None
    if lost := [one for one in asked if one not in options]:
        dropped(key, ", ".join(lost))
    there = [one for one in asked if one in options]
    st.session_state[key] = there if there or (chosen and not lost) else list(default)
    return place.multiselect(label, list(options), key=key, help=help, on_change=keep, args=(key,))


def _asked(key: str) -> list[str]:
    """What was chosen, or stands in a link, whether that is one or several."""
    held = key in st.session_state and kept(key, None) is not None
    asked = st.session_state.get(key) if held else kept(key, None)
    return asked if isinstance(asked, list) else [] if asked is None else [asked]


def as_seen(names: Sequence[str], chosen: Selection) -> list[str]:
    """The set; of two that hold A it comes first, so that alpha is its weight as everywhere."""
    return sorted(names, key=lambda name: name != chosen.a) if len(names) == 2 else list(names)


def all_data() -> Mapping[str, Data]:
    """The datasets of the workspace with their splits, by what they are called."""
    sources = [source for source in studio().workspace.sources if source.problem is None]
    pairs = [(source.name, split) for source in sources for split in source.splits or (None,)]
    return {data_name(pair): pair for pair in pairs}


def data_name(data: Data) -> str:
    """`streets clear, test`."""
    return ", ".join(filter(None, data))


def first_data(chosen: Selection) -> Data:
    """What the sidebar says."""
    return chosen.source, chosen.split


def other_split(chosen: Selection) -> Data:
    """Pictures to report on: another split of the sidebar's data, never the one to train on; else the same."""
    splits = next((one.splits for one in studio().workspace.sources if one.name == chosen.source), ())
    others = [split for split in ("test", *splits) if split in splits and split not in (chosen.split, "train")]
    return chosen.source, others[0] if others else chosen.split
