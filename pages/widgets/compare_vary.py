"""The Vary part of Compare: curves over one parameter of a method, on one dataset or two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.vary import vary_figure
from fusionlib.contracts import METHODS, Parameter
from fusionlib.errors import FusionError
from fusionlib.studies.vary import numbers_of, values_of
from fusionlib.studio import Selection, VariedWork, Wish
from pages.widgets import link
from pages.widgets.compare_found import open_point
from pages.widgets.compare_open import explored
from pages.widgets.compare_parts import Data, all_data, data_name, first_data, offered
from pages.widgets.diagnostics_tables import percent, twin
from pages.widgets.dtype_choice import chosen_dtype
from pages.widgets.link_notes import dropped
from pages.widgets.parameter_form import (
    as_json,
    begin_with,
    begun,
    drawable,
    parameter_form,
    read_json,
    read_values,
    said,
)
from pages.widgets.problems import show_problem
from pages.widgets.progress import running
from pages.widgets.server import studio
from pages.widgets.style import CHART

PREFIX, IN_URL, SPAN, NONE = "vary/", "vary", "span", "none"
FIRST = ("linear", "alpha")
WIDEST, STEPS = 100.0, 10
"""A range up to which the first curve covers all of it, and its steps."""

_CHART = "vary-chart"


def vary_part(names: Sequence[str], chosen: Selection) -> None:
    """The controls, the one button or the progress, and the curves."""
    top = st.columns(4, vertical_alignment="bottom")
    methods = [name for name, kind in METHODS.items() if _varied_in(name) and not kind.by_preset]
    method = offered(
        top[0],
        "Method",
        "method",
        methods,
        FIRST[0],
        "Methods with a parameter that is a number",
        lambda name: METHODS.get(name).title,
    )
    varied = {item.name: item for item in _varied_in(method)}
    first = FIRST[1] if FIRST[1] in varied else next(iter(varied))
    helps = "; ".join(f"**{item.name}**: {item.help}" for item in varied.values())
    # A choice of its own for each method, which others do not have.
    if st.session_state.get("kept/parameter") not in varied and st.session_state.get("vary-method", method) != method:
        st.session_state.pop("parameter", None)
        st.session_state.pop("kept/parameter", None)
    st.session_state["vary-method"] = method
    parameter = offered(top[1], "Parameter", "parameter", varied, first, helps)
    target, also = _data(top, chosen)
    span, settings = _settings(method, varied[parameter], names)
    try:
        text = f"{parameter}={span['from']}:{span['to']}:{span['step']}"
        _, values = values_of(method, text)
        wish = Wish(method, settings, parameter, values, chosen.buffers, chosen_dtype())
        work = studio().varied.open(names, [target, *([also] if also else [])], wish)
    except FusionError as error:
        show_problem(error)
        return
    _run(work, names, [target, *([also] if also else [])])


def _varied_in(method: str) -> list[Parameter]:
    return [item for item in numbers_of(method) if not item.checkpoint and item.name != "seed"]


def _data(top: Sequence[Any], chosen: Selection) -> tuple[Data, Data | None]:
    data = all_data()
    target = offered(top[2], "On", "target", data, data_name(first_data(chosen)), "Pictures of the first curve")
    also = offered(top[3], "And on", "also", (NONE, *data), NONE, "A second curve: target and source at once")
    return data[target], None if also in (NONE, target) else data[also]


def _settings(method: str, item: Parameter, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The range, and the other parameters of the method; at first those of the link."""
    kind, span_items = METHODS.get(method), _span_items(item)
    place = f"{method} {item.name}"
    if not begun(PREFIX):
        _begin(kind, method, place, span_items)
    others = drawable(kind, (item.name,))
    with st.expander(f"Range of {item.name}, and the other parameters", icon=":material/tune:"):
        given = parameter_form(PREFIX, place, span_items, names)
        span = {one.name: given.get(one.name, one.default) for one in span_items}
        settings = parameter_form(PREFIX, method, others, names) if others else {}
        st.caption("One parameter at a time: a map over two is not drawn.")
    held = said(PREFIX, method, others)
    link.put(IN_URL, as_json({**said(PREFIX, place, span_items), **({"set": held} if held else {})}))
    return span, settings


