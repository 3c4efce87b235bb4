"""Parameters of anything that declares some, drawn by one widget each; what they say stands in the address."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fusionlib.contracts import Parameter, parameters_of
from fusionlib.errors import FusionError
from fusionlib.merging.build import check_values
from pages.widgets.method_form import parameter_widget

LONGEST = 2000
"""Characters of a text that is read from an address."""

_SERIAL = "forms-drawn"


def drawable(kind: type, leave_out: Sequence[str] = ()) -> list[Parameter]:
    """The parameters that have a widget of their own: no lists, and nothing that another one says as well."""
    listed = (item for item in parameters_of(kind) if not item.said_by and item.name not in leave_out)
    return [item for item in listed if isinstance(item.default, bool | int | float | str)]


def parameter_form(
    prefix: str,
    name: str,
    items: Sequence[Parameter],
    members: Sequence[str],
    first: Mapping[str, Any] | None = None,
    tensors: Sequence[str] = (),
) -> dict[str, Any]:
    """Draw the parameters of what is called `name`; values by name, those of checkpoints always, others where they are
    not the default.

    Everything is kept under `prefix`, with which a link that is opened clears it. `first` is what they begin with.
    """
    kept, base, serial = _state(prefix, name)
    first = first or {}
    for item, column in zip(items, st.columns(3) * len(items), strict=False):
        key = f"{prefix}{name}/{item.name}/{serial}"
        drawn = f"{key}-{len(members)}" if item.checkpoint else key
        if drawn not in st.session_state or item.name not in base:  # another page, or part of it, was shown meanwhile
            base[item.name] = kept.get(item.name, first.get(item.name, item.default))
        with column:
            kept[item.name] = parameter_widget(item, key, members, base[item.name], tensors)
    return {item.name: kept[item.name] for item in items if item.checkpoint or kept[item.name] != item.default}


def said(prefix: str, name: str, items: Sequence[Parameter]) -> dict[str, Any]:
    """What drawn parameters say, defaults included, for an address."""
    kept = _state(prefix, name)[0]
    return {item.name: kept[item.name] for item in items if item.name in kept}


def begin_with(prefix: str, name: str, values: Mapping[str, Any]) -> None:
    """What the parameters of `name` say at first."""
    _state(prefix, name)[0].update(values)


def begin_anew(prefix: str, name: str, values: Mapping[str, Any]) -> None:
    """The parameters of `name` say these values, and their defaults beside them, whatever they said before."""
    for part in ("serial", "base"):
        st.session_state.pop(f"{prefix}{part}", None)
    st.session_state.get(f"{prefix}values", {}).pop(name, None)
    begin_with(prefix, name, values)


def begun(prefix: str) -> bool:
    """Whether anything is kept under this prefix."""
    return f"{prefix}values" in st.session_state


def read_values(kind: type, given: Any) -> tuple[dict[str, Any], list[str]]:
    """Parameters out of what an address says, and the names of what is none of them or does not fit."""
    if not isinstance(given, dict):
        return {}, [] if given is None else [str(given)[:60]]
    values, ignored = {}, []
    names = {item.name for item in drawable(kind)}
    for name, value in given.items():
        try:
            if name not in names:
                raise KeyError(name)
            values |= check_values("the link", kind, {name: value})
        except (FusionError, KeyError, ValueError, OverflowError):
            ignored.append(str(name)[:60])
    return values, ignored


def read_json(text: str | None) -> Any:
    """What a text of an address says; the text itself where it is no JSON, None where there is none."""
    if text is None:
        return None
    try:
        return json.loads(text) if len(text) <= LONGEST else text[:60]
    except (ValueError, RecursionError):
        return text[:60]


def as_json(values: Mapping[str, Any]) -> str | None:
    """The same for an address; None where there is nothing to say."""
    return json.dumps(values, separators=(",", ":")) if values else None


def _state(prefix: str, name: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    """What the parameters say now, what their widgets began with, and what tells these widgets from earlier ones."""
    state = st.session_state
    if f"{prefix}serial" not in state:
        state[_SERIAL] = state[f"{prefix}serial"] = state.get(_SERIAL, 0) + 1
    kept = state.setdefault(f"{prefix}values", {}).setdefault(name, {})
    return kept, state.setdefault(f"{prefix}base", {}).setdefault(name, {}), state[f"{prefix}serial"]
