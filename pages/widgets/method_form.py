"""A merge method with its parameters as widgets, made from what the method declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from fusionlib.checkpoints.sharing import unmatched
from fusionlib.contracts import METHODS, Parameter, parameters_of
from fusionlib.errors import FusionError
from fusionlib.merging.build import build_method
from fusionlib.studio import Own
from pages.widgets.problems import plain

FINE = 200
"""Steps up to which a slider can be set exactly."""

ROUNDING = 1e-6
"""How far weights may sum from 1."""


def method_form(
    members: Sequence[str],
    anchor: int,
    base: int | None,
    tensors: Sequence[str],
    presets: Callable[[], Mapping[str, Own]],
) -> Own | None:
    """Choose a method and set its parameters, checkpoints by number; None where the form does not hold a row.

    `anchor` and `base` are the page's, as defaults, `tensors` the names that patterns are for, `presets` the saved
    layer profiles.
    """
    name = st.selectbox(
        "Method", METHODS.names(), key="own-method", format_func=lambda name: f"{METHODS.get(name).title} ({name})"
    )
    method = METHODS.get(name)
    st.caption(f"{method.summary}. Source: {method.citation}.")
    if method.by_preset:
        return _preset(members, presets())
    offered = [item for item in parameters_of(method) if not item.said_by]
    defaults = {"anchor": anchor, "base": base if base is not None else anchor}
    single = [item for item in offered if not isinstance(item.default, tuple)]
    values: dict[str, Any] = {}
    for item, column in zip(single, st.columns(3) * len(single), strict=False):
        with column:
            default = defaults.get(item.name, item.default)
            value = parameter_widget(item, f"own-{name}-{item.name}", members, default, tensors)
        if item.checkpoint or value != item.default:
            values[item.name] = value
    for item in offered:
        if isinstance(item.default, tuple):
            shares = _weights(item, f"own-{name}-{item.name}", members)
            if shares is None:
                return None
            if len(set(shares)) > 1 or not _equal_by_default(name, values, len(members)):
                values[item.name] = shares
    if not offered:
        st.caption("This method has no parameters.")
    return Own(name, tuple(values.items()))


def _preset(members: Sequence[str], presets: Mapping[str, Own]) -> Own | None:
    if not presets:
        st.caption(
            "No saved preset fits this set: save one on the Explore page, for as many checkpoints of this network."
        )
        return None
    found = presets[st.selectbox("preset", list(presets), key="own-preset", help="As saved on the Explore page")]
    anchor: int = dict(found.parameters)["anchor"]
    st.caption(
        f"Its weights are taken in the order of the set: {', '.join(map(plain, members))}; "
        f"its anchor is {plain(members[anchor])}."
    )
    return found


def _weights(item: Parameter, key: str, members: Sequence[str]) -> tuple[float, ...] | None:
    """A number for each checkpoint, at first equal ones; None, and why, where they do not sum to 1."""
    st.caption(f"**{item.name}**: one for each checkpoint, summing to 1")
    columns = st.columns(min(4, len(members))) * len(members)
    shares = tuple(
        column.number_input(
            plain(member), 0.0, 1.0, 1 / len(members), 0.05, "%.4g", key=f"{key}-{len(members)}-{member}"
        )
        for member, column in zip(members, columns, strict=False)
    )
    total = sum(shares)
    if abs(total - 1) > ROUNDING:
        st.caption(
            f":material/error: Sum {total:.6g}: the {item.name} need to sum to 1, "
            f"so {'add' if total < 1 else 'take away'} {abs(1 - total):.6g}."
        )
        return None
    st.caption("Sum 1")
    return shares


def _equal_by_default(method: str, values: Mapping[str, Any], count: int) -> bool:
    """Whether a method weighs all alike where no weights are given."""
    try:
        return len(set(build_method(method, values).shares(count))) == 1
    except FusionError:
        return False


def parameter_widget(item: Parameter, key: str, members: Sequence[str], default: Any, tensors: Sequence[str]) -> Any:
    """One parameter drawn as what it declares itself to be; its value."""
    label = item.name.replace("_", " ")
    if item.checkpoint:
        numbers = list(range(len(members)))
        return st.selectbox(
            label,
            numbers,
            index=min(int(default), len(numbers) - 1),
            key=f"{key}-{len(numbers)}",
            help=item.help,
            format_func=members.__getitem__,
        )
    if item.choices:
        return st.selectbox(label, item.choices, index=item.choices.index(default), key=key, help=item.help)
    if isinstance(default, bool):
        return st.toggle(label, default, key=key, help=item.help)
    if isinstance(default, str):
        return _patterns(st.text_input(label, default, key=key, help=item.help), tensors)
    return _number(item, label, key, default)


def _number(item: Parameter, label: str, key: str, default: float | int) -> float | int:
    kind: Any = type(item.default)
    limits = {"min_value": item.min, "max_value": item.max, "step": item.step}
    options: dict[str, Any] = {name: None if limit is None else kind(limit) for name, limit in limits.items()}
    if kind is float:
        options["format"] = "%.4g"
    draw = st.slider if _is_fine(item) else st.number_input
    return draw(label, value=kind(default), key=key, help=item.help, **options)


def _is_fine(item: Parameter) -> bool:
    return None not in (item.min, item.max, item.step) and (item.max - item.min) / item.step <= FINE  # type: ignore[operator]


def _patterns(text: str, tensors: Sequence[str]) -> str:
    """Patterns separated by commas; those that match nothing are said beside the field."""
    for pattern in unmatched(filter(None, map(str.strip, text.split(","))), tensors):
        st.caption(f":material/error: Pattern {plain(pattern)} matches no tensor.")
    return text
