"""The pixels that the page of errors has chosen: one choice for gallery, charts and viewer, kept in the link."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from fusionlib.charts.confusion import OUTSIDE
from fusionlib.charts.errors import WORDS
from fusionlib.errors import UsageError
from fusionlib.measures.error_stack import EVERYTHING, Pixels
from fusionlib.studio import ErrorAnalysis
from fusionlib.studio.error_table import SORTS
from pages.widgets.live import PICTURE
from pages.widgets.problems import plain, show_problem

PIXELS, SORT, GALLERY = "pixels", "sort", "gallery"
"""Names in the session state and in the URL."""

COUNT = "count"
"""The order by how many of the chosen pixels a picture has."""

ORDERS = {
    COUNT: "most of the chosen pixels",
    "gain": "most gained (mIoU)",
    "loss": "most lost (mIoU)",
    "gain_accuracy": "most gained (accuracy)",
    "class_gain": "most gained in a class",
    "disagreement": "A and B disagree most",
    "headroom": "most left to an oracle",
    "confident_error": "most confident errors",
    "loss_change": "cross-entropy up most",
}
"""What pictures are sorted by, in few words; `SORTS` has the definitions."""

assert set(ORDERS) == {COUNT, *SORTS}

_BEFORE, _CHARTS = "errors/sort-before", "errors/charts"
BANDS = {True: "near edges", False: "away from edges"}


def chosen() -> Pixels:
    """The choice; a link's that is none is named and forgotten."""
    text = st.session_state.get(PIXELS) or ""
    try:
        return Pixels.from_text(text) if isinstance(text, str) else EVERYTHING
    except UsageError as error:
        show_problem(error)
        choose(EVERYTHING)
        return EVERYTHING


def choose(pixels: Pixels) -> None:
    """Choose these; pictures are sorted by their count, and as before when nothing is chosen any more."""
    state = st.session_state
    if pixels.everything:
        state[PIXELS] = None
        if state.get(SORT) == COUNT:
            state[SORT] = state.pop(_BEFORE, "gain")
    else:
        if state.get(SORT, "gain") != COUNT:
            state[_BEFORE] = state.get(SORT, "gain")
        state[PIXELS], state[SORT] = pixels.text, COUNT
    state[GALLERY] = 1


def clear() -> None:
    """Callback: nothing is chosen, and no chart shows a choice."""
    choose(EVERYTHING)
    st.session_state[_CHARTS] = st.session_state.get(_CHARTS, 0) + 1


def chart_key(name: str) -> str:
    """Of a chart that is drawn without its own selection once the choice is cleared."""
    return f"errors-{name}-{st.session_state.get(_CHARTS, 0)}"


def show(analysis: ErrorAnalysis, pixels: Pixels) -> None:
    """Choose these, and a picture that has some: the present one, else that with most."""
    choose(pixels)
    held = [row["number"] + 1 for row in analysis.pictures_of(pixels)]
    if held and st.session_state.get(PICTURE) not in held:
        st.session_state[PICTURE] = held[0]


def clicked(key: str, analysis: ErrorAnalysis) -> None:
    """Callback of a chart whose points carry `Pixels.text`."""
    points = st.session_state[key].selection.points
    text = next((str(point["customdata"][0]) for point in points if point.get("customdata")), "")
    if text:
        show(analysis, Pixels.from_text(text))


def chip(pixels: Pixels, names: Sequence[str]) -> None:
    """What is chosen, with a cross that clears it; its place stays where nothing is."""
    with st.container(key="errors-chip", horizontal=True, vertical_alignment="center"):
        if pixels.everything:
            st.caption("A click on a bar, a cell or a row outlines its pixels.")
        else:
            words = plain(words_of(pixels, names))
            st.button(words, icon=":material/close:", key="errors-clear", on_click=clear, help="Clear the choice")


def words_of(pixels: Pixels, names: Sequence[str]) -> str:
    """As people say it: `building: sign → tree, near edges`."""
    called = [*names, OUTSIDE]

    def listed(ids: Sequence[int]) -> str:
        return " or ".join(called[one] if one < len(called) else f"class {one}" for one in ids)

    labels = ""
    if pixels.references and pixels.merges:
        labels = f"{listed(pixels.references)} → {listed(pixels.merges)}"
    elif pixels.references:
        labels = f"{listed(pixels.references)} in the reference"
    elif pixels.merges:
        labels = f"{listed(pixels.merges)} in the merge"
    head = ": ".join(filter(None, (listed(pixels.truths), labels)))
    parts = [head, " or ".join(WORDS[one][0] for one in pixels.transitions)]
    parts += [f"{' or '.join(pixels.sizes)} objects" if pixels.sizes else ""]
    parts += ["" if pixels.band is None else BANDS[pixels.band]]
    if pixels.bin is not None:
        number, of = pixels.bin
        parts.append(f"confidence {100 * number / of:.3g} to {100 * (number + 1) / of:.3g} %")
    return ", ".join(filter(None, parts))
