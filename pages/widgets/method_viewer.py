"""The live viewer with a registered method in the place of alpha: its parameters move the picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import streamlit as st

from fusionlib.contracts import METHODS, MergeMethod, Parameter, parameters_of
from fusionlib.errors import FusionError
from fusionlib.merging.build import build_method
from fusionlib.studio import MergeView
from pages.widgets import link
from pages.widgets.live import PICTURE, granted, take_index, viewer_data, with_errors
from pages.widgets.problems import plain
from pages.widgets.progress import running
from pages.widgets.server import studio
from pages.widgets.viewer import look, mount, newest, nothing, take_look, told

IN_URL = "parameters"
"""Where a link has the parameters, as JSON."""

MOST_STEPS = 1000
"""A slider of more steps cannot be set by hand."""

NOTES = {
    "live": "Every step is shown while you drag.",
    "several": "{count} networks answer together: shown when you let go.",
    "recalibrate": "Statistics are measured anew for each merge: shown when you let go.",
    "unknown": "Measure it below first: it looks at pictures to find out what it needs.",
}


def live_method(view: MergeView, name: str, errors: Mapping[str, Any] | None = None) -> MergeMethod:
    """Mount the viewer with the parameters of a method; the method as they are set."""
    _, picture = granted(view)
    values = _values(view, name)
    control = _control(view, name, values)
    key = f"method-{name}"
    shown = replace(with_errors(viewer_data(view, 0.5, picture - 1), errors), control=control)
    reported = mount(
        key=key,
        data={**asdict(shown), "key": key},
        on_alpha_change=nothing,
        on_index_change=told(key, "index", take_index),
        on_measured_change=nothing,
        on_parameters_change=told(key, "parameters", lambda text: _take(view, name, text)),
        on_look_change=told(key, "look", take_look),
    )
    link.put("look", look() or None)
    text = newest(key, "parameters", reported.parameters, json.dumps(values))
    st.session_state[PICTURE] = int(newest(key, "index", reported.index, picture - 1) or 0) + 1
    values = _kept(view, name, text) or values
    st.session_state[f"method/{name}"] = values
    _write_link(values)
    return _built(name, values)


def _take(view: MergeView, name: str, text: Any) -> None:
    values = _kept(view, name, text)
    if values is not None:
        st.session_state[f"method/{name}"] = values


def _values(view: MergeView, name: str) -> dict[str, Any]:
    """The parameters of this session, else of the link, else those that the method begins with."""
    first = _first(view, name)
    for text in (st.session_state.get(f"method/{name}"), link.asked(IN_URL)):
        found = _kept(view, name, text)
        if found is not None:
            return first | found
    return first


def _first(view: MergeView, name: str) -> dict[str, Any]:
    count, kind = len(view.arena), METHODS.get(name)
    given = kind.defaults(count)
    values = {item.name: given.get(item.name, item.default) for item in _offered(name)}
    lists = [key for key, value in values.items() if isinstance(value, tuple | list)]
    shares = list(build_method(name, given).shares(count)) if lists else []
    return values | dict.fromkeys(lists, shares)


def _kept(view: MergeView, name: str, given: Any) -> dict[str, Any] | None:
    """Parameters that somebody has set, where the method takes them for as many checkpoints; None otherwise."""
    try:
        values = json.loads(given) if isinstance(given, str) else given
        if not isinstance(values, dict):
            return None
        known = {item.name for item in _offered(name)}
        values = {key: value for key, value in values.items() if key in known}
        _built(name, values).shares(len(view.arena))
    except (ValueError, TypeError, RecursionError, FusionError):
        return None
    return values


def _built(name: str, values: Mapping[str, Any]) -> MergeMethod:
    return build_method(name, values)


def _offered(name: str) -> list[Parameter]:
    """Parameters that have a control: what weights say too has none, and what is drawn unit by unit neither."""
    listed = parameters_of(METHODS.get(name))
    return [item for item in listed if not item.said_by and not isinstance(item.default, Mapping)]


def _control(view: MergeView, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """What the browser is told of the method."""
    method, count = _built(name, values), len(view.arena)
    state = _state(view, method)
    return {
        "method": name,
        "title": method.title,
        "note": NOTES[state].format(count=method.networks(count)),
        "live": state == "live",
        "ready": state != "unknown",
        "values": values,
        "figures": _figures(view, method),
        "parameters": [_described(item, view.selection.names) for item in _offered(name)],
    }


def _state(view: MergeView, method: MergeMethod) -> str:
    if method.networks(len(view.arena)) > 1:
        return "several"
    if view.selection.buffers == "recalibrate" and not method.keeps_statistics:
        return "recalibrate"
    if method.needs == "pictures" and not view.knows(method):
        return "unknown"
    return "live"


def _figures(view: MergeView, method: MergeMethod) -> dict[str, Any] | None:
    if view.obstacle or view.pictures is None or not view.pictures.labelled:
        return None
    found = studio().mixture(view, method).points.get("merge")
    return found and {name: found[name] for name in ("miou", "pixel_accuracy", "loss", "iou", "tiled")}


def _described(item: Parameter, names: tuple[str, ...]) -> dict[str, Any]:
    """A parameter as the browser draws it."""
    about: dict[str, Any] = {"name": item.name, "help": item.help}
    if item.checkpoint:
        return {**about, "kind": "choice", "options": list(names), "values": list(range(len(names)))}
    if item.choices:
        return {**about, "kind": "choice", "options": list(item.choices), "values": list(item.choices)}
    if isinstance(item.default, bool):
        return {**about, "kind": "flag"}
    if isinstance(item.default, tuple):
        return {**about, "kind": "weights", "members": list(names)}
    if isinstance(item.default, str):
        return {**about, "kind": "text"}
    whole = isinstance(item.default, int)
    step = item.step or (1 if whole else 0.01)
    span = None if item.min is None or item.max is None else (item.max - item.min) / step
    bounds = {"min": item.min, "max": item.max, "step": step, "whole": whole}
    return {**about, "kind": "number", **bounds, "slider": span is not None and span <= MOST_STEPS}


def _write_link(values: Mapping[str, Any]) -> None:
    link.put(IN_URL, json.dumps(dict(values), separators=(",", ":")))


def measure_section(view: MergeView, method: MergeMethod) -> None:
    """The figures of this merge on the whole split, or the button that measures them."""
    if view.obstacle or not view.need_pictures().labelled:
        st.caption(plain(view.obstacle or "These pictures have no masks, so there is nothing to measure against."))
        return
    work = studio().mixture(view, method)
    if not running(work, "method", work.title) and "merge" not in work.points:
        passes = work.cost()
        if st.button(
            f"Measure this merge: {passes} forward passes", key="method-measure", icon=":material/play_arrow:"
        ):
            work.want()
            st.rerun(scope="fragment")
