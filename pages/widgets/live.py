"""The live viewer on a page, with number inputs as the keyboard and fallback way to the same state."""

from __future__ import annotations

import streamlit as st

from fusionlib.studio import MergeView
from pages.widgets.server import studio
from pages.widgets.viewer import CheckpointEntry, ClassEntry, ViewerData, viewer

_COMPONENT = "viewer"


def live_view(view: MergeView, alpha_key: str, picture_key: str) -> float:
    """Mount the viewer for `view`; returns alpha. State lives under `alpha_key` and `picture_key` and in the URL.

    Raises `FusionError` when the pictures cannot be read.
    """
    st.session_state.setdefault("live-key", studio().live.new_key())
    studio().live.grant(st.session_state["live-key"], view)
    count = len(view.pictures) if view.pictures else 1
    alpha = float(st.session_state.get(alpha_key, 0.5))
    index = min(int(st.session_state.get(picture_key, 1)), count) - 1
    viewer(_data(view, alpha, index), _COMPONENT, on_alpha=lambda: _take(alpha_key, "alpha"),
           on_index=lambda: _take(picture_key, "index", 1))
    with st.expander("Alpha and picture by number"):
        left, right = st.columns(2)
        with left:
            alpha = st.slider("Alpha (weight of A)", 0.0, 1.0, 0.5, 0.01, key=alpha_key, bind="query-params")
        with right:
            st.number_input(f"Picture (1 to {count})", 1, count, min(1, count), key=picture_key, bind="query-params")
    return float(alpha)


def _take(key: str, field: str, offset: int = 0) -> None:
    reported = getattr(st.session_state[_COMPONENT], field)
    if reported is not None:
        st.session_state[key] = reported + offset if offset else round(float(reported), 4)


def _data(view: MergeView, alpha: float, index: int) -> ViewerData:
    base = f"{st.get_option('server.baseUrlPath').rstrip('/')}/live/{st.session_state['live-key']}/{view.id}"
    if not base.startswith("/"):
        base = "/" + base
    ends = studio().sweep(view).snapshot()
    entries = [CheckpointEntry(name, *_scores(ends[side])) for side, name in (("a", view.selection.a), ("b", view.selection.b))]
    if view.obstacle or view.pictures is None:
        return ViewerData(base, (512, 256), 0, 0, "", (), alpha, *entries, labelled=False, classes=(), live=False,
                          buffers=view.selection.buffers, message=view.obstacle)
    pictures = view.pictures
    height, width = pictures.load(index).image.shape[:2]
    classes = [ClassEntry(number, name, "#{:02x}{:02x}{:02x}".format(*view.space.palette[number]))
               for number, name in enumerate(view.space.names)]
    return ViewerData(base, (width, height), len(pictures), index, pictures.name(index),
                      [pictures.name(number) for number in range(len(pictures))], alpha, *entries,
                      labelled=pictures.labelled, classes=classes, buffers=view.selection.buffers)


def _scores(figures: dict | None) -> tuple[float | None, float | None]:
    return (figures["miou"], figures["loss"]) if figures else (None, None)
