"""The Vary part of Compare: curves over one parameter of a method, on one dataset or two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.vary import map_figure, vary_figure
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

PREFIX, IN_URL, SECOND, NONE = "vary/", "vary", "second", "none"
FIRST = ("linear", "alpha")
WIDEST, STEPS = 100.0, 10
"""A range up to which the first curve covers all of it, and its steps."""

_CHART = "vary-chart"


def vary_part(names: Sequence[str], chosen: Selection) -> None:
    """The controls, the one button or the progress, and the curves."""
    top = st.columns(5, vertical_alignment="bottom")
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
    for key in ("parameter", "second"):
        if st.session_state.get(f"kept/{key}") not in varied and st.session_state.get("vary-method", method) != method:
            st.session_state.pop(key, None)
            st.session_state.pop(f"kept/{key}", None)
    st.session_state["vary-method"] = method
    parameter = offered(top[1], "Parameter", "parameter", varied, first, helps)
    others = [NONE, *(name for name in varied if name != parameter)]
    if st.session_state.get("kept/second") == parameter:  # what was the second is the first now
        st.session_state["kept/second"] = st.session_state["second"] = NONE
    second = offered(top[2], "And", "second", others, NONE, "A second parameter gives a map")
    target, also = _data(top[3:], chosen)
    axes = [varied[name] for name in (parameter, second) if name != NONE]
    spans, settings = _settings(method, axes, names)
    try:
        ranges = [
            values_of(method, f"{item.name}={span['from']}:{span['to']}:{span['step']}")
            for item, span in zip(axes, spans, strict=True)
        ]
        over, more = ranges[0], ranges[1] if len(ranges) > 1 else ("", ())
        wish = Wish(method, settings, *over, chosen.buffers, chosen_dtype(), *more)
        work = studio().varied.open(names, [target, *([also] if also else [])], wish)
    except FusionError as error:
        show_problem(error)
        return
    _run(work, names, [target, *([also] if also else [])])


def _varied_in(method: str) -> list[Parameter]:
    return [item for item in numbers_of(method) if not item.checkpoint and item.name != "seed"]


def _data(top: Sequence[Any], chosen: Selection) -> tuple[Data, Data | None]:
    data = all_data()
    target = offered(top[0], "On", "target", data, data_name(first_data(chosen)), "Pictures of the first curve")
    also = offered(top[1], "And on", "also", (NONE, *data), NONE, "A second curve: target and source at once")
    return data[target], None if also in (NONE, target) else data[also]


def _settings(
    method: str, axes: Sequence[Parameter], names: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The range of each, and the other parameters of the method; at first those of the link."""
    kind, spans = METHODS.get(method), [_span_items(item) for item in axes]
    places = [f"{method} {item.name}" for item in axes]
    if not begun(PREFIX):
        _begin(kind, method, places, spans)
    varied = tuple(item.name for item in axes)
    others = drawable(kind, varied)
    found = []
    with st.expander(f"Range of {' and '.join(varied)}, and the other parameters", icon=":material/tune:"):
        for item, place, span in zip(axes, places, spans, strict=True):
            if len(axes) > 1:
                st.caption(item.name)
            given = parameter_form(PREFIX, place, span, names)
            found.append({one.name: given.get(one.name, one.default) for one in span})
        settings = parameter_form(PREFIX, method, others, names) if others else {}
    first, *more = (said(PREFIX, place, span) for place, span in zip(places, spans, strict=True))
    held = {"set": said(PREFIX, method, others), SECOND: more[0] if more else {}}
    link.put(IN_URL, as_json({**first, **{name: value for name, value in held.items() if value}}))
    return found, settings


def _begin(kind: type, method: str, places: Sequence[str], spans: Sequence[Sequence[Parameter]]) -> None:
    """Take what the link says; what does not fit is said."""
    told = read_json(link.asked(IN_URL))
    given = told if isinstance(told, dict) else {}
    ignored = [] if told is None or isinstance(told, dict) else [str(told)[:60]]
    settings, unread = read_values(kind, given.get("set"))
    further = given.get(SECOND, {})
    ranges = [{name: value for name, value in given.items() if name not in ("set", SECOND)}, further]
    if not isinstance(further, dict) or (further and len(places) == 1):
        ignored.append(SECOND)
    for place, span, asked in zip(places, spans, ranges, strict=False):
        values, lost = _range(span, asked if isinstance(asked, dict) else {})
        begin_with(PREFIX, place, values)
        ignored += lost
    begin_with(PREFIX, method, settings)
    if lost := [*ignored, *unread]:
        dropped(IN_URL, ", ".join(lost))