def _begin(kind: type, method: str, place: str, span: Sequence[Parameter]) -> None:
    """Take what the link says; what does not fit is said."""
    told = read_json(link.asked(IN_URL))
    given = told if isinstance(told, dict) else {}
    ignored = [] if told is None or isinstance(told, dict) else [str(told)[:60]]
    values: dict[str, Any] = {}
    for one in span:
        value = given.get(one.name)
        if value is not None and _fits(one, value):
            values[one.name] = type(one.default)(value)
        elif value is not None:
            ignored.append(one.name)
    settings, unread = read_values(kind, given.get("set"))
    begin_with(PREFIX, place, values)
    begin_with(PREFIX, method, settings)
    names = {one.name for one in span} | {"set"}
    if lost := [*ignored, *unread, *(str(name)[:60] for name in given if name not in names)]:
        dropped(IN_URL, ", ".join(lost))


def _fits(item: Parameter, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if isinstance(item.default, int) and value != int(value):
        return False
    return (item.min is None or value >= item.min) and (item.max is None or value <= item.max)


def _span_items(item: Parameter) -> list[Parameter]:
    """The range as parameters: both ends and the step, within what the parameter takes."""
    kind = type(item.default)
    low = item.default if item.min is None else item.min
    high = low + STEPS if item.max is None or item.max - low > WIDEST else item.max
    step = 1 if kind is int else (high - low) / STEPS
    smallest = 1 if kind is int else 1e-4
    return [
        Parameter("from", kind(low), f"The first value of {item.name}", item.min, item.max, item.step, None),
        Parameter("to", kind(high), "The last value", item.min, item.max, item.step, None),
        Parameter("step", kind(step), "Distance between values", smallest, None, item.step, None),
    ]


def _run(work: VariedWork, names: Sequence[str], data: Sequence[Data]) -> None:
    labels, parameter = [data_name(one) for one in data], work.wish.parameter
    if running(
        work,
        "vary",
        lambda: work.current or "Vary",
        draw=lambda: _live(work, labels),
    ):
        return
    if not work.settled and st.button(
        f"Measure {len(work.wish.values)} values of {parameter}: {work.cost():,} forward passes",
        key="vary-run",
        icon=":material/play_arrow:",
        type="primary",
    ):
        work.begin()
        st.rerun()
    curves = work.table()["curves"]
    if not any(curve["points"] for curve in curves):
        st.caption("The curves appear here, coarse to fine.")
        return
    st.plotly_chart(
        vary_figure(curves, parameter, labels),
        key=_CHART,
        on_select=lambda: open_point(_CHART, lambda value: _state(work, value, names, data[0])),
        selection_mode="points",
        config=CHART,
    )
    bests = [
        f"{label}: {parameter} {curve['best']['value']:g}, {100 * curve['best']['miou']:.2f} %"
        for label, curve in zip(labels, curves, strict=True)
        if curve["best"]
    ]
    opens = " Click a point to open it in Explore." if work.whole else ""
    st.caption(f"Stars: the best of each curve ({'; '.join(bests)}).{opens}")
    twin([_row(point, label) for curve, label in zip(curves, labels, strict=True) for point in curve["points"]], "vary")


def _live(work: VariedWork, labels: Sequence[str]) -> None:
    curves = work.table()["curves"]
    st.plotly_chart(vary_figure(curves, work.wish.parameter, labels), key=f"{_CHART}-live", config=CHART)


def _row(point: dict[str, Any], label: str) -> dict[str, Any]:
    return {
        "data": label,
        "value": point["value"],
        "mIoU (%)": percent(point["miou"]),
        "pixel accuracy (%)": percent(point["pixel_accuracy"]),
        "loss (nats)": point["loss"],
    }


def _state(work: VariedWork, value: float, names: Sequence[str], data: Data) -> dict[str, Any] | None:
    """The state of Explore with the merge at a value; None where that page has none."""
    there = next((one for one in work.wish.values if one == value), None)
    state = explored(work.view_at(there), names) if there is not None and work.whole else None
    if state is None:
        return None
    state |= {"data": data[0], **({"split": data[1]} if data[1] else {})}
    return state | ({"dtype": work.wish.dtype} if work.wish.dtype else {})
