"""What was tried: the view on which the user has settled goes into the history, under a name made of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.runs.links import parsed
from fusionlib.studio import LayerProfile, MergeView, Mixture
from pages.widgets import link
from pages.widgets.server import studio

TITLES = {
    "": "",
    "layers": "",
    "compare": "Compare",
    "domains": "Domains",
    "lab": "Lab",
    "diagnostics": "Diagnose",
    "calibration": "Calibration",
    "errors": "Errors",
}
"""What a name begins with, by the address of its page."""

_FIGURE, _LAST = "tried/figure", "tried/last"


def measured(view: MergeView, mixture: Mixture) -> None:
    """Note what is known of the merge that is shown, for `settled`."""
    st.session_state[_FIGURE] = _figure(view, mixture)


def settled() -> None:
    """Keep the view that is shown now, where it is another than last time. After `link.write`."""
    here, figure = link.present(), st.session_state.pop(_FIGURE, None)
    last = st.session_state.get(_LAST, (None, None))
    if here is None or (here == last[0] and figure in (None, last[1])):
        return
    with suppress(FusionError):  # no link of a view, or too long for one: there would be nothing to open again
        if _chosen(parsed(here)[1]):
            st.session_state[_LAST] = here, figure
            studio().looked.history.seen(here, name_of(here), figure or "")


def name_of(wanted: str) -> str:
    """`night + fog, alpha 0.50, picture 24`: the parts of a link in words."""
    page, state = parsed(wanted)
    first = {name: texts[0] for name, texts in state.items()}
    parts = [TITLES.get(page, ""), " + ".join(_chosen(state))]
    if page in ("", "layers", "errors"):
        parts += [_mixture(page, first), f"picture {first['picture']}" if "picture" in first else ""]
    if first.get("buffers", "average") != "average":
        parts.append(first["buffers"])
    return ", ".join(filter(None, [*parts, first.get("data", "")]))


def _chosen(state: Mapping[str, list[str]]) -> list[str]:
    """The checkpoints of a view; none where none are loaded."""
    pair = [text for name in ("a", "b", "more") for text in state.get(name, ())]
    return state.get("compare") or state.get("set") or state.get("experts") or pair


def _mixture(page: str, first: dict[str, str]) -> str:
    kind = "layers" if page == "layers" else first.get("mix", "alpha")
    if kind == "layers":
        return "layer by layer"
    if kind != "alpha":
        return kind
    try:
        return f"alpha {float(first['alpha']):.2f}"
    except (KeyError, ValueError):
        return ""


def _figure(view: MergeView, mixture: Mixture) -> str:
    """The mIoU of the whole split, where it is measured."""
    if view.obstacle or view.pictures is None or not view.pictures.labelled:
        return ""
    if isinstance(mixture, float):
        points = studio().sweep(view).snapshot()["points"]
        found = next((point for point in points if abs(point["alpha"] - mixture) < 5e-4), None)
    elif isinstance(mixture, LayerProfile):
        found = studio().layers.profiles(view).figures(mixture)
    else:
        found = studio().mixture(view, mixture).points.get("merge")
    return f"mIoU {100 * found['miou']:.1f} %" if found and found.get("miou") is not None else ""
