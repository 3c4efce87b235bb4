"""The live component of a mixture layer by layer: the viewer's own panes with a column of units for the slider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import streamlit as st
import streamlit.components.v2  # type: ignore[import-not-found]

from pages.widgets import link
from pages.widgets.browser_files import stub, styles
from pages.widgets.viewer import ViewerData, look, newest, nothing, take_look, told

_mount = st.components.v2.component(  # pyright: ignore[reportAttributeAccessIssue]
    "fusion_layers",
    css=styles("viewer/viewer.css", "viewer/errors.css", "viewer/marks.css", "layers/layers.css", "viewer/present.css"),
    js=stub("layers/main.js"),
)


def layers_viewer(
    view: ViewerData, profile: str | None, key: str, on_profile: Callable[[Any], None], on_index: Callable[[Any], None]
) -> tuple[str | None, int]:
    """Mount it; the profile on which the user has settled, as JSON text, and the picture.

    `profile` is what an earlier run returned; the callbacks get what the browser reports before a run.
    """
    reported = _mount(
        key=key,
        data={**asdict(view), "key": key, "profile": profile},
        on_profile_change=told(key, "profile", on_profile),
        on_index_change=told(key, "index", on_index),
        on_look_change=told(key, "look", take_look),
        on_measured_change=nothing,  # a job has ended: the run that this causes shows its figures
    )
    link.put("look", look() or None)
    index = newest(key, "index", reported.index, view.index)
    return newest(key, "profile", reported.profile, profile), int(index or 0)
