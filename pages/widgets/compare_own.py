"""Rows of the user's own: a method with parameters, and what the checkpoints of a set share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from fusionlib.checkpoints.sharing import REASONS, Sharing, shared_table
from fusionlib.contracts import METHODS, parameters_of
from fusionlib.errors import FusionError
from fusionlib.studio import Choices, Own
from pages.widgets.diagnostics_controls import keep, kept
from pages.widgets.method_form import method_form
from pages.widgets.problems import show_problem
from pages.widgets.server import studio

ROWS, ONLY_SHARED, EXCLUDE, RENAME = "compare-own", "compare-shared", "compare-exclude", "compare-rename"


def own_rows(members: Sequence[str], choices: Choices) -> Choices:
    """A form that adds a row to the table, and the rows that were added, which can be taken away again."""
    with st.expander("A row of your own: any method, with its parameters", icon=":material/tune:"):
        own = method_form(members, choices.anchor, choices.base)
        if st.button("Add this row", key="own-add", icon=":material/add:"):
            rows = kept(ROWS, [])
            st.session_state[f"kept/{ROWS}"] = [*rows, row] if (row := _named(own, members)) not in rows else rows
        rows = [(row, found) for row in kept(ROWS, []) if (found := _numbered(row, members)) is not None]
        names = [found.name for _, found in rows]
        if names:
            left = st.pills("Added rows (click one to take it away)", names, default=names, selection_mode="multi",
                            key=f"own-rows-{hash(tuple(names))}")
            if len(left) < len(names):
                st.session_state[f"kept/{ROWS}"] = [row for row, found in rows if found.name in left]
                st.rerun()
    return replace(choices, own=tuple(found for _, found in rows))


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
    with st.expander(title, icon=":material/join_inner:", expanded=differ and not kept(ONLY_SHARED, differ)):
        only = st.toggle("Merge only what is shared; the rest is the anchor's", kept(ONLY_SHARED, differ), key=ONLY_SHARED, on_change=keep,
                         args=(ONLY_SHARED,), help="Needed for different heads, class counts or networks; `layerwise`, `backbone` and "
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