def _range(span: Sequence[Parameter], given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What fits a range, and the names of what does not."""
    values = {
        one.name: type(one.default)(given[one.name])
        for one in span
        if given.get(one.name) is not None and _fits(one, given[one.name])
    }
    return values, [str(name)[:60] for name, value in given.items() if name not in values and value is not None]


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
        f"Measure {_extent(work)}: {work.cost():,} forward passes",
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
    if work.wish.second:
        _maps(work, curves, labels, names, data)
        return
    st.plotly_chart(
        vary_figure(curves, parameter, labels),
        key=_CHART,
        on_select=lambda: open_point(_CHART, lambda value: _state(work, (value,), names, data[0])),
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


def _extent(work: VariedWork) -> str:
    """What is measured, in words."""
    wish = work.wish
    if not wish.second:
        return f"{len(wish.values)} values of {wish.parameter}"
    sides = f"{len(wish.values)} x {len(wish.second_values)}"
    return f"{wish.points} points of {wish.parameter} and {wish.second} ({sides})"


def _maps(
    work: VariedWork,
    curves: Sequence[dict[str, Any]],
    labels: Sequence[str],
    names: Sequence[str],
    data: Sequence[Data],
) -> None:
    """A heat map for every dataset, one beside the other."""
    bests, wish = [], work.wish
    for number, (place, curve, label) in enumerate(zip(st.columns(len(curves)), curves, labels, strict=True)):
        key = f"{_CHART}-{number}"

        def opened(point: float, points: Sequence[dict[str, Any]] = curve["points"], on: Data = data[number]) -> Any:
            return _state(work, (points[int(point)]["value"], points[int(point)]["second_value"]), names, on)

        place.plotly_chart(
            map_figure(curve, label),
            key=key,
            on_select=lambda key=key, opened=opened: open_point(key, opened),
            selection_mode="points",
            config=CHART,
        )
        if best := curve["best"]:
            where = f"{wish.parameter} {best['value']:g}, {wish.second} {best['second_value']:g}"
            bests.append(f"{label}: {where}, {100 * best['miou']:.2f} %")
    opens = " Click a point to open it in Explore." if work.whole else ""
    st.caption(f"Star: the best ({'; '.join(bests)}).{opens}")
    twin([_row(point, label) for curve, label in zip(curves, labels, strict=True) for point in curve["points"]], "vary")


def _live(work: VariedWork, labels: Sequence[str]) -> None:
    curves = work.table()["curves"]
    if work.wish.second:
        for number, (place, curve) in enumerate(zip(st.columns(len(curves)), curves, strict=True)):
            place.plotly_chart(map_figure(curve, labels[number]), key=f"{_CHART}-live-{number}", config=CHART)
        return
    st.plotly_chart(vary_figure(curves, work.wish.parameter, labels), key=f"{_CHART}-live", config=CHART)


def _row(point: dict[str, Any], label: str) -> dict[str, Any]:
    return {
        "data": label,
        "value": point["value"],
        **({"second": point["second_value"]} if "second_value" in point else {}),
        "mIoU (%)": percent(point["miou"]),
        "pixel accuracy (%)": percent(point["pixel_accuracy"]),
        "loss (nats)": point["loss"],
    }


def _state(work: VariedWork, place: tuple[float, ...], names: Sequence[str], data: Data) -> dict[str, Any] | None:
    """The state of Explore with the merge at a value, or a pair; None where that page has none."""
    ranges = (work.wish.values, work.wish.second_values)
    # As they were asked for: whole numbers stay whole.
    there = [next((one for one in kept if one == value), None) for value, kept in zip(place, ranges, strict=False)]
    held = [one for one in there if one is not None]
    state = explored(work.view_at(*held), names) if len(held) == len(place) and work.whole else None
    if state is None:
        return None
    state |= {"data": data[0], **({"split": data[1]} if data[1] else {})}
    return state | ({"dtype": work.wish.dtype} if work.wish.dtype else {})
