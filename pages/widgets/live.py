"""The live viewer on a page, with number inputs as the keyboard and fallback way to the same state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from fusionlib.studio import LiveSession, MergeView
from pages.widgets.server import studio
from pages.widgets.url import restored
from pages.widgets.viewer import CheckpointEntry, ClassEntry, ViewerData, look, told, viewer

_COMPONENT = "viewer"
SESSION = "live-session"
"""Name in the session state of what the session's key ends with."""

ALPHA, PICTURE = "alpha", "picture"
"""Names in the session state and in the URL; pictures count from 1 there, as people do."""


def live_view(view: MergeView, errors: Mapping[str, Any] | None = None) -> float:
    """Mount the viewer for `view` and return alpha; with `errors`, what their page has chosen, beside charts.

    Raises `FusionError` when the pictures cannot be read.
    """
    count, picture = granted(view)
    alpha = restored(ALPHA, 0.5, lambda value: min(1.0, max(0.0, value)))
    viewer(
        with_errors(viewer_data(view, alpha, picture - 1), errors),
        _COMPONENT,
        on_alpha=told(_COMPONENT, "alpha", _take_alpha),
        on_index=told(_COMPONENT, "index", take_index),
    )
    if errors is None:
        _by_number(alpha, picture, count)
    return alpha


def with_errors(shown: ViewerData, errors: Mapping[str, Any] | None) -> ViewerData:
    """The same on the page of errors, where whoever has not looked otherwise before sees what became of each pixel."""
    return shown if errors is None else replace(shown, errors=errors, look=shown.look or "lens-transitions")


def _by_number(alpha: float, picture: int, count: int) -> None:
    with st.expander("Alpha and picture by number"):
        left, right = st.columns(2)
        left.slider("Alpha (weight of A)", 0.0, 1.0, step=0.01, **_drawn(ALPHA, alpha))
        right.number_input(f"Picture (1 to {count})", 1, count, **_drawn(PICTURE, picture))


def live_session() -> LiveSession:
    """This session, as it asks for frames; it lives as long as the browser's."""
    if SESSION not in st.session_state:
        st.session_state[SESSION] = studio().live.open()
    return st.session_state[SESSION]


def granted(view: MergeView) -> tuple[int, int]:
    """Let this session ask for frames of `view`; how many pictures it has, and the one to show, counted from 1."""
    studio().live.grant(live_session(), view)
    count = len(view.pictures) if view.pictures else 1
    first = studio().workspace.first_picture(view.selection.source)
    return count, int(restored(PICTURE, first, lambda value: min(count, max(1, int(value)))))


def _drawn(name: str, value: float) -> dict[str, Any]:
    """What an input of `name` is drawn with.

    One that shows something else is another widget, so that what a browser that has yet to hear of the new value
    reports of the old one can be told apart.
    """
    shown, serial = st.session_state.get(f"{name}-drawn", (value, 0))
    entered = st.session_state.get(key := f"{name}-input/{serial}", shown)
    if entered != value:
        key = f"{name}-input/{(serial := serial + 1)}"
    st.session_state[f"{name}-drawn"] = value, serial
    st.session_state.setdefault(key, value)
    return {"key": key, "on_change": _copy, "args": (name, key)}


def _copy(name: str, key: str) -> None:
    """Take what was entered, where that is the input that is drawn now: Streamlit calls those that are gone, too."""
    if key != f"{name}-input/{st.session_state[f'{name}-drawn'][1]}":
        return
    st.session_state[name] = st.session_state[key]


def _take_alpha(alpha: Any) -> None:
    st.session_state[ALPHA] = round(float(alpha), 4)


def take_index(index: Any) -> None:
    """Pictures count from 0 in the browser."""
    st.session_state[PICTURE] = int(index) + 1


def viewer_data(view: MergeView, alpha: float, index: int) -> ViewerData:
    """What the browser is told of `view`: where to ask for frames, classes, pictures, and the scores of A and B."""
    base = f"live/{st.session_state[SESSION].key}/{view.id}"
    ends = studio().sweep(view).snapshot()
    a, b, *more = (
        CheckpointEntry(name, *_scores(ends[end])) for end, name in zip(view.ends, view.selection.names, strict=True)
    )
    if view.obstacle or view.pictures is None:
        return ViewerData(
            base,
            (512, 256),
            0,
            0,
            "",
            (),
            alpha,
            a,
            b,
            more=tuple(more),
            labelled=False,
            classes=(),
            live=False,
            buffers=view.selection.buffers,
            message=view.obstacle,
            look=look(),
        )
    pictures = view.pictures
    height, width = pictures.load(index).image.shape[:2]
    classes = [
        ClassEntry(number, name, "#{:02x}{:02x}{:02x}".format(*view.space.palette[number]))
        for number, name in enumerate(view.space.names)
    ]
    return ViewerData(
        base,
        (width, height),
        len(pictures),
        index,
        pictures.name(index),
        [pictures.name(number) for number in range(len(pictures))],
        alpha,
        a,
        b,
        more=tuple(more),
        labelled=pictures.labelled,
        classes=classes,
        buffers=view.selection.buffers,
        look=look(),
        outside=view.outside,
        inside=view.inside,
        first=studio().first_looks.found(view, studio().sweep(view)),
    )


def _scores(figures: dict | None) -> tuple[float | None, float | None]:
    return (figures["miou"], figures["loss"]) if figures else (None, None)
