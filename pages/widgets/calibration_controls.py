"""What the calibration tab looks at, and the background runs behind it: choices, progress, cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from fusionlib.measures.bins import DEFAULT_BINS, OFFERED_BINS
from fusionlib.studio import CalibrationSweep, ensemble_point
from pages.widgets.link import only_of
from pages.widgets.problems import plain
from pages.widgets.progress import running
from pages.widgets.url import restored

STEPS = (0.25, 0.1, 0.05)


@dataclass(frozen=True)
class Shown:
    """The sweep of the view, the alpha of the merge, the networks shown (role, name, point), bins and class."""

    sweep: CalibrationSweep
    alpha: float
    networks: Sequence[tuple[str, str, Any]]
    bins: int
    label: int | None

    def known(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Role, name and summary of the networks that are measured."""
        found = ((role, name, self.sweep.summary(point, self.bins, self.label)) for role, name, point in self.networks)
        return [(role, name, summary) for role, name, summary in found if summary is not None]

    def missing(self) -> list[Any]:
        """Points that are not measured."""
        return [point for _, _, point in self.networks if self.sweep.find(point) is None]


def kept(name: str, default: Any) -> Any:
    """A widget's value that survives a look at another page: the widget's own state does not."""
    return st.session_state.setdefault(f"kept/{name}", default)


def keep(name: str) -> None:
    """Callback of such a widget."""
    st.session_state[f"kept/{name}"] = st.session_state[name]


def choose(sweep: CalibrationSweep) -> Shown:
    """The row of controls."""
    view = sweep.view
    columns = st.columns([2, 2, 1, 2], vertical_alignment="bottom")
    st.session_state["calibration-alpha"] = at_hand("alpha", 0.5, 0.0, 1.0)
    alpha = columns[0].slider(
        "Alpha of the merge",
        0.0,
        1.0,
        step=0.01,
        key="calibration-alpha",
        on_change=_take_alpha,
        help="Weight of A. The same alpha as on the Explore page",
    )
    with_ensemble = columns[1].toggle(
        "With the output ensemble",
        kept("calibration-ensemble", True),
        key="calibration-ensemble",
        on_change=keep,
        args=("calibration-ensemble",),
        help="The softmax of A and B averaged with the same weights: two forward passes a picture",
    )
    only_of("bins", OFFERED_BINS)
    st.session_state.setdefault("bins", DEFAULT_BINS)
    bins = columns[2].selectbox(
        "Bins",
        OFFERED_BINS,
        key="bins",
        help="Bins of equal width; each is the exact sum of fine ones, of which there are 5040",
    )
    names = ["all classes", *view.space.names]
    only_of("class", names)
    picked = columns[3].selectbox("Pixels predicted as", names, key="class")
    networks = [
        ("a", f"A: {view.selection.a}", "a"),
        ("b", f"B: {view.selection.b}", "b"),
        ("m", f"merge, alpha {alpha:g}", float(alpha)),
    ]
    if with_ensemble and 0 < alpha < 1:  # at an end it is A or B itself
        networks.append(("e", f"ensemble, {alpha:g} : {1 - alpha:.2g}", ensemble_point(alpha)))
    return Shown(sweep, alpha, networks, bins, names.index(picked) - 1 if picked != names[0] else None)


def at_hand(name: str, default: float, low: float, high: float) -> float:
    """What this session or its URL says, made to fit, and written into the URL; the Explore page shares both."""
    value = restored(name, default, lambda value: min(high, max(low, value)))
    return float(value)


def _take_alpha() -> None:
    st.session_state["alpha"] = round(float(st.session_state["calibration-alpha"]), 4)


def run_row(look: Shown) -> None:
    """Measure what is missing of the networks shown, in the background."""
    sweep, missing = look.sweep, look.missing()
    if missing and not running(sweep, "networks", "Calibration", lambda: len(sweep.points)):
        pictures = len(sweep.view.need_pictures())
        names = [name for _, name, point in look.networks if point in missing]
        what = f"{len(missing)} networks" if len(missing) > 1 else plain(names[0])
        if st.button(
            f"Measure {what} on {pictures} pictures",
            key="calibration-run",
            icon=":material/play_arrow:",
            type="primary",
            help="Every labelled pixel counts. Results are kept: what is known is shown at once, also after a restart.",
        ):
            sweep.want_points(missing)
            st.rerun()


def start_row(key: str, label: str, begin: Callable[[float], None], *, primary: bool = True) -> float:
    """A step and a button that begins with it; returns the step."""
    left, right = st.columns([1, 4], vertical_alignment="bottom")
    name = f"calibration-step-{key}"
    step = left.selectbox(
        "Step of alpha", STEPS, index=STEPS.index(kept(name, 0.1)), key=name, on_change=keep, args=(name,)
    )
    if right.button(
        label, key=f"calibration-start-{key}", icon=":material/play_arrow:", type="primary" if primary else "secondary"
    ):
        begin(step)
        st.rerun()
    return step
