"""Rows of the user's own: a method with parameters, and what the checkpoints of a set share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from fusionlib.checkpoints.sharing import REASONS, Sharing, shared_table
from fusionlib.contracts import METHODS, parameters_of
from fusionlib.errors import FusionError
from fusionlib.merging.build import build_method
from fusionlib.studio import Choices, Own
from pages.widgets.diagnostics_controls import keep, kept
from pages.widgets.method_form import method_form
from pages.widgets.problems import show_problem
from pages.widgets.server import studio

ROWS, ONLY_SHARED, EXCLUDE, RENAME = "compare-own", "compare-shared", "compare-exclude", "compare-rename"
IN_URL, MOST = "own", 20
"""Where rows stand in a link, and how many of them are read."""


def own_rows(members: Sequence[str], choices: Choices) -> Choices:
    """A form that adds a row to the table, and the rows that were added, which can be taken away again."""
    with st.expander("A row of your own: any method, with its parameters", icon=":material/tune:"):
        own = method_form(members, choices.anchor, choices.base)
        rows = kept(ROWS, _from_link(st.query_params.get(IN_URL, "[]")))
        if st.button("Add this row", key="own-add", icon=":material/add:") and (row := _named(own, members)) not in rows:
            rows.append(row)
        shown = [(row, found) for row in rows if (found := _numbered(row, members)) is not None]
        names = [found.name for _, found in shown]
        if names:
            left = st.pills("Added rows (click one to take it away)", names, default=names, selection_mode="multi",
                            key=f"own-rows-{hash(tuple(names))}")
            if len(left) < len(names):
                gone = [row for row, found in shown if found.name not in left]
                st.session_state[f"kept/{ROWS}"] = [row for row in rows if row not in gone]
                st.rerun()
    _into_link(rows)
    return replace(choices, own=tuple(found for _, found in shown))


def _into_link(rows: Sequence[dict[str, Any]]) -> None:
    text = json.dumps(rows, separators=(",", ":"))
    if not rows:
        st.query_params.pop(IN_URL, None)
    elif st.query_params.get(IN_URL) != text:
        st.query_params[IN_URL] = text


def _from_link(text: str) -> list[dict[str, Any]]:
    """The rows that a link names; what is no row that this page could have made is passed over."""
    try:
        rows = json.loads(text)
        return [read for row in rows[:MOST] if (read := _read(row)) is not None]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def _read(row: Any) -> dict[str, Any] | None:
    method, values, checkpoints = row["method"], row["values"], row["checkpoints"]
    if not isinstance(method, str) or method not in METHODS or set(checkpoints) - _numbers_of(method):
        return None
    if not all(isinstance(name, str) for name in checkpoints.values()):
        return None
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        build_method(method, values)
    except FusionError:
        return None
    return {"method": method, "values": values, "checkpoints": checkpoints}


def _named(own: Own, members: Sequence[str]) -> dict[str, Any]:
    """The row with checkpoints by name: numbers change with the set."""
    numbers = _numbers_of(own.method)
    return {"method": own.method, "values": {name: value for name, value in own.parameters if name not in numbers},
            "checkpoints": {name: members[value] for name, value in own.parameters if name in numbers}}


def _numbered(row: dict[str, Any], members: Sequence[str]) -> Own | None:
    """The same by number; None where one of its checkpoints is not in the set."""
    if not set(row["checkpoints"].values()) <= set(members):
        return None
    places = {name: members.index(checkpoint) for name, checkpoint in row["checkpoints"].items()}
    return Own(row["method"], tuple({**places, **row["values"]}.items()))


def _numbers_of(method: str) -> set[str]:
    return {item.name for item in parameters_of(METHODS.get(method)) if item.checkpoint}


def shared_part(members: Sequence[str], choices: Choices) -> Choices:
    """What the set shares by name and shape, before anything runs, and patterns that correct it."""
    checkpoints = [studio().workspace.get(name).checkpoint for name in members]
    alike = shared_table(checkpoints, choices.anchor)  # type: ignore[arg-type]
    differ = bool(alike.own or alike.elsewhere)
    title = f"What is shared: {len(alike.shared)} of {len(alike.reasons)} tensors of {members[choices.anchor]}"
    place = f"{ONLY_SHARED}-{differ}"  # a set that is alike and one that is not have a switch each
    with st.expander(title, icon=":material/join_inner:", expanded=differ and not kept(place, differ)):
        only = st.toggle("Merge only what is shared; the rest is the anchor's", kept(place, differ), key=place, on_change=keep,
                         args=(place,), help="Needed for different heads, class counts or networks; `layerwise`, `backbone` and "
                         "`head_swap` do it by themselves")
        columns = st.columns(2)
        exclude = columns[0].text_input("Leave out", kept(EXCLUDE, ""), key=EXCLUDE, on_change=keep, args=(EXCLUDE,), disabled=not only,
                                        placeholder="head.*, *.bias", help="Patterns of names that stay the anchor's, separated by commas")
        rename = columns[1].text_input("Rename", kept(RENAME, ""), key=RENAME, on_change=keep, args=(RENAME,), disabled=not only,
                                       placeholder="^backbone\\.=encoder.", help="Regular expression = replacement, on the names of the "
                                       "others, so that they become the anchor's; several separated by semicolons")
        sharing = Sharing(_renames(rename or ""), _patterns(exclude or "")) if only else None
        try:
            table = shared_table(checkpoints, choices.anchor, sharing)  # type: ignore[arg-type]
        except FusionError as error:
            show_problem(error)
            return choices
        st.caption(f"{len(table.shared)} tensors are merged, {len(table.own)} are those of {members[choices.anchor]}, "
                   f"{len(table.elsewhere)} are only in others and left out.")
        st.dataframe([{"tensor": name, "merged": reason == "shared", "why": REASONS[reason]} for name, reason in table.reasons.items()]
                     + [{"tensor": name, "merged": False, "why": "only in others"} for name in table.elsewhere],
                     hide_index=True, height=240, key="compare-sharing")
    return replace(choices, sharing=sharing)


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _renames(text: str) -> dict[str, str]:
    pairs = (part.rpartition("=") for part in text.split(";") if "=" in part)
    return {pattern.strip(): name.strip() for pattern, _, name in pairs if pattern.strip()}
