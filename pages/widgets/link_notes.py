"""What of a link this app does not have, or does not understand: one line above the page, the same on every page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.widgets.problems import plain

HELD = ("a", "b", "more", "data", "set", "compare", "anchor", "base", "experts", "beside", "baseline", "on", "path")
"""What names something that a server has loaded, or has not."""

CALLED = {"a": "A", "b": "B"}
"""What is shown as something else than its name in the address."""

LONGEST = 60
"""Characters of a value that are said."""

CHOSEN = ("a", "b", "data", "split", "buffers", "mix")
"""What a user who has read the line goes on with: it ends when one of these is another."""

UNSAID = ("pixels", "parameters", "profile", "own")
"""What stands in the address only while something is set: a link's that is gone was not understood."""

_BESIDE = "link/beside"
_ARRIVED, _NOTES, _DROPPED = "link/arrived", "link/notes", "link/dropped"

State = Mapping[str, Sequence[str]]


def arrives(state: State) -> None:
    """A link was opened, or Back or Forward pressed: what it says is held against what is shown in the end."""
    st.session_state[_ARRIVED] = {name: list(values) for name, values in state.items()}
    st.session_state[_NOTES], st.session_state[_DROPPED] = {}, {}


def dropped(name: str, value: Any) -> None:
    """A value of the state was forgotten, because it is none of what can be chosen."""
    if name in st.session_state.get(_ARRIVED, {}) or name in HELD:
        st.session_state.setdefault(_DROPPED, {}).setdefault(name, str(value))


def settle(written: State, known: Sequence[str]) -> None:
    """After the whole page: what is written into the address now, of the `known` names, is what is shown."""
    arrived, gone = st.session_state.pop(_ARRIVED, {}), st.session_state.pop(_DROPPED, {})
    notes = st.session_state.setdefault(_NOTES, {})
    for name in dict.fromkeys((*arrived, *gone)):
        asked, shown = arrived.get(name) or [gone.get(name, "")], list(written.get(name, ()))
        if lost := _lost(name, asked, shown, name in gone) if name in known else list(asked):
            notes[name] = lost, shown
    if arrived or gone:
        st.session_state[_BESIDE] = {name: list(written.get(name, ())) for name in CHOSEN}
    beside = st.session_state.get(_BESIDE, {})
    before = {**beside, **{name: shown for name, (_, shown) in notes.items()}}
    if any(list(written.get(name, ())) != values for name, values in before.items()):
        notes.clear()  # something else was chosen since


def notice() -> None:
    """Draw the line, where there is something to say."""
    notes: dict[str, tuple[list[str], list[str]]] = st.session_state.get(_NOTES, {})
    if not notes:
        return
    held = {name: note for name, note in notes.items() if name in HELD}
    other = {name: note for name, note in notes.items() if name not in HELD}
    texts = []
    if held:
        absent = dict.fromkeys(text for lost, _ in held.values() for text in lost)
        texts.append(f"Not here: {', '.join(map(_short, absent))}{_instead(held)}.")
    if other:
        said = (f"{name}={_short(', '.join(lost))}" for name, (lost, _) in other.items())
        texts.append(f"Not understood in the link: {', '.join(said)}{_instead(other)}.")
    st.warning(" ".join(texts), icon=":material/link_off:")


def _instead(notes: Mapping[str, tuple[list[str], list[str]]]) -> str:
    """What is shown in the place of it."""
    shown = [f"{CALLED.get(name, name)} {_short(', '.join(there))}" for name, (_, there) in notes.items() if there]
    return f"; shown instead: {', '.join(shown)}" if shown else ""


def _short(text: str) -> str:
    return plain(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def _lost(name: str, asked: Sequence[str], shown: Sequence[str], gone: bool) -> list[str]:
    """Which of these values are not among those that are shown."""
    if not shown and not gone and name not in UNSAID:
        return []  # the page shows nothing of the kind
    there = {_value(text) for text in shown}
    return [text for text in asked if text and _value(text) not in there and not _within(text, shown)]


def _value(text: str) -> Any:
    """Equal for texts that mean the same: numbers as numbers, a pair in either order."""
    try:
        return float(text)
    except ValueError:
        return tuple(sorted(text.split(" + ")))


def _within(text: str, shown: Sequence[str]) -> bool:
    """Whether a table of values is part of what is shown, where defaults are said too."""
    try:
        asked, there = json.loads(text), [json.loads(one) for one in shown]
    except (ValueError, RecursionError):
        return False
    if not isinstance(asked, dict):
        return asked in there
    return any(isinstance(one, dict) and asked.items() <= one.items() for one in there)
