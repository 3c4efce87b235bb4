"""From a row of the table to the page that shows the same merge: Explore, or Errors with its pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.contracts import METHODS
from fusionlib.studio import LETTERS, Comparison
from pages.widgets import link

CLICKED: dict[str, str] = {"": "compare-open", "errors": "compare-errors"}
"""Names of the columns of buttons in the session state, by the page that they open."""

ASKED = "compare-open-asked"
FILES = {"": "explore.py", "errors": "errors.py", "compare": "compare.py"}


def openings(
    comparison: Comparison, members: Sequence[str], shown: Sequence[dict[str, Any]]
) -> list[dict[str, Any] | None]:
    """For each row that is shown the state of the Explore page with its merge; None where that page has none.

    `members` are the checkpoints of the comparison as the workspace calls them.
    """
    whole, names = comparison.whole(), dict(zip(comparison.names, members, strict=True))
    rows = [[row for row in one["same"] if row["name"] in whole] for one in shown]
    return [explored(same[0], [names[name] for name in same[0]["members"]]) if same else None for same in rows]


def explored(row: dict[str, Any], members: Sequence[str]) -> dict[str, Any] | None:
    """The state of the Explore page with this merge of `members`, the row's own order; None: they are too many."""
    if len(members) > len(LETTERS):
        return None
    method = row["method"]
    values = {name: value for name, value in row["parameters"].items() if value != []}
    state: dict[str, Any] = {"a": members[0], "b": members[1], "more": list(members[2:])}
    state |= {"buffers": row["buffers"]} if row["buffers"] else {}
    if len(members) == 2 and method in ("linear", "isotropic"):
        return {**state, "mix": "alpha", "alpha": values.get("weights", [values.get("alpha", 0.5)])[0]}
    if METHODS.get(method).by_preset:
        rows = list(values["weights"].values())
        profile = {"level": values["granularity"], "anchor": values["anchor"], "weights": rows}
        return {**state, "mix": "layers", "layer-profile": json.dumps(profile)}
    return {**state, "mix": "alpha" if method == "linear" else method, f"method/{method}": values}


def open_clicked(found: Sequence[dict[str, Any] | None], page: str) -> None:
    """Callback of a column of buttons."""
    click = st.session_state[CLICKED[page]]
    state = None if click is None else found[click["row"]]
    if state is not None:
        st.session_state[ASKED] = page, state


def explore_when_asked() -> None:
    """Go there after the callback, which cannot."""
    if asked := st.session_state.pop(ASKED, None):
        link.bring(*asked)
        # With no query given Streamlit clears the address, and what it held would be taken back from it.
        st.switch_page(FILES[asked[0]], query_params={})
