"""Rows of the user's own: a method with parameters, and what the checkpoints of a set share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from fusionlib.architectures.recognise import recognise
from fusionlib.checkpoints.layout import Layout
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.sharing import REASONS, Sharing, shared_table
from fusionlib.contracts import ARCHITECTURES, METHODS
from fusionlib.errors import FusionError
from fusionlib.merging.slices import units
from fusionlib.studio import Choices, Own
from pages.widgets.diagnostics_controls import keep, kept
from pages.widgets.method_form import method_form
from pages.widgets.method_link import from_link, into_link, named, numbered
from pages.widgets.problems import plain, show_problem
from pages.widgets.server import studio

ROWS, ONLY_SHARED, EXCLUDE, RENAME = "compare-own", "compare-shared", "compare-exclude", "compare-rename"


def own_rows(members: Sequence[str], choices: Choices) -> Choices:
    """A form that adds a row to the table, and the rows that were added, which can be taken away again."""
    with st.expander("A row of your own: any method, with its parameters", icon=":material/tune:"):
        tensors = _checkpoint(members[choices.anchor]).tensors
        presets = partial(_presets, members, choices.anchor)
        own = method_form(members, choices.anchor, choices.base, tuple(tensors), presets)
        rows = kept(ROWS, from_link())
        added = st.button("Add this row", key="own-add", icon=":material/add:", disabled=own is None)
        if added and own is not None and (row := named(own, members)) not in rows:
            rows.append(row)
        shown = [(row, found) for row in rows if (found := numbered(row, members, presets)) is not None]
        titles = [found.title(members) for _, found in shown]
        if titles:
            left = st.pills(
                "Added rows (click one to take it away)",
                titles,
                default=titles,
                selection_mode="multi",
                key=f"own-rows-{hash(tuple(titles))}",
            )
            if len(left) < len(titles):
                gone = [row for row, found in shown if found.title(members) not in left]
                st.session_state[f"kept/{ROWS}"] = [row for row in rows if row not in gone]
                st.rerun()
    into_link(rows)
    return replace(choices, own=tuple(found for _, found in shown))


def _presets(members: Sequence[str], anchor: int) -> dict[str, Own]:
    """The saved layer presets that fit the set, by name: their first weight is that of the set's first checkpoint."""
    checkpoint = _checkpoint(members[anchor])
    known = recognise(checkpoint.shapes)
    layout = Layout.of(checkpoint.tensors, ARCHITECTURES.get(known[0]).head if known else ())
    found = studio().layers.shelf.fitting(layout, len(members))
    method = next(name for name, kind in METHODS.items() if kind.by_preset)
    return {
        one["name"]: Own(
            method,
            (
                ("anchor", one["anchor"]),
                ("granularity", one["level"]),
                ("weights", dict(zip(units(layout, one["level"]), one["weights"], strict=True))),
            ),
            one["name"],
        )
        for one in found
    }


def _checkpoint(name: str) -> Checkpoint:
    return studio().workspace.get(name).checkpoint  # type: ignore[return-value]


def shared_part(members: Sequence[str], choices: Choices) -> Choices:
    """What the set shares by name and shape, before anything runs, and patterns that correct it."""
    checkpoints = [studio().workspace.get(name).checkpoint for name in members]
    alike = shared_table(checkpoints, choices.anchor)  # type: ignore[arg-type]
    differ = bool(alike.own or alike.elsewhere)
    title = f"What is shared: {len(alike.shared)} of {len(alike.reasons)} tensors of {members[choices.anchor]}"
    place = f"{ONLY_SHARED}-{differ}"  # a set that is alike and one that is not have a switch each
    with st.expander(title, icon=":material/join_inner:", expanded=differ and not kept(place, differ)):
        only = st.toggle(
            "Merge only what is shared; the rest is the anchor's",
            kept(place, differ),
            key=place,
            on_change=keep,
            args=(place,),
            help=(
                "Needed for different heads, class counts or networks; `layerwise`, `backbone` and "
                "`head_swap` do it by themselves"
            ),
        )
        columns = st.columns(2)
        exclude = columns[0].text_input(
            "Leave out (shell patterns)",
            kept(EXCLUDE, ""),
            key=EXCLUDE,
            on_change=keep,
            args=(EXCLUDE,),
            disabled=not only,
            placeholder="head.*, *.bias",
            help="Shell patterns (* ? [...]) of names that stay the anchor's, separated by commas",
        )
        rename = columns[1].text_input(
            "Rename (regular expression = new text)",
            kept(RENAME, ""),
            key=RENAME,
            on_change=keep,
            args=(RENAME,),
            disabled=not only,
            placeholder="^backbone\\.=encoder.",
            help=(
                "Regular expression = replacement, on the names of the others, so that they become the "
                "anchor's; several separated by semicolons"
            ),
        )
        sharing = Sharing(_renames(rename or ""), _patterns(exclude or "")) if only else None
        try:
            table = shared_table(checkpoints, choices.anchor, sharing)  # type: ignore[arg-type]
        except FusionError as error:
            show_problem(error)
            return choices
        if sharing is not None:
            _say_what_is_idle(columns, sharing, rename or "", checkpoints, choices.anchor)  # type: ignore[arg-type]
        st.caption(
            f"{len(table.shared)} tensors are merged, {len(table.own)} are those of {members[choices.anchor]}, "
            f"{len(table.elsewhere)} are only in others and left out."
        )
        st.dataframe(
            [
                {"tensor": name, "merged": reason == "shared", "why": REASONS[reason]}
                for name, reason in table.reasons.items()
            ]
            + [{"tensor": name, "merged": False, "why": "only in others"} for name in table.elsewhere],
            hide_index=True,
            height=240,
            key="compare-sharing",
        )
    return replace(choices, sharing=sharing)


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _renames(text: str) -> dict[str, str]:
    pairs = (part.rpartition("=") for part in text.split(";") if "=" in part)
    return {pattern.strip(): name.strip() for pattern, _, name in pairs if pattern.strip()}


def _say_what_is_idle(
    columns: Sequence[Any], sharing: Sharing, rename: str, checkpoints: Sequence[Checkpoint], anchor: int
) -> None:
    """Beside each field, what of it has no effect."""
    ours = checkpoints[anchor].tensors
    others = {name for number, item in enumerate(checkpoints) if number != anchor for name in item.tensors}
    for part in rename.split(";"):
        if part.strip() and not part.rpartition("=")[0].strip():
            columns[1].caption(
                f":material/error: {plain(part.strip())} is passed over: it needs the form pattern = replacement."
            )
    for pattern in sharing.idle(ours, others):
        number, whose = (1, "the others") if pattern in sharing.rename else (0, "the anchor")
        columns[number].caption(f":material/error: Pattern {plain(pattern)} matches no tensor of {whose}.")
