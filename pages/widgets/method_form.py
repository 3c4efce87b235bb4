"""A merge method with its parameters as widgets, made from what the method declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.contracts import METHODS, Parameter, parameters_of
from fusionlib.studio import Own

DRAWN = ("profile",)
"""Methods whose parameters are drawn elsewhere: a profile on the Layers page."""

FINE = 200
"""Steps up to which a slider can be set exactly."""


def method_form(members: Sequence[str], anchor: int, base: int | None) -> Own:
    """Choose a method and set its parameters, checkpoints by number; `anchor` and `base` are the page's, as defaults."""
    names = [name for name in METHODS.names() if name not in DRAWN]
    name = st.selectbox("Method", names, key="own-method", format_func=lambda name: f"{METHODS.get(name).title} ({name})")
    method = METHODS.get(name)
    st.caption(f"{method.summary}. Source: {method.citation}.")
    offered = parameters_of(method)
    values: dict[str, Any] = {}
    for place, column in zip(range(len(offered)), st.columns(3) * len(offered), strict=False):
        item = offered[place]
        defaults = {"anchor": anchor, "base": base if base is not None else anchor}
        with column:
            value = _widget(item, f"own-{name}-{item.name}", members, defaults.get(item.name, item.default))
        if item.checkpoint or value != item.default:
            values[item.name] = value
    if not offered:
        st.caption("This method has no parameters.")
    return Own(name, tuple(values.items()))


def _widget(item: Parameter, key: str, members: Sequence[str], default: Any) -> Any:
    label = item.name.replace("_", " ")
    if item.checkpoint:
        numbers = list(range(len(members)))
        return st.selectbox(label, numbers, index=min(int(default), len(numbers) - 1), key=f"{key}-{len(numbers)}", help=item.help,
                            format_func=members.__getitem__)
    if isinstance(item.default, tuple):
        return _numbers(st.text_input(label, key=key, help=item.help, placeholder=f"{len(members)} numbers: 0.5, 0.5"))
    if item.choices:
        return st.selectbox(label, item.choices, index=item.choices.index(default), key=key, help=item.help)
    if isinstance(default, bool):
        return st.toggle(label, default, key=key, help=item.help)
    if isinstance(default, str):
        return st.text_input(label, default, key=key, help=item.help)
    return _number(item, label, key)


def _number(item: Parameter, label: str, key: str) -> float | int:
    kind: Any = type(item.default)
    limits = {"min_value": item.min, "max_value": item.max, "step": item.step}
    options: dict[str, Any] = {name: None if limit is None else kind(limit) for name, limit in limits.items()}
    if kind is float:
        options["format"] = "%.4g"
    draw = st.slider if _is_fine(item) else st.number_input
    return draw(label, value=item.default, key=key, help=item.help, **options)


def _is_fine(item: Parameter) -> bool:
    return None not in (item.min, item.max, item.step) and (item.max - item.min) / item.step <= FINE  # type: ignore[operator]


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas; what is none is said beside the field."""
    try:
        return tuple(float(part) for part in text.replace(";", ",").split(",") if part.strip())
    except ValueError:
        st.caption(":material/error: Needs numbers separated by commas.")
        return ()
