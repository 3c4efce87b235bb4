"""What is diagnosed, and the background run of the networks: choice, progress, cancel."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusionlib.studio import Diagnosis, Selection
from pages.widgets.problems import plain
from pages.widgets.server import studio

SET, PAIR = "set", "pair"
"""Names in the session state and in the URL."""

TAU, STEP, SCOPE = "diagnostics-tau", "diagnostics-step", "diagnostics-scope"
JUDGED, ALL, NONE = "path of the pair judged", "paths of all pairs", "no paths"
STEPS = (0.5, 0.25, 0.1, 0.05)


def kept(name: str, default):
    """A widget's value that survives a look at another page: the widget's own state does not."""
    return st.session_state.setdefault(f"kept/{name}", default)


def keep(name: str) -> None:
    """Callback of such a widget."""
    st.session_state[f"kept/{name}"] = st.session_state[name]


def choose_set(chosen: Selection) -> tuple[list[str], float]:
    """The checkpoints to diagnose (at first all of A's family) and tau. The set is in the URL where it is not the first one."""
    items = studio().workspace.usable()
    names = [item.name for item in items]
    family = next((item.signature for item in items if item.name == chosen.a), "")
    fitting = [item.name for item in items if item.signature == family]
    default = fitting if len(fitting) > 1 else list(dict.fromkeys((chosen.a, chosen.b)))
    if _changed("diagnostics-set-of", (chosen.a, chosen.b)) and not {chosen.a, chosen.b} <= set(st.session_state.get(SET, names)):
        st.session_state[SET] = default
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    picked = left.multiselect("Checkpoints", names, default=default, key=SET, bind="query-params",
                              help="Every pair of them is compared. At first: all that have the same tensors as checkpoint A")
    tau = right.number_input("tau", 0.1, 1e6, kept(TAU, 10.0), step=1.0, key=TAU, on_change=keep, args=(TAU,),
                             help="Layer discrepancy counts an element as moved when |difference| >= |weight| / tau")
    return [item for item in names if item in picked], float(tau or 10.0)


def choose_pair(names: list[str], chosen: Selection, first: int) -> int:
    """The number of the pair that the verdict is about: at first A and B, whose number is `first`. In the URL where it is another."""
    if _changed("diagnostics-pair-of", (chosen.a, chosen.b)) or st.session_state.get(PAIR, names[first]) not in names:
        st.session_state[PAIR] = names[first]
    return names.index(st.selectbox("Verdict on", names, index=first, key=PAIR, bind="query-params"))


def _changed(name: str, value: object) -> bool:
    """Whether this differs from what the last run of this page saw; not at the first run, which may follow a shared link."""
    before = st.session_state.get(name, value)
    st.session_state[name] = value
    return before != value


def run_panel(diagnosis: Diagnosis, chosen: Selection) -> None:
    """Run the networks on the chosen data in the background; the run goes on when the user looks at another page."""
    for note in diagnosis.notes():
        st.info(f"{plain(note)}.{'' if diagnosis.obstacle else ' The others can run without it.'}", icon=":material/info:")
    if diagnosis.obstacle:
        return
    if diagnosis.state == "running":
        st.fragment(_progress, run_every=1.0)(diagnosis)
        return
    if diagnosis.state == "failed":
        st.error(f"The last run ended: {diagnosis.message}", icon=":material/error:")
    _start_row(diagnosis, chosen)


def _start_row(diagnosis: Diagnosis, chosen: Selection) -> None:
    assert diagnosis.pictures is not None
    lack = diagnosis.lacking()
    columns = st.columns([2, 1, 3], vertical_alignment="bottom")
    scopes = [JUDGED, ALL, NONE] if diagnosis.pictures.labelled else [NONE]
    wanted = kept(SCOPE, scopes[0])
    scope = columns[0].selectbox("Measure also", scopes, index=scopes.index(wanted) if wanted in scopes else 0, key=SCOPE, on_change=keep,
                                 args=(SCOPE,), help="Loss and mIoU between two networks, for barriers and gains")
    step = columns[1].selectbox("Step of alpha", STEPS, index=STEPS.index(kept(STEP, 0.25)), key=STEP, on_change=keep, args=(STEP,),
                                disabled=scope == NONE)
    where = f"on {len(diagnosis.pictures)} pictures ({chosen.source}{f', {chosen.split}' if chosen.split else ''})"
    many = len(lack.networks)
    label = f"Run {many} network{'' if many == 1 else 's'} {where}" if many else f"Measure paths {where}"
    if columns[2].button(label, key="diagnostics-run", icon=":material/play_arrow:", type="primary" if many else "secondary",
                         disabled=not many and scope == NONE):
        diagnosis.want(None if scope == NONE else step, diagnosis.pairs if scope == ALL else [_judged(diagnosis)])
        st.rerun()
    st.caption(_what_is_known(diagnosis, lack))


def _judged(diagnosis: Diagnosis) -> tuple[int, int]:
    """The pair chosen below, whose widget is drawn later than the button here."""
    names = [item.name for item in diagnosis.checkpoints]
    return next(((a, b) for a, b in diagnosis.pairs if f"{names[a]} + {names[b]}" == st.session_state.get(PAIR)), diagnosis.pairs[0])


def _what_is_known(diagnosis: Diagnosis, lack: Any) -> str:
    if diagnosis.functions() is None:
        return ("Weights are compared below. Oracle, disagreement, activations and barriers appear once the networks have run; "
                "results are kept, and known ones are not measured again.")
    if not lack.networks:
        return "Every network and pair has been measured on these pictures; paths may still be."
    if not lack.pairs:
        return "Every pair is known; what is missing needs these networks to run once more."
    return f"{len(lack.pairs)} of {len(diagnosis.pairs)} pairs are not measured yet; what is known is shown and kept."


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
