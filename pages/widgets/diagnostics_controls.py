"""What is diagnosed, and the background run of the networks: choice, progress, cancel."""

from __future__ import annotations

import streamlit as st

from fusionlib.studio import Diagnosis, Selection
from pages.widgets.server import studio

TAU, STEP, SCOPE = "diagnostics-tau", "diagnostics-step", "diagnostics-scope"
PAIR_OF_SIDEBAR, ALL, NONE = "path of A and B", "paths of all pairs", "no paths"
STEPS = (0.5, 0.25, 0.1, 0.05)


def kept(name: str, default):
    """A widget's value that survives a look at another page: the widget's own state does not."""
    return st.session_state.setdefault(f"kept/{name}", default)


def keep(name: str) -> None:
    """Callback of such a widget."""
    st.session_state[f"kept/{name}"] = st.session_state[name]


def choose_set(chosen: Selection) -> tuple[list[str], float]:
    """The checkpoints to diagnose (at first all of A's family) and tau."""
    items = studio().workspace.usable()
    names = [item.name for item in items]
    family = next((item.signature for item in items if item.name == chosen.a), "")
    name = f"diagnostics-set-{family[:12]}"
    fitting = [item.name for item in items if item.signature == family]
    default = [item for item in kept(name, fitting if len(fitting) > 1 else [chosen.a, chosen.b]) if item in names]
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    picked = left.multiselect("Checkpoints", names, default=default, key=name, on_change=keep, args=(name,),
                              help="Every pair of them is compared. At first: all that have the same tensors as checkpoint A")
    tau = right.number_input("tau", 0.1, 1e6, kept(TAU, 10.0), step=1.0, key=TAU, on_change=keep, args=(TAU,),
                             help="Layer discrepancy counts an element as moved when |difference| >= |weight| / tau")
    return [item for item in names if item in picked], float(tau or 10.0)


def run_panel(diagnosis: Diagnosis, chosen: Selection) -> None:
    """Run the networks on the chosen data in the background; the run goes on when the user looks at another page."""
    if diagnosis.obstacle:
        st.info(f"{diagnosis.obstacle}. The weights are compared all the same; take what is in the way out of the set to measure the rest.",
                icon=":material/info:")
        return
    if diagnosis.state == "running":
        st.fragment(_progress, run_every=1.0)(diagnosis)
        return
    if diagnosis.state == "failed":
        st.error(f"The last run ended: {diagnosis.message}", icon=":material/error:")
    _start_row(diagnosis, chosen)


def _start_row(diagnosis: Diagnosis, chosen: Selection) -> None:
    assert diagnosis.pictures is not None
    known = diagnosis.functions() is not None
    columns = st.columns([2, 1, 3], vertical_alignment="bottom")
    scopes = [PAIR_OF_SIDEBAR, ALL, NONE] if diagnosis.pictures.labelled else [NONE]
    wanted = kept(SCOPE, scopes[0])
    scope = columns[0].selectbox("Measure also", scopes, index=scopes.index(wanted) if wanted in scopes else 0, key=SCOPE, on_change=keep,
                                 args=(SCOPE,), help="Loss and mIoU between two networks, for barriers and gains")
    step = columns[1].selectbox("Step of alpha", STEPS, index=STEPS.index(kept(STEP, 0.25)), key=STEP, on_change=keep, args=(STEP,),
                                disabled=scope == NONE)
    where = f"{chosen.source}{f', {chosen.split}' if chosen.split else ''}"
    label = f"Run {len(diagnosis.checkpoints)} networks on {len(diagnosis.pictures)} pictures ({where})"
    if columns[2].button(label, key="diagnostics-run", icon=":material/play_arrow:", type="secondary" if known else "primary"):
        names = [item.name for item in diagnosis.checkpoints]
        pairs = [pair for pair in diagnosis.pairs if scope == ALL or {names[pair[0]], names[pair[1]]} == {chosen.a, chosen.b}]
        diagnosis.want(None if scope == NONE else step, pairs)
        st.rerun()
    if not known:
        st.caption("Weights are compared below. Oracle, disagreement, activations and barriers appear once the networks have run; "
                   "results are kept, and known ones are not measured again.")


def _progress(diagnosis: Diagnosis) -> None:
    if diagnosis.state != "running":
        st.rerun(scope="app")
    left, right = st.columns([5, 1], vertical_alignment="center")
    seconds = diagnosis.seconds_left
    rest = "" if seconds is None else f", about {_duration(seconds)} left"
    left.progress(min(1.0, diagnosis.done / diagnosis.total) if diagnosis.total else 0.0,
                  f"Forward passes {diagnosis.done} of {diagnosis.total}{rest}" if diagnosis.total else "Starting")
    if right.button("Cancel", key="diagnostics-cancel", icon=":material/close:", width="stretch"):
        diagnosis.cancel()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
