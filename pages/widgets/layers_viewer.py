"""The live component of a mixture layer by layer: the viewer's own panes with a column of units for the slider."""

from __future__ import annotations

from dataclasses import asdict

import streamlit as st
import streamlit.components.v2  # type: ignore[import-not-found]

from pages.widgets.browser_files import ASSETS, stub
from pages.widgets.live import PICTURE
from pages.widgets.viewer import LOOK, ViewerData, keep_look, newest, nothing, taking

PROFILE = "layer-profile"
"""Name in the session state."""

_SHEETS = ("viewer/viewer.css", "layers/layers.css", "viewer/present.css")

_mount = st.components.v2.component(  # pyright: ignore[reportAttributeAccessIssue]
    "fusion_layers",
    css="\n".join((ASSETS / name).read_text(encoding="utf-8") for name in _SHEETS),
    js=stub("layers/main.js"),
)


def layers_viewer(view: ViewerData, profile: str | None, key: str) -> tuple[str | None, int]:
    """Mount it; the profile on which the user has settled, as JSON text, and the picture.

    `profile` is what an earlier run returned.
    """
    reported = _mount(
        key=key,
        data={**asdict(view), "key": key, "profile": profile},
        on_profile_change=taking(key, "profile", PROFILE),
        on_index_change=taking(key, "index", PICTURE, 1),
        on_look_change=taking(key, "look", LOOK),
        on_measured_change=nothing,  # a job has ended: the run that this causes shows its figures
    )
    keep_look(key, reported.look)
    index = newest(key, "index", reported.index, view.index)
    return newest(key, "profile", reported.profile, profile), int(index or 0)
