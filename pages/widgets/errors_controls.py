"""What the merge is held against, and the row that measures it and says in one sentence what came out."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from fusionlib.charts.errors import transitions_figure
from fusionlib.errors import UsageError
from fusionlib.studies.errors import against_of
from fusionlib.studio import ErrorAnalysis, Selection
from fusionlib.studio.errors import DERIVING
from pages.widgets.errors_selection import chart_key, clicked
from pages.widgets.explore import ALPHA
from pages.widgets.problems import plain
from pages.widgets.progress import running

AGAINST = "against"
"""Name in the session state and in the URL: `better`, `alpha=0.3`."""

FIRST = "better"
_KIND, _OTHER = "errors-against", "errors-other-alpha"
PLAIN = {"displayModeBar": False}


def against_choice(chosen: Selection, mixture: str, place: Any, beside: Any) -> str:
    """What the merge is held against, as the link has it; another alpha only of what has one."""
    names = {
        "better": "against the better of A and B",
        "a": f"against A: {chosen.a}",
        "b": f"against B: {chosen.b}",
        "ensemble": "against the ensemble",
        "oracle": "against the oracle",
    }
    if mixture == ALPHA:
        names["alpha"] = "against another alpha"
    kind, alpha = _asked(names)
    st.session_state[_KIND] = kind
    place.selectbox(
        "Against",
        list(names),
        key=_KIND,
        format_func=names.__getitem__,
        label_visibility="collapsed",
        on_change=_take,
        help="What the merge is held against; the ensemble and the oracle take further forward passes",
    )
    if kind != "alpha":
        beside.empty()
        return kind
    st.session_state[_OTHER] = alpha
    beside.number_input(
        "Other alpha", 0.0, 1.0, step=0.05, format="%.2f", key=_OTHER, on_change=_take, label_visibility="collapsed"
    )
    return st.session_state[AGAINST]


def _asked(names: dict[str, str]) -> tuple[str, float]:
    """What the session or a link says; what is none of these is forgotten."""
    try:
        kind, alpha = against_of(str(st.session_state.get(AGAINST, FIRST)))
    except UsageError:
        kind, alpha = FIRST, None
    if kind not in names:
        kind, alpha = FIRST, None
    st.session_state[AGAINST] = kind if alpha is None else f"alpha={alpha:g}"
    return kind, 0.5 if alpha is None else alpha


def _take() -> None:
    kind = st.session_state[_KIND]
    alpha = st.session_state.get(_OTHER, 0.5)
    st.session_state[AGAINST] = f"alpha={alpha:g}" if kind == "alpha" else kind


def other_alpha(against: str) -> float | None:
    """The alpha that the merge is held against, where it is one."""
    return against_of(against).alpha


def measured(analysis: ErrorAnalysis) -> bool:
    """Whether all pictures are looked into; else the button, or how far it is."""
    if running(analysis, "errors", lambda: _so_far(analysis), unit=lambda: _unit(analysis)):
        return False
    if analysis.ready:
        return True
    passes, images = analysis.cost(), len(analysis.pictures)
    st.markdown("Not looked into yet: this takes the label maps of both on every picture.")
    label = f"Look into it: {passes:,} forward passes" if passes else f"Look into it: {images:,} pictures, no pass"
    st.button(label, key="errors-measure", type="primary", icon=":material/troubleshoot:", on_click=analysis.want)
    return False


def _so_far(analysis: ErrorAnalysis) -> str:
    """What is done, with the scores that are there already."""
    named = {"a": "A", "b": "B", "merge": "merge"}
    known = {named[name]: score for name, score in analysis.table().items() if name in named and score is not None}
    scores = ", ".join(f"{name} {100 * score:.1f} %" for name, score in known.items())
    return f"Looking into it (mIoU of {scores})" if scores else "Looking into it"


def _unit(analysis: ErrorAnalysis) -> str:
    return "pictures" if analysis.current == DERIVING else "forward passes"


def answer(analysis: ErrorAnalysis, found: dict[str, Any]) -> None:
    """The sentence, and the bar of transitions."""
    st.markdown(sentence(found))
    key = chart_key("transitions")
    st.plotly_chart(
        transitions_figure(found["transitions"]),
        key=key,
        on_select=lambda: clicked(key, analysis),
        selection_mode="points",
        config=PLAIN,
    )


def sentence(found: dict[str, Any]) -> str:
    """What is gained and lost, in words."""
    if not found["pixels"]:
        return "No pixel of these pictures is labelled, so nothing can be fixed or broken."
    shares = {name: _percent(count / found["pixels"]) for name, count in found["transitions"].items()}
    words = (
        f"Fixes **{shares['fixed']}** of the labelled pixels, breaks **{shares['broken']}**, against"
        f" {plain(found['reference'])}"
    )
    if found["gain"] is None:
        return f"{words}."
    interval = found["interval"]
    between = f" (95 %, this merge: {_points(interval[0])} to {_points(interval[1])})" if interval else ""
    return f"{words}: mIoU **{_points(found['gain'])} points**{between}, accuracy {_points(found['gain_accuracy'])}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 or share == 0 else "under 0.1 %"


def _points(share: float) -> str:
    return "n/a" if math.isnan(share) else f"{100 * share:+.1f}".replace("-", "−")
